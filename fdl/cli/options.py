"""What each command takes besides an experiment's fields."""

import dataclasses
import typing
from pathlib import Path

import tyro

from fdl.aot.chips import parse_slice
from fdl.aot.target import Target
from fdl.experiment import Best
from fdl.parallel.plan import MeshSizes, Strategy, parse_mesh
from fdl.result import Better, check_better
from fdl.storage import Folder, folder
from fdl.sweeps.asking import Sampler
from fdl.train.saving import Saving, check_saving

Switch = tyro.conf.FlagCreatePairsOff[bool]


@dataclasses.dataclass
class Options:
    """What every command takes."""

    json: Switch = False
    """print one machine-readable line at the end; all else goes to stderr"""


@dataclasses.dataclass
class MeshOptions(Options):
    """What the commands that compile for devices take."""

    mesh: str | None = None
    """over how many devices to split members, rows, parameters and hidden units, as population=2,data=4 or
    fsdp=4,tensor=2; as data=2x4,fsdp=2, over how many slices (nodes of GPUs) times devices within each, where
    else the first axes span them (default: by measurement)"""
    strategy: Strategy = "jit"
    """how rows are split: by the compiler (jit), or each device takes its own (shard_map, pmap)"""

    def sizes(self) -> MeshSizes | None:
        """Those of the mesh's axes; raises `ValueError` for what is no mesh."""
        return None if self.mesh is None else parse_mesh(self.mesh)


@dataclasses.dataclass
class HostOptions:
    """What makes a process one of several, where the surroundings do not say it; read before all others."""

    coordinator: str | None = None
    """where process 0 listens, as HOST or HOST:PORT, where several processes train together"""
    process_id: int | None = None
    """which of them this is, from 0"""
    processes: int | None = None
    """how many there are"""


@dataclasses.dataclass
class PlaceOptions:
    """What the commands that read or write runs take."""

    workdir: str | None = None
    """where all runs are, also gs://BUCKET/NAME or s3://... (default: runs/NAME/FINGERPRINT)"""

    def directory(self, default: Path) -> Folder:
        """Where the runs are; raises `ValueError` for no name at all, as of a variable that is not set."""
        if self.workdir is not None and not self.workdir.strip():
            raise ValueError(f"--workdir is {self.workdir!r}; expected a folder, or leave it out: {default}")
        return folder(self.workdir or default)


@dataclasses.dataclass
class ResultOptions(PlaceOptions):
    """What the commands that train or report take."""

    best: str | None = None
    """by which metric each run's best state is kept and reported, instead of the last: validation/accuracy,
    or one of train/, which looks at nothing held out"""
    better: typing.Literal["higher", "lower"] | None = None
    """which way BEST is better"""

    def result(self) -> Best | None:
        """Which state is a run's result; raises `ValueError` for one flag without the other, or test/...."""
        if self.best is None and self.better is None:
            return None
        if self.best is None or self.better is None:
            raise ValueError("--best and --better go together, as --best validation/loss --better lower")
        if self.best.startswith("test/"):
            raise ValueError(f"--best is {self.best}: what chooses may not judge; expected a validation/...")
        return Best(self.best, self.better)


@dataclasses.dataclass
class TrainOptions(ResultOptions, HostOptions, MeshOptions):
    """What the commands that train take."""

    restart: Switch = False
    """move what the directory holds aside and start again; nothing is deleted"""
    checkpoint_seconds: float = 30.0
    """seconds between checkpoints"""
    checkpoint_steps: int | None = None
    """steps between checkpoints, instead of seconds"""
    keep: int = 2
    """how many of the last checkpoints to keep"""
    emergency: str | None = None
    """a folder on each process's own disk, or in memory as /dev/shm/fdl, for checkpoints beside those of
    WORKDIR, which a start of the same processes takes where they are newer and whole"""
    emergency_seconds: float = 10.0
    """seconds between these"""
    no_doctor: Switch = False
    """on TPUs, and on several processes with GPUs, do not begin with `fdl doctor`"""

    def saving(self) -> Saving:
        """When to save; raises `ValueError` for numbers that make no sense."""
        saving = Saving(
            self.checkpoint_seconds, self.checkpoint_steps, self.keep, self.emergency, self.emergency_seconds
        )
        flags = ("--checkpoint-seconds", "--checkpoint-steps", "--keep")
        check_saving(saving, *flags, "--emergency", "--emergency-seconds")
        return saving


@dataclasses.dataclass
class ProfileOptions(TrainOptions):
    """What the commands that train one list of trials take."""

    profile: Switch = False
    """write a trace of steps 10 to 20 to WORKDIR/profile by JAX's profiler, and say how to open it"""


@dataclasses.dataclass
class RunOptions(ProfileOptions):
    """`fdl run`."""

    seed: int = 0
    """names the run's randomness"""


@dataclasses.dataclass
class ExecutorOptions:
    """Where a sweep or a search trains."""

    executor: typing.Literal["local", "processes", "ray", "slurm"] = "local"
    """who trains: this process (local), WORKERS processes on this machine, each with cores or GPUs of its own
    (processes), tasks of a Ray cluster (extra ray), or jobs of Slurm (extra slurm)"""
    workers: int | None = None
    """how many train at once, with every executor but local"""
    cpus: int = 1
    """CPU cores of each worker on Ray and Slurm"""
    gpus: int = 0
    """GPUs of each worker on Ray and Slurm"""
    address: str | None = None
    """of the Ray cluster, as auto or 10.0.0.2:6379 (default: one on this machine, while the sweep lasts)"""
    minutes: int = 60
    """that a Slurm job may run; one that takes longer saves, and is queued again"""
    partition: str | None = None
    """of Slurm (default: its own)"""


@dataclasses.dataclass
class ShownOptions:
    """Where a sweep or a search is seen while it runs."""

    tensorboard: str | None = None
    """a folder for TensorBoard, where each run's evaluations are written as they come (extra tensorboard)"""
    wandb: str | None = None
    """a project of Weights & Biases, with a run there for each run, written as they come (extra wandb); files
    in ./wandb, of which nothing is sent unless WANDB_MODE is online"""
    watch: Switch = False
    """show how the arms stand while they run, as `fdl watch` does beside it: curves and ranks"""


@dataclasses.dataclass
class SweepOptions(ProfileOptions, ExecutorOptions, ShownOptions):
    """`fdl sweep`."""

    seeds: int | None = None
    """seeds of every arm, instead of those in the file"""
    members: int | None = None
    """members in one program, instead of the measured choice"""
    inspect: int = 8
    """of how many arms, from the first, the experiment's inspect looks at a run"""
    until_decided: Switch = False
    """add four seeds of every arm at a time until the claim, which compares with anytime=True, is decided"""
    max_seeds: int | None = None
    """with --until-decided: so many seeds of an arm in all (default: 64)"""
    budget: str | None = None
    """stop after so long, as 30m or 1h30m: saved, with a report of what is finished and exit code 75"""


@dataclasses.dataclass
class SearchOptions(TrainOptions, ExecutorOptions, ShownOptions):
    """`fdl search`."""

    trials: int = 96
    """how many in all; the same command with more goes on; a multiple of POPULATION where the file has a
    SCHEDULER"""
    sampler: Sampler = "tpe"
    """which of Optuna's: tpe, cmaes, nsgaii, qmc, random, gp (needs PyTorch)"""
    metric: str | None = None
    """by which to choose, as validation/accuracy; BETTER says which way it is better (default: that by which
    the experiment keeps its best state, or BEST). Several, as validation/accuracy,validation/loss with
    --better higher,lower, for the configs of their Pareto front"""
    better: str | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    """which way BEST or METRIC is better: higher or lower; of several metrics each, with commas"""
    seeds: int = 1
    """of every trial, whose value is the mean over them"""
    judges: int = 8
    """seeds, which no trial had, from which the chosen config, or each of the front, is trained and judged"""
    population: int = 16
    """trials that are asked before the first of them is told"""
    draw_seed: int = 0
    """names the sampler's random numbers"""
    storage: str | None = None
    """where Optuna keeps trials: a database's URL, or a file for its journal (default: in WORKDIR)"""
    members: int | None = None
    """members in one program, instead of the measured choice"""

    def result(self) -> Best | None:
        """Which state is a run's result; raises `ValueError` as of all commands, or for two metrics."""
        self.goal()
        if self.metric and self.best and self.metric != self.best:
            raise ValueError("--metric and --best name two metrics, and --better is of one; give one of them")
        return super().result() if self.best else None

    def goal(self) -> tuple[list[str] | None, list[Better] | None]:
        """The metrics and which way each is better; raises `ValueError` for another way than up or down."""
        sides = self.better.split(",") if self.better is not None else []
        for side in sides:
            check_better(side)
        metrics = self.metric.split(",") if self.metric is not None else []
        return metrics or None, typing.cast(list[Better], sides) or None


@dataclasses.dataclass
class PlanOptions(PlaceOptions, MeshOptions):
    """`fdl plan`."""

    seeds: int | None = None
    """seeds of every arm, instead of those in the file"""
    members: int | None = None
    """members in one program, instead of the measured choice"""
    topology: str | None = None
    """a slice of TPUs to compile for, as v5e:4x4; none need be there"""
    slices: int = 1
    """how many of them"""
    price: float | None = None
    """of an hour of a device (a chip), to compute what the sweep costs"""
    fit: Switch = False
    """search the largest batch, and the cheapest mesh and remat, that fit"""
    quick: Switch = False
    """compile several times as fast, with little optimisation: memory is that of such a program"""
    power: float | None = None
    """with --effect: say instead how many seeds the claim needs to be decided with this chance, as 0.8, by
    how much the runs in WORKDIR vary"""
    effect: float | None = None
    """a difference off what is claimed, in the metric's unit, as 0.01"""

    def checked_price(self) -> float | None:
        """The price; raises `ValueError` for one that is not a positive number."""
        if self.price is not None and not 0 < self.price < float("inf"):
            raise ValueError(f"--price is {self.price}; expected money for an hour of a chip, more than 0")
        return self.price

    def target(self) -> Target:
        """What `--topology` and the flags beside it ask for.

        Raises:
          ValueError: no such slice, or a price that is not a positive number.
        """
        assert self.topology is not None
        return Target(
            parse_slice(self.topology),
            self.slices,
            self.mesh,
            self.strategy,
            self.members,
            self.checked_price(),
            self.fit,
            self.quick,
        )


@dataclasses.dataclass
class ReportOptions(ResultOptions, Options):
    """`fdl report`."""

    seeds: int | None = None
    """seeds of every arm, instead of those in the file"""


OPTIONS = {
    "run": RunOptions,
    "sweep": SweepOptions,
    "search": SearchOptions,
    "plan": PlanOptions,
    "report": ReportOptions,
}
"""What each command takes besides the experiment's fields."""
