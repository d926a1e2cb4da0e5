"""Where else than in the work directory a sweep's rows go, as they come: TensorBoard, W&B."""

import contextlib
from collections.abc import Callable, Collection, Iterator

from fdl.cli.tensorboard import EventFiles, check_tensorboard
from fdl.cli.wandb_runs import WandbRuns, check_wandb
from fdl.result import Result
from fdl.storage import Folder

Sink = Callable[[Result], None]
"""`sink(result)` keeps what is new of it."""


def check_sinks(
    tensorboard: str | None, wandb: str | None, changed: Callable[[], Collection[str]] = tuple
) -> None:
    """Whether the sinks that are asked for can be.

    Args:
      tensorboard: of `fdl.cli.tensorboard.EventFiles`.
      wandb: of `fdl.cli.wandb_runs.WandbRuns`.
      changed: gives the arms that a scheduler will change.

    Raises:
      ValueError: one cannot.
    """
    if tensorboard is not None:
        check_tensorboard(tensorboard)
    if wandb is not None:
        check_wandb(wandb)
    if (tensorboard, wandb) != (None, None):
        check_one_config_each(changed(), "")


def check_one_config_each(changed: Collection[str], then: str) -> None:
    """Raises `ValueError`, with what is then, where a scheduler changes arms: a run of TensorBoard or W&B
    stands for one config."""
    if changed:
        raise ValueError(
            f"--tensorboard and --wandb have a run for each config, and the scheduler changes arms, as "
            f"{next(iter(changed))!r}; leave them out: --watch and results.parquet tell such arms{then}"
        )


@contextlib.contextmanager
def sinks(tensorboard: str | None, wandb: str | None, directory: Folder) -> Iterator[Sink | None]:
    """The sinks of a work directory's runs that are asked for as one, while it lasts; None without any.

    Args:
      tensorboard: of `fdl.cli.tensorboard.EventFiles`.
      wandb: of `fdl.cli.wandb_runs.WandbRuns`.
      directory: the work directory.
    """
    with contextlib.ExitStack() as stack:
        several: list[Sink] = []
        if tensorboard is not None:
            several.append(EventFiles(tensorboard, directory).write)
        if wandb is not None:
            runs = WandbRuns(wandb, directory)
            stack.callback(runs.close)
            several.append(runs.write)

        def keep(result: Result) -> None:
            check_one_config_each(result.lineages, ". What is trained is kept and reported without them")
            for sink in several:
                sink(result)

        yield keep if several else None
