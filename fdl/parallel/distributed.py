"""Several processes that run one program: how they find each other, and agree.

All of it goes through the coordination service of `jax.distributed`, which process 0 hosts: what process 0
decides is a line of JSON there, so that the devices need not be asked.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax._src import clusters, distributed

PORT = 8476
"""Where process 0 listens; later versions of jax take one that Google Cloud's firewall blocks (jax#35905)."""
HEARTBEAT_SECONDS = 10
"""After so long without a sign of life a process counts as dead, and the others end."""
JOINING_SECONDS = 300
"""How long the processes wait for each other at the start."""
MIN_THREADS = 32
"""How many threads jaxlib has at least on CPUs; so many devices of a process may wait for others at once."""
SWEEP_UP = 1000
"""After so many agreements the old ones are deleted."""
_DAY = 86_400_000  # in milliseconds, as the service counts
_NUMBERS = itertools.count()  # of the agreements; as the processes' own numbers, one of each program


class Seat(NamedTuple):
    """A process among several: where process 0 listens, which process this is, of how many."""

    coordinator: str
    process_id: int
    processes: int


def seat_of(coordinator: str | None, process_id: int | None, processes: int | None) -> Seat | None:
    """What the flags say, or None where they say nothing.

    Raises:
      ValueError: some of the three are missing, or a number is out of range.
    """
    given = {"--coordinator": coordinator, "--process-id": process_id, "--processes": processes}
    missing = [flag for flag, value in given.items() if value is None]
    if coordinator is None or process_id is None or processes is None:
        if len(missing) == len(given):
            return None
        raise ValueError(
            f"{' and '.join(missing)} missing; several processes need all of "
            "--coordinator HOST:PORT --process-id I --processes N"
        )
    if processes < 1:
        raise ValueError(f"--processes is {processes}; expected 1 or more")
    if not 0 <= process_id < processes:
        raise ValueError(f"--process-id is {process_id}; expected 0 to {processes - 1}, a number each")
    host, colon, port = coordinator.rpartition(":")
    if not colon or coordinator.endswith("]"):  # a bare name or a bare [IPv6]
        host, port = coordinator, os.environ.get("JAX_COORDINATOR_PORT", str(PORT))
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--coordinator is {coordinator!r}; expected HOST:PORT, as 10.0.0.2:{PORT}")
    return Seat(f"{host}:{port}", process_id, processes)


def surroundings() -> str | None:
    """The cluster that jax finds itself in (`"gcetpu"`, `"slurm"`, ...), if of several processes.

    Elsewhere than on a TPU that is only a look at environment variables. Of Kubernetes jax asks much, in
    every pod, and may fail: there it takes the flags, but for TPUs.
    """
    for cluster in clusters.ClusterEnv._cluster_types:
        if cluster.name and not cluster.opt_in_only_method and cluster.is_env_present():
            return cluster.name if cluster.get_process_count() > 1 else None
    return None


def join(seat: Seat | None) -> bool:
    """Makes this process one of several, before any device is used; whether there are others.

    Args:
      seat: which of the processes this is, as `seat_of` gives it. If None, the surroundings say (Cloud TPU,
        Slurm, Open MPI), or the process stays alone. Where `jax.distributed` has begun already, as in
        workers of Ray's `JaxTrainer`, that stands.

    Raises:
      OSError: the others cannot be reached.
    """
    if distributed.global_state.client is not None:
        return several()
    cluster = None if seat else surroundings()
    if not cluster and (seat is None or seat.processes == 1):
        return False
    if cluster and "tpu" in cluster:
        os.environ.setdefault("JAX_COORDINATOR_PORT", str(PORT))
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # A thread that waits for another process is lost to jaxlib's pool, which has as many as there are cores:
    # with two cores and two devices a process was seen to deadlock.
    os.environ.setdefault("NPROC", str(max(MIN_THREADS, 2 * (os.cpu_count() or 1))))
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM for itself
    try:
        jax.distributed.initialize(
            coordinator_address=seat and seat.coordinator,
            num_processes=seat and seat.processes,
            process_id=None if seat is None else seat.process_id,
            cluster_detection_method="deactivate" if seat else cluster,
            initialization_timeout=JOINING_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except jax.errors.JaxRuntimeError as error:
        where = distributed.global_state.coordinator_address
        raise OSError(f"the processes did not find each other at {where}: {error}") from error
    return True


def processes() -> int:
    """How many processes run the program."""
    return distributed.global_state.num_processes if distributed.global_state.client is not None else 1


def several() -> bool:
    """Whether other processes run the same program."""
    return processes() > 1


def is_first() -> bool:
    """Whether this is the process that writes logs and reports: the only one, or process 0."""
    return process_id() == 0


def process_id() -> int:
    """This process's number; `jax.process_index()` would ask the devices, and so wait for the others."""
    return distributed.global_state.process_id


def coordinator() -> str:
    """Where process 0 listens, as `10.0.0.2:8476`; of several processes alone."""
    return distributed.global_state.coordinator_address or ""


def broadcast_from_first(make: Callable[[], Any]) -> Any:
    """What process 0 makes of it, on every process; JSON-able data. All processes must ask.

    The others wait until process 0 has come that far, so what it does in `make` is done when they go on.
    """
    if not several():
        return make()
    number = next(_NUMBERS)
    key = f"fdl/broadcast_from_first/{number}"
    if is_first():
        text = json.dumps(make())
        client().key_value_set(key, text)
    else:
        text = waited_for(key)
    if number % SWEEP_UP == SWEEP_UP - 1:
        client().wait_at_barrier(f"fdl/read/{number}", _DAY)
        if is_first():
            client().key_value_delete("fdl/broadcast_from_first/")
    return json.loads(text)


def from_all(mine: Any) -> list[Any]:
    """What every process brings, by their numbers, on every process; JSON-able data. All must ask."""
    if not several():
        return [json.loads(json.dumps(mine))]
    key = f"fdl/from_all/{next(_NUMBERS)}"
    client().key_value_set(f"{key}/{process_id()}", json.dumps(mine))
    return broadcast_from_first(
        lambda: [json.loads(waited_for(f"{key}/{number}")) for number in range(processes())]
    )


def heard(asked: bool) -> list[int]:
    """The processes that were asked to stop so far, as process 0 knows them; of the others, what they say."""
    if several() and is_first():
        others = [int(key.rpartition("/")[2]) for key, _ in client().key_value_dir_get("fdl/asked/")]
        return [*([0] if asked else []), *others]
    if several() and asked:
        client().key_value_set(f"fdl/asked/{process_id()}", "", allow_overwrite=True)
    return [process_id()] if asked else []


def waited_for(key: str) -> str:
    """The text under a key of the coordination service, once some process has put it there."""
    while True:
        with contextlib.suppress(TimeoutError):
            return _within_a_second(key)


def client() -> Any:
    """The coordination service as jax speaks with it; jax has no public name for it."""
    return distributed.global_state.client


def _within_a_second(key: str) -> str:
    """In between, Python handles signals."""
    try:
        return client().blocking_key_value_get(key, 1000)
    except jax.errors.JaxRuntimeError as error:
        if "DEADLINE_EXCEEDED" in str(error):
            raise TimeoutError from None
        raise
