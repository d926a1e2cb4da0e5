"""An executor of Ray's tasks: each trains one unit, in a process of its own."""

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from fdl.arguments import Count, NotNegative, checked
from fdl.sweeps.executor import TRIES, Begin, Executor, Tell
from fdl.text import named
from fdl.train.signals import Interrupted

_LOOK = 0.5
"""Seconds between two looks whether we are asked to stop."""


@checked
def on_ray(
    workers: Count, *, address: str | None = None, cpus: Count = 1, gpus: NotNegative[int] = 0
) -> Executor:
    """Tasks of a Ray cluster, as `fdl sweep --executor ray` (extra `ray`), one for each unit.

    Ray starts them where their cores and GPUs are free, and again on another node where a node or a process
    dies. All nodes need the same files, libraries and work directory, under the same names. Tested with a
    cluster on one machine.

    Args:
      workers: over how many the trials of one structure are split; of a cluster that Ray starts here, how
        many tasks run at once.
      address: of a cluster that runs, as `auto` or `10.0.0.2:6379`; if None, Ray starts one on this machine
        and ends it with the sweep.
      cpus: cores of a task.
      gpus: GPUs of a task.

    Raises:
      ValueError: Ray is not installed.

    Example:
      >>> import fdl
      >>> fdl.sweeps.on_ray(8).workers
      8
    """
    # Else Ray starts its workers by the `uv run` that started us, in a copy of the folder: they hang.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
    try:
        import ray  # noqa: F401
    except ImportError:
        raise ValueError("Ray is not installed; `pip install ray`, or `fdl[ray]`") from None
    return Executor(workers, functools.partial(_opened, workers, address, cpus, gpus))


@contextlib.contextmanager
def _opened(
    workers: int, address: str | None, cpus: int, gpus: int, message: bytes, tell: Tell
) -> Iterator[Begin]:
    import ray

    begun = not ray.is_initialized()
    try:
        if begun and address is None:
            ray.init(num_cpus=workers * cpus, num_gpus=workers * gpus, include_dashboard=False)
        elif begun:
            ray.init(address=address)
    except Exception as error:  # Ray raises whatever went wrong
        raise OSError(f"no Ray at {address or 'this machine'}: {named(error, most=300)}") from error
    # A process each, as JAX cannot change its devices; Ray repeats a task whose process or node dies.
    asked = ray.remote(num_cpus=cpus, num_gpus=gpus, max_calls=1, max_retries=TRIES - 1)
    work, content = asked(done_by_ray), ray.put(message)
    running: dict[Any, str] = {}

    def begin(tasks: Sequence[str]) -> Iterator[tuple[str, Any]]:
        running.update({work.remote(content, task, cpus): task for task in tasks})
        while running:
            for one in ray.wait(list(running), num_returns=1, timeout=_LOOK)[0]:
                yield running.pop(one), _outcome(one)
            if tell.asked():
                raise Interrupted("stopped; the same command goes on from there")

    try:
        yield begin
    finally:
        for one in running:
            ray.cancel(one)  # as Ctrl-C: it saves
        ray.wait(list(running), num_returns=len(running)) if running else None
        if begun:
            ray.shutdown()


def _outcome(one: Any) -> Any:
    """What a task came to."""
    import ray
    from ray.exceptions import RayError

    try:
        kind, *words = ray.get(one)
    except RayError as error:
        raise OSError(f"Ray gave up on a task after {TRIES} tries: {error}") from error
    if kind == "failed":
        raise words[0](words[1])
    return words[0]


def done_by_ray(message: bytes, task: str, cpus: int) -> tuple[Any, ...]:
    """Does a task in this process, which then ends: `("done", value)`, or `("failed", kind, message)`.

    Args:
      message: of `fdl.sweeps.executor.pickled`.
      task: which.
      cpus: how many cores it has; Ray keeps to their number, and not to which.
    """
    from fdl.sweeps.worker import failure, work
    from fdl.train.progress import Progress

    os.environ.setdefault("NPROC", str(cpus))
    jax.config.update("jax_num_cpu_devices", cpus)
    try:
        return "done", work(message)(task, Progress(lambda line: print(line, flush=True)))
    except Exception as error:
        return "failed", *failure(error)
