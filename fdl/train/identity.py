"""Which run a directory holds: what its experiment means, and the data that it reads.

What decides the numbers of a sweep is told in two parts: `of_program`, the code and the values that every run
shares, and `of_structure`, what belongs to a static structure: its own functions, its data, its steps.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl.configs import is_config, traced_fields, values
from fdl.experiment import Experiment, Source
from fdl.identity import Meaning, meaning, versions
from fdl.serialization import digest
from fdl.train.chosen import Chosen
from fdl.train.run import Build, Member, advance_once, arrays_of, evaluate, init, sources_of

_SETTINGS = (
    "jax_default_matmul_precision", "jax_default_prng_impl", "jax_enable_x64", "jax_numpy_dtype_promotion",
    "jax_random_seed_offset", "jax_threefry_partitionable",
)  # fmt: skip
"""What of JAX's own configuration decides numbers."""


def of_program(build: Build, config: type) -> dict[str, Any]:
    """What all runs of an experiment share: the code and the values that it reaches, and JAX's settings.

    Args:
      build: the function `experiment`.
      config: the class of its configs.

    Returns:
      JSON-able. `seen` is whether all of it could be described; `versions` are of the libraries, to be
      recorded and not compared. `best` is there where the experiment is not asked which state is the result.
    """
    if isinstance(build, Chosen):
        return {**of_program(build.build, config), "best": build.best._asdict()}
    found = meaning({"experiment": build, "config": config})
    return {**_told(found), "seen": not found.unseen, "versions": versions(found.packages)}


_COMPUTED = ("code", "values", "settings", "best")
"""What of an identity says what an experiment computes."""


def computed(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What an identity, as `of_program` gives it, says of what an experiment computes."""
    return {name: value for name, value in identity.items() if name in _COMPUTED}


def of_structure(build: Build, config: Any, *, seen: bool) -> dict[str, Any]:
    """What the runs of one static structure share beside the program; JSON-able.

    The experiment is looked at with the traced fields at their defaults, so that it is the same whichever
    runs of the structure are asked for.

    Args:
      build: the function `experiment`.
      config: of any of the runs.
      seen: whether all of the program could be described. Where something could not, the program as it is
        lowered for the compiler is part of the fingerprint. Else it is recorded, and compared where the same
        version of JAX lowers it again: what code reaches in ways that cannot be followed shows there.
    """
    config = with_defaults(config)
    experiment = build(config)
    told, unseen = _structure(config, experiment)
    return {**told, **_program(build, config, experiment, seen=seen and not unseen)}


def of_built(config: Any, experiment: Experiment) -> dict[str, Any]:
    """What of `of_structure` an experiment tells that is built already, at a config of `with_defaults`; the
    program as it is lowered is left out."""
    return _structure(config, experiment)[0]


def _structure(config: Any, experiment: Experiment) -> tuple[dict[str, Any], bool]:
    """What a structure means, and whether something of it cannot be described."""
    own = meaning({name: value for name, value in values(config).items() if _has_meaning(value)})
    data = {split: _data(source) for split, source in sources_of(experiment).items()}
    found = meaning({**data, "experiment": _trained(experiment)})
    told = {split: found.values[split] for split in data}
    structure = {
        "functions": {
            "code": own.code,
            "values": {k: v for k, v in own.values.items() if not isinstance(v, str)},
        },
        "data": told,
        "constants": sorted(words for words in found.arrays if words not in repr(told)),
        "steps": experiment.steps,
        "evaluate_every": experiment.evaluate_every,
    }
    return structure, bool(own.unseen)


def _has_meaning(value: Any) -> bool:
    """Whether a value of a field is more than its name: a function, a member of an enum, or holds such."""
    if isinstance(value, tuple):
        return any(map(_has_meaning, value))
    return callable(value) or dataclasses.is_dataclass(value) or isinstance(value, enum.Enum)


def of_experiment(experiment: Experiment) -> dict[str, Any]:
    """What an experiment that is built already means, with all that its functions close over; JSON-able."""
    found = meaning({"experiment": _trained(experiment)})
    program = _program(lambda _: experiment, (), experiment, seen=not found.unseen)
    return {**_told(found), **program, "versions": versions(found.packages)}


def _trained(experiment: Experiment) -> Experiment:
    """What is trained and measured; what a trained run predicts decides nothing of that."""
    return experiment._replace(learner=experiment.learner._replace(predict=None), inputs=None)


def _told(found: Meaning) -> dict[str, Any]:
    settings = {name: str(getattr(jax.config, name, None)) for name in _SETTINGS}
    return {"code": found.code, "values": found.values, "settings": settings}


def _data(source: Source) -> dict[str, Any]:
    """What a source reads. Where functions that fetch cannot be described, two batches stand for the rest."""
    about = {"arrays": source.arrays, "batches": source.batches}
    if source.fetch is None:
        return about
    rows = source.fetch if source.identity is None else source.identity
    if not meaning({"rows": rows}).unseen:
        return {**about, "rows": rows}
    steps = sorted({0, source.batches - 1})
    return {**about, "read": [source.fetch(step, np.zeros(2, np.uint32), slice(None)) for step in steps]}


def with_defaults(config: Any) -> Any:
    """The config with its traced fields at their defaults."""
    if not is_config(type(config)):
        return config
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    traced = {name: defaults[name] for name in traced_fields(type(config))}
    known = {name: value for name, value in traced.items() if value is not dataclasses.MISSING}
    return dataclasses.replace(config, **known)


def _program(build: Build, config: Any, experiment: Experiment, *, seen: bool) -> dict[str, Any]:
    """The program as it is lowered: recorded, and where something is not seen part of the fingerprint."""
    try:
        lowered = _lowered(build, config, experiment)
    except Exception:  # whatever a user's code raises: what cannot be traced is told before it is run
        if not seen:
            raise
        return {}
    return {"lowered": lowered, **({} if seen else {"program": lowered["digest"]})}


def _lowered(build: Build, config: Any, experiment: Experiment) -> dict[str, str]:
    """A digest of a run's start, step and evaluation as the compiler gets them, with the arrays that they
    close over, and by which version of JAX: however code reaches a number, here the number itself counts."""

    def whole(traced: Any, arrays: Mapping[str, Any]) -> Any:
        run = Member(traced, jax.random.key(0), jnp.bool_(True))
        carry = init(build, run)
        return evaluate(build, run, arrays, advance_once(build, run, arrays, carry))

    text = jax.jit(whole).lower(config, arrays_of(experiment)).as_text()
    # Another version of a library, fdl's own among them, may lower the same code in another way.
    by = [jax.default_backend(), versions(())]
    return {"by": digest(by), "digest": digest(text)}
