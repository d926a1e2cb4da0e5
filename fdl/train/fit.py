"""One run with effects: the numbers of `scan`, and checkpoints, logs, signals."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from fdl import tree
from fdl.bucket import Folder, folder
from fdl.experiment import Experiment, State
from fdl.parallel.plan import Strategy, check_mesh
from fdl.train.choose import Work, choose
from fdl.train.folder import held
from fdl.train.loop import Saving, Watch, execute
from fdl.train.member import arrays_of, evaluation_steps, metric_names
from fdl.train.program import stack_members
from fdl.train.runtime import make_room_for, prepare


class Fitted(NamedTuple):
    """A finished run.

    Attributes:
      state: the learner's final state.
      rows: every evaluation, `{"step": updates, metric: value, ...}`.
      end: `{"status": "finished" | "stopped" | "failed", "step": updates}`, and of a failed run the
        `"metric"` that was not finite at the step after.
    """

    state: State
    rows: list[dict[str, Any]]
    end: dict[str, Any]


def fit(
    experiment: Experiment,
    key: jax.Array,
    *,
    directory: Folder | str | None = None,
    identity: Mapping[str, Any] | None = None,
    mesh: Mapping[str, int] | None = None,
    strategy: Strategy = "jit",
    saving: Saving = Saving(),  # noqa: B008
    watch: Watch = Watch(),  # noqa: B008
) -> Fitted:
    """Trains one run to its end, from where its directory left off.

    Args:
      experiment: what to run.
      key: the run's root key, as `jax.random.key(seed)`; `scan` with the same key is the same run.
      directory: where checkpoints and rows go, a local path or a bucket's (`"s3://BUCKET/NAME"`); `None`
        keeps all in memory.
      identity: JSON-able data that says which run the directory holds.
      mesh: over how many devices rows (`data`, `fsdp`), parameters (`fsdp`) and hidden units (`tensor`)
        are split, as `{"data": 4}`; by measured speed if not given.
      strategy: who splits the rows: see `fdl.parallel.plan.Plan`.
      saving: when to save.
      watch: told of the progress.

    Raises:
      ValueError: the directory is none, holds another run or is in use, or the mesh does not fit the
        devices or the batches.
      Interrupted: SIGTERM or SIGINT came, and all is saved.
      OSError: the directory cannot be written; earlier checkpoints are intact.
    """
    prepare()
    make_room_for(mesh, strategy)
    check_mesh(mesh or {}, strategy=strategy, available=len(jax.devices()))
    place = folder(directory) if directory else None
    with held(place, {"key": jax.random.key_data(key).tolist(), **(identity or {})}):
        arrays = arrays_of(experiment)
        work = Work(lambda _: experiment, [()], key[None], arrays, experiment.steps)
        _, program = choose(work, mesh=mesh, strategy=strategy, say=watch.say)
        outcome = execute(
            program,
            stack_members([()], key[None], pad_to=1),
            evaluation_steps(experiment),
            metric_names(experiment),
            directory=place,
            saving=saving,
            watch=watch,
        )
    rows = [{name: value for name, value in row.items() if name != "member"} for row in outcome.rows]
    return Fitted(tree.take(outcome.carry.state, 0), rows, outcome.ends[0])
