"""The devices of TPU slices that are not there, to compile for."""

import importlib.util
import math
import os
from typing import Any

import jax
from jax.sharding import Mesh

from fdl.aot.chips import HOST, Slice
from fdl.parallel.plan import Plan, arranged_mesh

QUIET = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # else a second process at the same time is refused
    "TPU_SKIP_MDS_QUERY": "1",  # else it asks a server that only Cloud machines have
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",  # without a machine to describe, any will do
    "TPU_WORKER_HOSTNAMES": "localhost",
}
"""What libtpu reads from the environment when it is loaded, where nothing else is set."""


def check_compiler() -> None:
    """Raises `ValueError` where libtpu is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        raise ValueError("compiling for TPUs needs the extra 'tpu': pip install fdl[tpu]")


def load_compiler() -> None:
    """Readies libtpu; to be called before JAX uses any device.

    Raises:
      ValueError: it is not installed.
    """
    check_compiler()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def check_slices(part: Slice, slices: int) -> None:
    """Raises `ValueError` for a number of slices that no program can span."""
    if slices > 1 and part.chip.network is None:
        raise ValueError(f"--slices is {slices}; expected 1: no program spans slices of {part.chip.name}")
    if slices < 1:
        raise ValueError(f"--slices is {slices}; expected 1 or more")


def devices_of(part: Slice, *, slices: int = 1) -> list[Any]:
    """The devices of one or several equal slices; programs can be compiled for them but not run.

    A chip is one device, but two of v2, v3 and tpu7x.

    Args:
      part: as `parse_slice("v5e:4x4")`.
      slices: how many, linked by the data-centre network.

    Raises:
      ValueError: libtpu is missing, or it refuses the slice.
    """
    check_slices(part, slices)
    load_compiler()
    from jax.experimental import topologies

    options: dict[str, Any] = {} if slices == 1 else {"num_slices": slices}
    if part.chip.name == "v4":
        options["chip_config_name"] = "megacore"  # both cores of a chip as one device, as it is used
    if part.chips < math.prod(HOST):
        options["chips_per_host_bounds"] = (*part.shape, 1)[: len(HOST)]
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=str(part), **options).devices
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        raise ValueError(f"the compiler refuses {part}: {str(error).splitlines()[0]}") from None


def absent_mesh(plan: Plan, part: Slice, *, slices: int = 1) -> Mesh:
    """The mesh of a plan on slices that are not there, to compile for: as `mesh_of` lays out those that are.

    Raises:
      ValueError: libtpu is missing, it refuses the slice, or the plan does not take all its devices.
    """
    return arranged_mesh(plan, devices_of(part, slices=slices))
