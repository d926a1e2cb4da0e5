"""Argument lists for Compute Engine, where a slice is a managed instance group of VMs. Untried on hardware.

By Google's pages on it (docs.cloud.google.com/compute/docs/tpus/create-tpu-mig-multi-host-slice and
.../tpu/docs/spot-compute, read on 2026-11-27) and SkyPilot's `mig_utils`: an instance template says what a VM
is, a workload policy how the chips of several VMs are joined, and the group makes all its VMs or none
("bulk"). Of the three only the VMs cost anything.
"""

from typing import NamedTuple

from tpu.gcloud import Place, Request, own_end, where
from tpu.slices import chips, hosts, topology

COMPUTE = ("gcloud", "compute")
GROUPS = (*COMPUTE, "instance-groups", "managed")
MACHINES = {"v5p": "ct5p-hightpu", "v6e": "ct6e-standard", "tpu7x": "tpu7x-standard"}
"""The machine types of the generations, to which `-4t` is added for 4 chips a VM."""
_UNTIL_V6E = "ubuntu-accel-2204-amd64-tpu-v5e-v5p-v6e"
IMAGES = {"v5p": _UNTIL_V6E, "v6e": _UNTIL_V6E, "tpu7x": "ubuntu-accel-2404-amd64-tpu-tpu7x"}
"""Families of images, those that SkyPilot takes; docs.cloud.google.com/tpu/docs/tpu-os-images lists all."""
IMAGE_PROJECT = "ubuntu-os-accelerator-images"
DISK = 100
"""GB of each VM's boot disk: the images' own 10 hold no environment with JAX."""
SAVING = 600
"""Seconds after `--lifetime` at which Compute Engine itself deletes the VMs; until then `run.sh` has done it,
once fdl had saved."""


class Machine(NamedTuple):
    """The VMs of a slice."""

    kind: str
    number: int
    topology: str


def machine(accelerator: str) -> Machine:
    """As `("ct6e-standard-4t", 4, "4x4")` for `v6e-16`; raises `ValueError` as `slices.topology`."""
    shape, count = topology(accelerator), hosts(accelerator)
    kind = f"{MACHINES[accelerator.partition('-')[0]]}-{chips(accelerator) // count}t"
    return Machine(kind, count, shape)


def checked_request(request: Request) -> Request:
    """A request that Compute Engine can grant; raises `ValueError` for others."""
    machine(request.accelerator)
    for flag, wrong, instead in (
        ("--slices", request.slices != 1, "each slice is a group of its own there; JAX would not join them"),
        ("--runtime-version", request.runtime is not None, "images there are by family"),
        ("--reserved", request.pricing == "reserved", "reservations have names there, which it cannot give"),
    ):
        if wrong:
            raise ValueError(f"{flag} is not for --api compute: {instead}; leave it out")
    return request


def create(place: Place, request: Request) -> list[list[str]]:
    """The commands that make a slice, in this order. The last one asks for its VMs."""
    vm, region, own = machine(request.accelerator), _region(place), _own(place)
    policy = [] if vm.number == 1 else [
        *COMPUTE, "resource-policies", "create", "workload-policy", own, "--type=HIGH_THROUGHPUT",
        f"--accelerator-topology={vm.topology}", *_there(place), "--quiet",
    ]  # fmt: skip
    generation = request.accelerator.partition("-")[0]
    template = [
        *COMPUTE, "instance-templates", "create", own,
        f"--instance-template-region={region}", f"--machine-type={vm.kind}",
        f"--image-family={IMAGES[generation]}", f"--image-project={IMAGE_PROJECT}",
        f"--boot-disk-size={DISK}GB", "--scopes=cloud-platform", "--maintenance-policy=TERMINATE",
        f"--provisioning-model={'SPOT' if request.pricing == 'spot' else 'STANDARD'}",
        f"--max-run-duration={request.lifetime + SAVING}s", "--instance-termination-action=DELETE",
        *own_end(place, request), f"--project={place.project}", "--quiet",
    ]  # fmt: skip
    resources = f"projects/{place.project}/regions/{region}"
    joined = [] if vm.number == 1 else [f"--workload-policy={resources}/resourcePolicies/{own}"]
    group = [
        *GROUPS, "create", place.name, f"--template={resources}/instanceTemplates/{own}",
        f"--size={vm.number}", *joined, "--target-size-policy-mode=bulk",
        # A slice that has lost a VM is made again as a whole, by the launcher.
        "--default-action-on-vm-failure=do-nothing",
        f"--description={request.accelerator}", *where(place), "--quiet",
    ]  # fmt: skip
    return [words for words in (policy, template, group) if words]


def delete(place: Place) -> list[str]:
    """Deletes the group with its VMs."""
    return [*GROUPS, "delete", place.name, *where(place), "--quiet"]


def tidy(place: Place) -> list[list[str]]:
    """The commands that delete what a group leaves, and that costs nothing. It must be gone."""
    own = _own(place)
    return [
        [*COMPUTE, "instance-templates", "delete", own, *_there(place), "--quiet"],
        [*COMPUTE, "resource-policies", "delete", own, *_there(place), "--quiet"],
    ]


def describe(place: Place) -> list[str]:
    """The group, as JSON."""
    return [*GROUPS, "describe", place.name, *where(place), "--format=json"]


def list_vms(place: Place) -> list[str]:
    """The group's VMs with what is being done to them, as JSON."""
    return [*GROUPS, "list-instances", place.name, *where(place), "--format=json"]


def list_all(zone: str, project: str | None) -> list[str]:
    """All VMs of a zone that have TPUs, whoever made them, as JSON."""
    kinds = "|".join(MACHINES.values())
    return [
        *COMPUTE, "instances", "list", f"--filter=zone:{zone} AND machineType~/({kinds})-",
        *([f"--project={project}"] if project else []), "--format=json",
    ]  # fmt: skip


def _own(place: Place) -> str:
    """What belongs to one zone's slice but lies in its region, where other zones' have the same name."""
    return f"{place.name}-{place.zone.rpartition('-')[2]}"


def _region(place: Place) -> str:
    return place.zone.rpartition("-")[0]


def _there(place: Place) -> list[str]:
    return [f"--region={_region(place)}", f"--project={place.project}"]
