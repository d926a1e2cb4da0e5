"""An executor of Slurm's jobs, by submitit: an array, in which each job trains one unit."""

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from fdl.arguments import Count, NotNegative, checked
from fdl.sweeps.apart import Died, Worker, asked_to_do, started, stop
from fdl.sweeps.executor import SAVED, TRIES, Begin, Executor, Tell
from fdl.train.progress import Progress
from fdl.train.signals import Interrupted

_LOOK = 0.5
"""Seconds between two looks at the jobs; of Slurm submitit asks seldom."""
_CORES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC", "JAX_NUM_CPU_DEVICES")
"""What libraries read for the number of cores, where a job sees more than it has."""
TIME_OUTS = 1000
"""So often a job may reach its time limit; each time it goes on from where it saved."""
SIGNAL_SECONDS = 120
"""So long before its time limit a job is asked to save."""


@checked
def on_slurm(
    workers: Count,
    logs: str | Path,
    *,
    cpus: Count = 1,
    gpus: NotNegative[int] = 0,
    minutes: Count = 60,
    partition: str | None = None,
    cluster: Literal["slurm", "local"] = "slurm",
) -> Executor:
    """Jobs of Slurm, as `fdl sweep --executor slurm` (extra `slurm`): an array with a job for each unit.

    A job that reaches its time limit, or is preempted, saves, and as its worker ends with code 75 it is
    queued again and goes on; one that dies is submitted again. Tested with submitit's local executor, not
    with Slurm.

    Args:
      workers: how many jobs of the array run at once; `cluster="local"` runs all.
      logs: a folder that all machines see, for submitit's files and the jobs' output.
      cpus: cores of a job.
      gpus: GPUs of a job.
      minutes: its time limit.
      partition: where it is queued.
      cluster: `"local"` runs the jobs on this machine, without Slurm.

    Raises:
      ValueError: submitit is not installed, or there is no Slurm.

    Example:
      >>> import fdl
      >>> fdl.sweeps.on_slurm(8, "logs", cluster="local").workers
      8
    """
    if cluster == "slurm" and not shutil.which("srun"):
        raise ValueError("there is no Slurm here (no command srun); run it where its jobs are submitted")
    try:
        import submitit
    except ImportError:
        raise ValueError("submitit is not installed; `pip install submitit`, or `fdl[slurm]`") from None
    asked: dict[str, Any] = {"timeout_min": minutes, "cpus_per_task": cpus, "gpus_per_node": gpus}
    if cluster == "slurm":
        asked |= {"slurm_array_parallelism": workers, "slurm_signal_delay_s": SIGNAL_SECONDS}
        asked |= {"slurm_partition": partition} if partition else {}
    limits = {f"{cluster}_max_num_timeout": TIME_OUTS}
    make = functools.partial(submitit.AutoExecutor, str(logs), cluster=cluster, **limits)
    return Executor(workers, functools.partial(_opened, make, asked))


class Job:
    """What a job of the array does; submitit asks it for `checkpoint` where the job is to end early."""

    def __init__(self, message: bytes, cpus: int) -> None:
        self.message, self.cpus = message, cpus
        self.worker: Worker | None = None

    def __call__(self, task: str) -> tuple[Any, ...]:
        """Has a worker do a task: `("done", value)`, or `("failed", kind, message)`."""
        cores = {name: str(self.cpus) for name in _CORES}
        say = lambda line: print(line, flush=True)  # noqa: E731
        worker = self.worker = started(self.message, cores)
        try:
            return "done", asked_to_do(worker, task, Progress(say))
        except Died as death:
            return "died", str(death)
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            return "failed", type(error), str(error)
        finally:  # also of `checkpoint`, which ends this process from within
            stop(worker)
            worker.wait()

    def checkpoint(self, task: str) -> Any:
        """Asks the worker to save; the job is queued again if it did."""
        from submitit.helpers import DelayedSubmission

        worker, self.worker = self.worker, None
        if worker is not None:
            stop(worker)
            if worker.wait() != SAVED:
                return None
        return DelayedSubmission(Job(self.message, self.cpus), task)


@contextlib.contextmanager
def _opened(make: Callable[[], Any], asked: dict[str, Any], message: bytes, tell: Tell) -> Iterator[Begin]:
    jobs = make()
    jobs.update_parameters(name="fdl", **asked)
    running: dict[Any, str] = {}
    job, tries = Job(message, asked["cpus_per_task"]), dict[str, int]()

    def submit(tasks: Sequence[str]) -> None:
        found = jobs.map_array(job, tasks)
        running.update(zip(found, tasks, strict=True))

    def begin(tasks: Sequence[str]) -> Iterator[tuple[str, Any]]:
        submit(tasks)
        while running:
            for one in [one for one in running if one.done()]:
                task = running.pop(one)
                kind, *words = _outcome(one)
                if kind == "done":
                    yield task, words[0]
                elif kind == "failed":
                    raise words[0](words[1])
                else:
                    tries[task] = tries.get(task, 0) + 1
                    if tries[task] == TRIES:
                        raise OSError(f"{TRIES} jobs died at {task}: {words[0]}; see {one.paths.stderr}")
                    tell.say(
                        f"job {one.job_id} {words[0]}; another goes on from the last checkpoint of {task}"
                    )
                    submit([task])
            if tell.asked():
                raise Interrupted("stopped; the same command goes on from there")
            time.sleep(_LOOK)

    try:
        yield begin
    finally:
        for one in running:
            one.cancel(check=False)


def _outcome(job: Any) -> tuple[Any, ...]:
    """What a job that has ended came to, as `Job` gives it."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        return job.result()
    except FailedJobError as error:  # which is an UncompletedJobError too
        return "failed", RuntimeError, str(error)
    except UncompletedJobError:
        return "died", f"ended without a result ({job.state})"
