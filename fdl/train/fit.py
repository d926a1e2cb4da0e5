"""One run with effects: the numbers of `scan`, and checkpoints, logs, signals."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from fdl import tree
from fdl.experiment import Experiment, State
from fdl.inspection import Inspection
from fdl.parallel.arrangement import slice_sizes
from fdl.parallel.distributed import broadcast_from_first
from fdl.parallel.plan import MeshSizes, Overrides, Strategy, check_mesh
from fdl.parallel.sharding import host_copy
from fdl.storage import Folder, folder
from fdl.train.autotune import Work, autotune
from fdl.train.check import check, check_key
from fdl.train.folder import check_place, held
from fdl.train.identity import of_experiment
from fdl.train.loop import execute
from fdl.train.profiling import Profiler, place_of
from fdl.train.program import Program, stack_members
from fdl.train.progress import Progress, harmless, progress_of
from fdl.train.resume import restored
from fdl.train.run import Member, arrays_of, evaluation_steps, result_of
from fdl.train.runtime import make_room_for, plans_folder, prepare
from fdl.train.saving import Saving, check_saving, in_vain
from fdl.train.step_log import EVALUATION, is_of_log


class Fitted(NamedTuple):
    """A finished run.

    Attributes:
      state: the learner's state that is the run's result: the last, or the best where the experiment keeps
        it. Of a failed run that keeps none it is the state after the failing step, whose numbers may not be
        finite: `state_at` makes the one before it.
      rows: every evaluation, `{"step": updates, metric: value, ...}`; where the best state is kept, also
        whether this is it so far, as `"best"`.
      end: `{"status": "finished" | "stopped" | "failed", "step": updates}`, and of a failed run the
        `"metric"` that was not finite at the step after.
      log: where the experiment has `log_every`, the means of the step metrics over so many steps each,
        `{"step": updates, "train/loss": number, ...}`, also of a failed run up to where it failed.
      inspections: what the experiment's `inspect` showed after each evaluation.
    """

    state: State
    rows: list[dict[str, Any]]
    end: dict[str, Any]
    log: list[dict[str, Any]]
    inspections: tuple[Inspection, ...] = ()


def fit(
    experiment: Experiment,
    key: jax.Array,
    *,
    directory: Folder | str | None = None,
    restart: bool = False,
    mesh: MeshSizes | None = None,
    strategy: Strategy = "jit",
    saving: Saving = Saving(),  # noqa: B008
    progress: Progress = Progress(),  # noqa: B008
    profile: bool | Folder | str = False,
) -> Fitted:
    """Trains one run to its end, from where its directory left off.

    Args:
      experiment: what to run.
      key: the run's root key, as `jax.random.key(seed)`; `scan` with the same key is the same run.
      directory: where checkpoints and rows go, a local path or a bucket's (`"s3://BUCKET/NAME"`); `None`
        keeps all in memory.
      restart: move what the directory holds aside and start again; nothing is deleted.
      mesh: over how many devices rows (`data`, `fsdp`), parameters (`fsdp`) and hidden units (`tensor`)
        are split, as `{"data": 4}`; by measured speed if not given. A pair, `{"data": (2, 4)}`, says over how
        many slices of TPUs or nodes of GPUs, and over how many devices within each.
      strategy: how rows are split: see `fdl.parallel.plan.Plan`.
      saving: when to save.
      progress: told of the progress, and where the profile is.
      profile: where to write a trace of steps 10 to 20, counted from where this call begins, by JAX's
        profiler: a folder, or True for `profile` in `directory`. It changes no number.

    Raises:
      ValueError: the experiment or the key is not valid (see `fdl.check`), the directory is not one, holds
        another run (of other code, data or key) or is in use, or the mesh does not fit the devices or the
        batches.
      Interrupted: SIGTERM, SIGHUP or SIGINT came, and all is saved.
      OSError: the directory cannot be written; earlier checkpoints are intact.

    Example:
      >>> import jax, numpy as np
      >>> from fdl import data, tasks, train
      >>> rows = {"x": np.eye(4, dtype=np.float32), "y": np.array([1, -1, 1, -1], np.float32)}
      >>> experiment = tasks.perceptron(data.Splits(rows, rows, rows), steps=20)
      >>> fitted = train.fit(experiment, jax.random.key(0))
      >>> fitted.end
      {'status': 'finished', 'step': 20}
    """
    check_saving(saving, kept=bool(directory))
    names = check(experiment)
    check_key(key)
    traces = place_of(profile, directory)
    progress = progress_of(harmless(progress), [{}], before=0, total=experiment.steps)
    overrides, profiler = Overrides(None, mesh, strategy), Profiler(traces, progress.say)
    with _opened(experiment, key, directory, restart, overrides, progress) as run, profiler:
        place, program, members = run
        if line := in_vain(saving, place):
            progress.say(line)
        outcome = execute(
            program,
            members,
            evaluation_steps(experiment),
            names,
            directory=place,
            saving=saving,
            progress=progress,
            profiler=profiler,
            inspected={0: ""},
        )
    rows, log = (
        [
            {name: value for name, value in row.items() if name not in ("member", EVALUATION)}
            for row in outcome.rows
            if is_of_log(row) == of_log
        ]
        for of_log in (False, True)
    )
    shown = tuple(inspection for _, inspection in outcome.inspections)
    return Fitted(tree.take(result_of(outcome.carry), 0), rows, outcome.ends[0], log, shown)


def state_at(
    experiment: Experiment,
    key: jax.Array,
    step: int,
    *,
    directory: Folder | str | None = None,
    mesh: MeshSizes | None = None,
    strategy: Strategy = "jit",
) -> State:
    """The learner's state after `step` updates of a run, as it was: the steps are taken again.

    So a failed run's last good state costs nothing until somebody asks for it:
    `state_at(experiment, key, fitted.end["step"], directory=...)`.

    Args:
      experiment: what was run.
      key: the run's root key.
      step: updates, from 0 to `experiment.steps`.
      directory: the run's, from whose nearest checkpoint before it goes on; from the start if None.
      mesh: as it was given to `fit`.
      strategy: likewise.

    Raises:
      ValueError: a step out of range, or as `fit`.

    Example:
      >>> import jax, numpy as np
      >>> from fdl import data, tasks, train
      >>> rows = {"x": np.eye(4, dtype=np.float32), "y": np.array([1, -1, 1, -1], np.float32)}
      >>> experiment = tasks.perceptron(data.Splits(rows, rows, rows), steps=20)
      >>> state = train.state_at(experiment, jax.random.key(0), 10)
      >>> jax.tree.map(jax.numpy.shape, state.params)
      {'Dense_0': {'bias': (1,), 'kernel': (4, 1)}}
    """
    check(experiment)
    check_key(key)
    if not 0 <= step <= experiment.steps:
        raise ValueError(f"step is {step}; expected one from 0 to the run's {experiment.steps}")
    with _opened(experiment, key, directory, False, Overrides(None, mesh, strategy), Progress()) as (
        place,
        program,
        members,
    ):
        members = program.place(members)
        done, carry = restored(program, members, place, until=step)
        if done < step:
            carry, _ = program.advance(members, carry, done, step)
        if (ended := int(host_copy(carry.step)[0])) < step:
            raise ValueError(f"the run ended after step {ended}; ask for a step up to that, not for {step}")
    return tree.take(carry.state, 0)


@contextlib.contextmanager
def _opened(
    experiment: Experiment,
    key: jax.Array,
    directory: Folder | str | None,
    restart: bool,
    overrides: Overrides,
    progress: Progress,
) -> Iterator[tuple[Folder | None, Program, Member]]:
    """A run's folder, held while this lasts, its compiled program and its one member."""
    place = folder(directory) if directory else None
    prepare(place)
    make_room_for(overrides.mesh, overrides.strategy)
    check_mesh(overrides.mesh or {}, strategy=overrides.strategy, slices=slice_sizes(jax.devices()))
    check_place(place)
    identity = broadcast_from_first(lambda: _identity(experiment, key)) if place else {}
    with held(place, identity, restart=restart, say=progress.say):
        work = Work(
            lambda _: experiment, experiment, [()], key[None], arrays_of(experiment), experiment.steps
        )
        _, program = autotune(work, overrides, remembered=plans_folder(place), say=progress.say)
        yield place, program, stack_members([()], key[None], pad_to=1)


def _identity(experiment: Experiment, key: jax.Array) -> dict[str, Any]:
    return {"key": jax.random.key_data(key).tolist(), **of_experiment(experiment)}
