"""Argument lists for `gcloud`: pure functions of what the user wants. No word here ever meets a shell,
except the command of `ssh`, which is quoted."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tpu.slices import MOST_SLICES, RUNTIMES, hosts

TPUS = ("gcloud", "compute", "tpus")
SSH_OPTIONS = ("ConnectTimeout=10", "ServerAliveInterval=15", "ServerAliveCountMax=4", "BatchMode=yes")
"""A worker that is gone is noticed within a minute, and nothing ever waits for a password."""

SCRIPT = Path(__file__).with_name("run.sh")
"""What runs on the workers, and what starts with them."""


class Place(NamedTuple):
    """Which slice, or slices that were asked for together: the name, and where they are."""

    name: str
    zone: str
    project: str | None = None
    slices: int = 1
    hosts: int = 1
    """workers of each of several slices; they are numbered through, as JAX numbers its processes"""
    compute: bool = False
    """whether it is a managed instance group of Compute Engine, see `tpu.compute`"""
    vms: tuple[str, ...] = ()
    """the names of such a group's VMs, once there are any"""


class Request(NamedTuple):
    """What to ask for."""

    accelerator: str
    pricing: str = "on-demand"
    runtime: str | None = None
    queue: int = 86400
    """seconds that it may wait for capacity: Google Cloud refuses it then"""
    lifetime: int = 43200
    """seconds after which the slice deletes itself"""
    slices: int = 1

    def text(self) -> str:
        """For people."""
        return self.accelerator if self.slices == 1 else f"{self.slices} slices of {self.accelerator}"


def checked_places(name: str, zones: str, project: str | None, *, compute: bool = False) -> list[Place]:
    """A place for each of the zones `A,B`; raises `ValueError` for names that Google Cloud cannot accept."""
    places = [_checked_place(name, zone, project)._replace(compute=compute) for zone in zones.split(",")]
    if len(set(places)) < len(places):
        raise ValueError(f"--zone is {zones!r}; expected each zone once")
    if compute and project is None:
        raise ValueError("--api compute needs --project: its commands name what they use by full addresses")
    return places


def _checked_place(name: str, zone: str, project: str | None) -> Place:
    patterns = (
        ("NAME", name, r"[a-z]([a-z0-9-]{0,48}[a-z0-9])?", "small letters, digits and hyphens, as sweep-1"),
        (
            "--zone",
            zone,
            r"[a-z]+-[a-z]+\d+-[a-z0-9]+",
            "a zone, as us-east5-b, or several, as us-east5-b,us-central1-b",
        ),
        ("--project", project, r"[a-z][a-z0-9.:-]*[a-z0-9]", "a project's id, as my-project-1"),
    )
    for flag, value, pattern, expected in patterns:
        if value is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"{flag} is {value!r}; expected {expected}")
    return Place(name, zone, project)


def checked_request(request: Request) -> Request:
    """A request that the Cloud TPU API can grant; raises `ValueError` for others."""
    hosts(request.accelerator)
    if request.accelerator.partition("-")[0] not in RUNTIMES:
        raise ValueError(
            f"{request.accelerator} is only to be had with --api compute, or through GKE (manifest); "
            "see tpu/COMPUTE.md"
        )
    if request.runtime is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", request.runtime):
        raise ValueError(f"--runtime-version is {request.runtime!r}; expected a name as v2-alpha-tpuv6e")
    if not 1 <= request.slices <= MOST_SLICES:
        raise ValueError(f"--slices is {request.slices}; expected 1 to {MOST_SLICES}")
    return request


def create(place: Place, request: Request) -> list[str]:
    """Queues a request for a slice, whose node has its name; or for several, called NAME-0, NAME-1, ..."""
    runtime = request.runtime or RUNTIMES[request.accelerator.partition("-")[0]]
    return [
        *TPUS, "queued-resources", "create", place.name,
        *(
            [f"--node-id={place.name}"]
            if request.slices == 1
            else [f"--node-count={request.slices}", f"--node-prefix={place.name}"]
        ),
        f"--accelerator-type={request.accelerator}",
        f"--runtime-version={runtime}",
        *([] if request.pricing == "on-demand" else [f"--{request.pricing}"]),
        f"--valid-until-duration={request.queue}s",
        *own_end(place, request),  # this API ends only requests that wait
        "--async", *where(place), "--quiet",
    ]  # fmt: skip


def own_end(place: Place, request: Request) -> list[str]:
    """The flags by which the slice's VMs know what they are, and end it by themselves."""
    about = {"fdl-name": place.name, "fdl-zone": place.zone, "fdl-lifetime": request.lifetime}
    about |= {"fdl-project": place.project} if place.project else {}
    about |= {"fdl-api": "compute"} if place.compute else {}
    return [
        f"--metadata={','.join(f'{key}={value}' for key, value in about.items())}",
        f"--metadata-from-file={'^|^' if ',' in str(SCRIPT) else ''}startup-script={SCRIPT}",
    ]


def describe_queued(place: Place) -> list[str]:
    """The state of the request, as JSON."""
    return [*TPUS, "queued-resources", "describe", place.name, *where(place), "--format=json"]


def describe_node(place: Place, number: int = 0) -> list[str]:
    """The state of a slice's VMs, as JSON."""
    return [*TPUS, "tpu-vm", "describe", _node(place, number), *where(place), "--format=json"]


def list_queued(zone: str, project: str | None) -> list[str]:
    """All requests of a zone, as JSON."""
    return [*TPUS, "queued-resources", "list", *where(Place("", zone, project)), "--format=json"]


def list_nodes(zone: str, project: str | None) -> list[str]:
    """All slices of a zone, whoever made them, as JSON."""
    return [*TPUS, "tpu-vm", "list", *where(Place("", zone, project)), "--format=json"]


def delete(place: Place) -> list[str]:
    """Deletes the request and its VMs."""
    return [
        *TPUS, "queued-resources", "delete", place.name, "--force", "--async", *where(place), "--quiet",
    ]  # fmt: skip


def scp(place: Place, worker: int, *, files: Sequence[str], to: str = "") -> list[str]:
    """Copies local files to `to` in a worker's home directory."""
    options = [f"--scp-flag=-o{option}" for option in SSH_OPTIONS]
    service, vm, inside = _worker(place, worker)
    return [*service, "scp", *files, f"{vm}:{to}", *inside, *options, *where(place), "--quiet"]


def ssh(place: Place, worker: int, *, words: Sequence[str]) -> list[str]:
    """Runs a command on one worker. Its words arrive as they are, whatever is in them."""
    options = [f"--ssh-flag=-o{option}" for option in SSH_OPTIONS]
    service, vm, inside = _worker(place, worker)
    command = f"--command={shlex.join(words)}"
    return [*service, "ssh", vm, *inside, command, *options, *where(place), "--quiet"]


def _worker(place: Place, worker: int) -> tuple[tuple[str, ...], str, list[str]]:
    """By which commands a worker is reached, the name to reach it by, and its number there."""
    if place.compute:
        return TPUS[:2], place.vms[worker], []
    number, inside = divmod(worker, place.hosts) if place.slices > 1 else (0, worker)
    return (*TPUS, "tpu-vm"), _node(place, number), [f"--worker={inside}"]


def _node(place: Place, number: int) -> str:
    return place.name if place.slices == 1 else f"{place.name}-{number}"


def where(place: Place) -> list[str]:
    """The flags that say where a slice is."""
    return [f"--zone={place.zone}", *([f"--project={place.project}"] if place.project else [])]
