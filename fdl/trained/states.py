"""The states of stored runs, read from checkpoints of any machine."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from fdl import tree
from fdl.experiment import Experiment, State
from fdl.storage import Folder
from fdl.sweeps.stored_runs import StoredRun
from fdl.tasks.averaging import Averaged
from fdl.tasks.gradient import State as GradientState
from fdl.train.stored import SKIPPED, Saved, read_saved, saved_in

Which = Literal["result", "last", "best"]
"""Of a run's states its result, which is the best where the experiment keeps that, else the last; the last;
or the best."""


def newest_of(unit: Folder) -> Saved:
    """The newest checkpoint of runs that are trained together; `ValueError` if there is none."""
    if not (found := saved_in(unit)):
        raise ValueError(
            f"{unit} has no checkpoint, as none was saved yet or all of its runs failed; look again later"
        )
    return found[-1]


def loaded_state(
    run: StoredRun, experiment: Experiment | None, which: Which, *, ended: int | None
) -> tuple[State, int | None]:
    """A stored run's state, on this machine's first device, and its updates: None of one that was kept.

    All members of the run's population are read into the host's memory, and one goes on to the device.

    Args:
      run: where it is.
      experiment: that of its config; without it the state is dictionaries and lists, as of `loaded_arrays`.
      which: which state.
      ended: after how many updates it ended early, or None.

    Raises:
      ValueError: the experiment does not keep its best state, the last one is gone, the checkpoint is
        damaged, or is that of another experiment.
      OSError: it cannot be read.
    """
    saved = newest_of(run.unit)
    wanted = experiment and jax.eval_shape(experiment.learner.init, jax.random.key(0))

    def checked(found: Any, members: int) -> State:
        if experiment is None:
            return found
        whole = jax.tree.map(lambda one: jax.ShapeDtypeStruct((members, *one.shape), one.dtype), wanted)
        _check_fits(found, whole, saved)
        return whole

    found, step = _read(saved, run, which, checked, gone=ended is not None and ended < saved.step)
    return jax.device_put(found, jax.devices()[0]), step


def loaded_arrays(run: StoredRun, which: Which = "result") -> Any:
    """A stored run's state without its experiment: NumPy arrays in dictionaries and lists, as they were
    saved; errors as of `loaded_state`."""
    return jax.device_get(_read(newest_of(run.unit), run, which, lambda found, _: found)[0])


def _read(
    saved: Saved, run: StoredRun, which: Which, of: Callable[[Any, int], Any], *, gone: bool = False
) -> tuple[Any, int | None]:
    """One of the states of a run, in the form `of(shapes, members)`, and its updates if it is the last."""
    if which not in ("result", "last", "best"):
        raise ValueError(f"state is {which!r}; expected 'result', 'last' or 'best'")
    kept: list[bool] = []

    def part(found: Mapping[str, Any]) -> Any:
        best: Any = found["kept"]
        kept.append(which != "last" and best is not None)
        if which == "best" and not kept[0]:
            raise ValueError(
                f"{run.directory} keeps no best state, as its experiment has no `best` and no `stop`; take "
                "state='last'"
            )
        if gone and not kept[0]:
            raise ValueError(
                "the run ended early, while others that were trained with it went on: its last state is "
                "gone, and its result was kept; take state='result'"
            )
        members, nothing = found["step"].shape[0], jax.tree.map(lambda _: SKIPPED, dict(found))
        if kept[0] and best:
            return {**nothing, "kept": {"state": of(best["state"], members), "score": SKIPPED}}
        return {**nothing, "state": of(found["state"], members), "step": found["step"]}

    carry = read_saved(saved, part)
    state = carry["kept"]["state"] if kept[0] else carry["state"]
    return tree.take(state, run.member), None if kept[0] else int(carry["step"][run.member])


def _check_fits(found: Any, wanted: Any, saved: Saved) -> None:
    """Raises `ValueError` unless the arrays that were saved are those of the experiment's state."""
    there, ours = tree.named_leaves(found), tree.named_leaves(wanted)
    for name in dict.fromkeys([*ours, *there]):
        a, b = (tree.shown(one[name]) if name in one else "nothing" for one in (there, ours))
        keyed = name in ours and jnp.issubdtype(ours[name].dtype, jax.dtypes.prng_key)
        if a != b and not (keyed and name in there):
            raise ValueError(
                f"{saved.place} is of another experiment: {name}, of all members, is {a} there, expected "
                f"{b}; give experiment= as it was trained"
            )


def variables_in(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The model's collections in a state that `loaded_arrays` gives; of `fdl.tasks.with_ema` the average.

    Raises:
      ValueError: it is none of learning by gradients.
    """
    if set(arrays) == set(Averaged._fields):
        return dict(arrays["average"])
    if set(arrays) != set(GradientState._fields):
        raise ValueError(f"the state has {', '.join(arrays)}; expected {', '.join(GradientState._fields)}")
    return {"params": arrays["params"], **arrays["model_state"]}
