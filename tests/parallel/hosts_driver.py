"""Runs fdl's command line in several processes at once, and harms one of them; a scenario a line.

    python -m tests.parallel.hosts_driver < scenarios > outcomes

A scenario and its outcome are lines of JSON: see `Scenario` and `Ended`. Everything is imported once, but no
device is used here, so that every child that is forked is a process of its own.
"""

import atexit
import dataclasses
import faulthandler
import glob
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from fdl import report
from fdl.cli import commands, main
from fdl.parallel import arrangement, distributed
from fdl.parallel.plan import Plan
from fdl.train import Progress, autotune
from tests.doctor.planted import plant

DEADLINE = 100.0
MOST_BYTES = 5000
"""To which files may grow where the disk is full: enough for what is printed, too little for an array."""


@dataclasses.dataclass
class Scenario:
    """What runs: `words` of the command line by `processes` with `devices` each.

    `plan` is forced where it is given. `harm` befalls the process `victim` once a member has done `step`
    steps: "kill", "stop" (SIGTERM), "raise", "freeze" (SIGSTOP), "full" (as on a full disk, its files may
    not grow any more), or "alone" (its input is bad from the start); "blackout" kills all processes then.
    `surroundings` stands for the flags: "slurm", or "ray", whose workers begin `jax.distributed` and then
    call the training function in a thread. `planted` is what is wrong with the machine of the `victim`, see
    `tests.doctor.planted`. The processes pretend to be on as many machines as `nodes` says, the first ones
    on the first; they are on one where it is 0. The harm waits until there are as many files of each pattern
    as `awaits` says.
    """

    words: list[str]
    folder: str
    processes: int = 1
    devices: int = 1
    plan: dict[str, Any] | None = None
    harm: str = ""
    victim: int = 0
    step: int = 0
    report: bool = False
    surroundings: str = ""
    reads: str = ""
    planted: str = ""
    nodes: int = 0
    awaits: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Ended:
    """How each process ended: exit codes, what it printed, and the seconds from the harm to the last end."""

    codes: list[int]
    out: list[str]
    errors: list[str]
    seconds: float


def run(scenario: Scenario) -> Ended:
    """Plays a scenario to its end."""
    folder = Path(scenario.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [start(scenario, number, port, folder) for number in range(scenario.processes)]
    codes: dict[int, int] = {}
    began = time.monotonic()
    while len(codes) < len(children):
        waiting = [child for child in children if child not in codes]
        for child in waiting:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
        late = time.monotonic() - began > DEADLINE
        frozen = scenario.harm == "freeze" and len(codes) == len(children) - 1
        dark = scenario.harm == "blackout" and harmed(folder)
        if late or frozen or dark:
            for child in set(children) - set(codes):
                os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    mark = folder / "harmed"
    seconds = time.time() - float(mark.read_text()) if mark.exists() else float("nan")
    mark.unlink(missing_ok=True)
    out, errors = (
        [(folder / f"{kind}.{n}").read_text() for n in range(len(children))] for kind in ("out", "err")
    )
    return Ended([codes[child] for child in children], out, errors, seconds)


def start(scenario: Scenario, number: int, port: int, folder: Path) -> int:
    """Forks one process of a scenario; its id."""
    child = os.fork()
    if child:
        return child
    for descriptor, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{kind}.{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    faulthandler.dump_traceback_later(DEADLINE - 5)
    code = 1
    try:
        jax.config.update("jax_num_cpu_devices", scenario.devices)
        prepare(scenario, number)
        words = [*scenario.words, *flags(scenario, number, port)]
        code = in_a_thread(words) if scenario.surroundings == "ray" else main(words)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


def flags(scenario: Scenario, number: int, port: int) -> list[str]:
    """The flags that make a process one of several, or nothing where its surroundings say it."""
    if scenario.processes == 1:
        return []
    if scenario.surroundings == "slurm":
        os.environ |= {
            "SLURM_JOB_ID": "7",
            "SLURM_STEP_NODELIST": "127.0.0.1",
            "SLURM_NTASKS": str(scenario.processes),
            "SLURM_PROCID": str(number),
            "SLURM_LOCALID": "0",
            "JAX_COORDINATOR_PORT": str(port),
        }
        return []
    if scenario.surroundings == "ray":
        jax.distributed.initialize(f"127.0.0.1:{port}", scenario.processes, number)
        return []
    of = ["--coordinator", f"127.0.0.1:{port}", "--process-id", str(number)]
    return [*of, "--processes", str(scenario.processes)]


def in_a_thread(words: list[str]) -> int:
    """What the command line returns where it is not called from the main thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(main, words).result()


def prepare(scenario: Scenario, number: int) -> None:
    """Forces the plan, and lays the harm."""
    if scenario.plan:
        plan = Plan(**scenario.plan)
        autotune.unmeasured = lambda *_, **__: plan
        autotune.candidates = lambda *_, **__: [plan]
    if not scenario.report:
        report.write = lambda *_, **__: None
    if scenario.planted:
        plant(scenario.planted, mine=number == scenario.victim)
    if scenario.reads:
        os.environ["READS"] = f"{scenario.reads}.{number}"
    if scenario.nodes:
        each = scenario.processes // scenario.nodes
        arrangement.slice_of = lambda device: device.process_index // each
    if not scenario.harm:  # a busy machine may hold its breath
        distributed.HEARTBEAT_SECONDS = 100
    mine = scenario.harm if number == scenario.victim else ""
    if mine == "alone":
        scenario.words = [*scenario.words, "--lr", "wrong"]
        mark(scenario)

    @contextmanager
    def shown(_: Any) -> Iterator[tuple[Progress, Callable[[Any], None]]]:
        def step(done: int, total: int, live: int) -> None:
            del total, live
            if mine and done >= scenario.step:
                harm(scenario)

        say = lambda line: print(line, file=sys.stderr) if number == 0 else None  # noqa: E731
        yield Progress(say, step), lambda _: None

    commands.shown = shown


def harmed(folder: Path) -> bool:
    """Whether the harm was done, and when is noted."""
    mark = folder / "harmed"
    return mark.exists() and mark.stat().st_size > 0


def mark(scenario: Scenario) -> None:
    """Notes when the harm was done."""
    path = Path(scenario.folder, "harmed")
    if not path.exists():
        path.write_text(str(time.time()))


def harm(scenario: Scenario) -> None:
    """Does it, to this process, once."""
    if Path(scenario.folder, "harmed").exists():
        return
    while any(len(glob.glob(pattern)) < count for pattern, count in scenario.awaits.items()):
        time.sleep(0.02)
    mark(scenario)
    if scenario.harm == "raise":
        raise RuntimeError("the cat sat on the keyboard")
    if scenario.harm == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
        return
    numbers = {"kill": signal.SIGKILL, "stop": signal.SIGTERM, "freeze": signal.SIGSTOP}
    numbers["blackout"] = signal.SIGSTOP  # until the parent kills all
    os.kill(os.getpid(), numbers[scenario.harm])


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(dataclasses.asdict(run(Scenario(**json.loads(line))))), flush=True)
