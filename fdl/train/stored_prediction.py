"""What runs predict, as a program in their folder: it needs neither the experiment's code nor its data.

A unit's folder holds, where the learner predicts:

    prediction.json       what the program takes and gives, and how new rows are read; or why there is none
    prediction.stablehlo  preparation, model and outputs, without the parameters, which checkpoints have
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.interpreters import partial_eval

from fdl import tree
from fdl.experiment import Experiment
from fdl.serialization import find, function_name
from fdl.storage import Folder, get, write_atomically
from fdl.text import named
from fdl.train.folder import read_sealed, write_sealed
from fdl.train.prediction import says
from fdl.train.run import Build, Member, experiment_of

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""For which a program is lowered; see `jax.export`."""
_TOLD, _PROGRAM = "prediction.json", "prediction.stablehlo"
_ROWS = 64
"""Rows at a time of a program that must know how many."""
_READERS = "fdl.data."
"""Where functions that read new rows are looked for: a directory names none of anybody's else."""


class StoredPrediction(NamedTuple):
    """A program of predictions as it was stored.

    Attributes:
      row: shape and dtype of one row's arrays, by name, before they are prepared.
      classes: the names of the labels.
      read: how new rows are read from a file, or None.
      call: `call(config, state, rows) -> outputs`, traceable: of a stored config's fields, a state's leaves
        and arrays `[N, ...]`, all by their paths.
    """

    row: Mapping[str, Any]
    classes: tuple[str, ...]
    read: Callable[[Any], Any] | None
    call: Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], Mapping[str, jax.Array]]


class Prediction(NamedTuple):
    """A program of predictions as it is stored: what is told of it, and its bytes; or why there is none."""

    told: Mapping[str, Any]
    content: bytes


def prediction_of(build: Build, config: Any, experiment: Experiment) -> Prediction:
    """The program of predictions of runs of one static structure; one that cannot be made stops no run.

    Args:
      build: their experiment as a function of the config.
      config: that of one of them.
      experiment: the experiment of it, whose learner predicts.
    """
    try:
        return _described(build, config, experiment)
    except Exception as error:  # of the user's functions, of JAX's lowering
        return Prediction({"why": named(error, most=200)}, b"")


def store_prediction(folder: Folder, found: Callable[[], Prediction]) -> None:
    """Writes the program of predictions of runs that are trained together, if their folder has none yet.

    Args:
      folder: of the runs.
      found: gives it.

    Raises:
      OSError: the folder cannot be written.
    """
    if (folder / _TOLD).exists():
        return
    told, content = found()
    if content:
        write_atomically(folder / _PROGRAM, content)
    write_sealed(folder / _TOLD, {**told, "sha256": hashlib.sha256(content).hexdigest()}, of=folder.name)


def stored_prediction(folder: Folder) -> StoredPrediction:
    """The program in a folder of runs.

    Raises:
      ValueError: there is none, and why; or it is damaged, or cannot be read by this JAX.
      OSError: it cannot be read.
    """
    told = read_sealed(
        folder / _TOLD, of=folder.name, fix="give the experiment's file and data, and it is not needed"
    )
    if told is None:
        raise ValueError(f"{folder} has no program of predictions, as those of earlier versions")
    if "why" in told:
        raise ValueError(f"no program of its predictions could be stored: {told['why']}")
    content = get(folder / _PROGRAM)
    if content is None or hashlib.sha256(content).hexdigest() != told["sha256"]:
        raise ValueError(f"{folder / _PROGRAM} is damaged or gone")
    try:
        exported = jax.export.deserialize(bytearray(content))
    except Exception as error:  # whatever JAX and flatbuffers raise of a form that they do not know
        raise ValueError(
            f"{folder / _PROGRAM} cannot be read by JAX {jax.__version__}: {named(error)}"
        ) from None
    row = _forms(told["row"])
    return StoredPrediction(row, tuple(told["classes"]), _reader(told["read"]), _caller(exported, told))


def _described(build: Build, config: Any, experiment: Experiment) -> Prediction:
    inputs = experiment.inputs
    if inputs is None:
        raise ValueError("the experiment does not say what its rows are: Experiment(inputs=...)")
    state = jax.eval_shape(experiment.learner.init, jax.random.key(0))
    forms = [jax.tree.map(_form, config), state]

    def program(config: Any, state: Any, rows: Any) -> Mapping[str, jax.Array]:
        made = experiment
        if jax.tree.leaves(config):
            made = experiment_of(build, Member(config, jax.random.key(0), jnp.bool_(True)))
        return says(made)(state, rows)

    (used, names, exported), batch = _first_way(program, forms, inputs.row)
    told = {
        "row": jax.tree.map(lambda one: [np.dtype(one.dtype).name, *one.shape], dict(inputs.row)),
        "classes": list(inputs.classes),
        "read": _told_reader(inputs.read),
        "config": used[0],
        "state": used[1],
        "rows": used[2],
        "outputs": names,
        "batch": batch,
    }
    return Prediction(told, bytes(exported.serialize()))


def _first_way(program: Callable[..., Any], forms: list[Any], row: Any) -> tuple[Any, int | None]:
    """What `_exported` gives, for any number of rows and all platforms if that can be, and the number."""
    own = (jax.export.default_export_platform(),)
    for platforms, batch in ((PLATFORMS, None), (PLATFORMS, _ROWS)):
        try:
            return _exported(program, [*forms, _batch_of(row, batch)], platforms), batch
        except Exception:  # as of shapes that must be numbers, or of what one platform alone has
            continue
    return _exported(program, [*forms, _batch_of(row, _ROWS)], own), _ROWS


def _exported(
    program: Callable[..., Any], forms: list[Any], platforms: tuple[str, ...]
) -> tuple[list[list[str]], list[str], jax.export.Exported]:
    """The paths of what a program reads of each argument, the names of its outputs, and the program of these
    alone."""
    closed, outputs = jax.make_jaxpr(program, return_shape=True)(*forms)
    jaxpr, needed = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    leaves = [tree.named_leaves(one) for one in forms]
    flags = iter(needed)
    used = [[path for path, flag in zip(one, flags) if flag] for one in leaves]  # noqa: B905 (one goes on)
    asked = [one[path] for one, paths in zip(leaves, used, strict=True) for path in paths]
    if any(jnp.issubdtype(one.dtype, jax.dtypes.prng_key) for one in asked):
        raise ValueError("its predictions read a random key of the state")
    function = jaxpr_as_fun(ClosedJaxpr(jaxpr, closed.consts))
    names = list(tree.named_leaves(outputs))
    return used, names, jax.export.export(jax.jit(function), platforms=platforms)(*asked)


def _caller(exported: jax.export.Exported, told: Mapping[str, Any]) -> Callable[..., Mapping[str, jax.Array]]:
    paths, batch = [told["config"], told["state"], told["rows"]], told["batch"]

    @jax.custom_batching.sequential_vmap  # an exported program has no rule of its own
    def several(fixed: list[Any], rows: list[Any]) -> list[jax.Array]:
        if batch is None:
            return list(exported.call(*fixed, *rows))
        return _in_parts(lambda part: list(exported.call(*fixed, *part)), rows, batch)

    def call(config: Any, state: Any, rows: Any) -> Mapping[str, jax.Array]:
        found = [
            [_part(one, path) for path in some]
            for one, some in zip((config, state, rows), paths, strict=True)
        ]
        numbers = [
            jnp.asarray(one, form.dtype) for one, form in zip(found[0], exported.in_avals, strict=False)
        ]
        return dict(zip(told["outputs"], several([*numbers, *found[1]], found[2]), strict=True))

    return call


def _in_parts(
    function: Callable[[list[Any]], list[jax.Array]], rows: list[Any], size: int
) -> list[jax.Array]:
    """What a function of so many rows gives for any number of them, filled up with the last."""
    count = len(rows[0])
    parts = -(-count // size)
    index = jnp.minimum(jnp.arange(parts * size), count - 1).reshape(parts, size)
    found = jax.lax.map(lambda numbers: function([one[numbers] for one in rows]), index)
    return [one.reshape(parts * size, *one.shape[2:])[:count] for one in found]


def _part(found: Mapping[str, Any], path: str) -> Any:
    if path not in found:
        raise ValueError(
            f"the prediction reads {path!r}, which is not given; expected it, with a row for each input"
        )
    return found[path]


def _form(leaf: Any) -> jax.ShapeDtypeStruct:
    leaf = jnp.asarray(leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _batch_of(row: Mapping[str, Any], batch: int | None) -> dict[str, Any]:
    size = jax.export.symbolic_shape("N")[0] if batch is None else batch
    return jax.tree.map(lambda one: jax.ShapeDtypeStruct((size, *one.shape), one.dtype), dict(row))


def _forms(told: Any) -> Any:
    if isinstance(told, Mapping):
        return {name: _forms(one) for name, one in told.items()}
    return jax.ShapeDtypeStruct(tuple(told[1:]), np.dtype(told[0]))


def _told_reader(read: Any) -> dict[str, Any] | None:
    """A function of a path, of a module of `fdl.data`, with JSON-able arguments that are given; or None."""
    if read is None or not hasattr(read, "func") or read.args or not _plain(read.keywords):
        return None
    return {"function": function_name(read.func), "with": dict(read.keywords)}


def _reader(told: Mapping[str, Any] | None) -> Callable[[Any], Any] | None:
    if told is None or not told["function"].startswith(_READERS):
        return None
    function = find(told["function"])
    return None if function is None else lambda path: function(path, **told["with"])


def _plain(value: Any) -> bool:
    """Whether JSON holds a value."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) for name in value) and all(map(_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_plain, value))
    return value is None or isinstance(value, str | bool | int | float)
