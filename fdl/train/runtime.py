"""What a process needs once before its first compilation: cores as devices, and a compilation cache."""

import contextlib
import functools
import logging
import math
import os
import platform
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from etils import epath
from jax._src import compilation_cache
from jax._src.lib import utils  # pyright: ignore[reportPrivateImportUsage]
from jaxlib.version import __version__ as jaxlib_version

from fdl.parallel.kernels import CHECKED
from fdl.parallel.plan import MeshSizes, sizes_of
from fdl.serialization import digest
from fdl.storage import Folder, cache_folder, in_bucket, path_of, store
from fdl.train.programs_of_all import write_from_all

THREADS = 4
"""For each CPU device that waits for others."""
WRONG = ("0.10.2", "0.11.0", "0.11.1")
"""Versions of JAX that compute wrongly, crash or hang on CPUs (jax#39103, #39257, #40101), as
tests/train/test_sentinel.py shows; pyproject.toml excludes them, but not every installer asks it."""


def prepare(directory: Folder | None = None) -> None:
    """Makes every CPU core a device and turns JAX's compilation cache on, of work in a directory.

    Both are left alone where the user has set them, and the devices where JAX has begun already.

    Args:
      directory: where the work is kept, if it is; one in a bucket has its programs there too.

    Raises:
      ValueError: a version of JAX that computes wrongly, or an `FDL_CACHE` that is no place.
    """
    check_version(jax.__version__, jaxlib_version)
    _begin()
    _keep_programs(directory)


@functools.cache
def _begin() -> None:
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "1":  # JAX's own, imported before fdl, which says why 3
        utils.absl_set_min_log_level(3)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs what it also raises
    warnings.showwarning = functools.partial(_show, warnings.showwarning)
    write_from_all()
    forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if jax.config.values["jax_num_cpu_devices"] < 1 and not forced:
        try:
            jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
        except RuntimeError:  # the devices are in use; a plan then has those that there are
            return


@functools.cache
def _usual_programs() -> tuple[str, bool]:
    """Where programs are kept, but of work in buckets, as at the first call; whether the user said so."""
    given = jax.config.values["jax_compilation_cache_dir"]
    if not given:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return given or str(programs_folder()), bool(given)


def _keep_programs(directory: Folder | None) -> None:
    """Where JAX looks for compiled programs from now on."""
    wanted, by_user = _usual_programs()
    if not by_user and in_bucket(kept := programs_folder(directory)):
        wanted = str(kept)
        store(kept)  # before JAX opens it: what others write is to be seen
        # XLA's own cache, for GPUs, is written by a library that knows no buckets.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    if jax.config.values["jax_compilation_cache_dir"] != wanted:
        jax.config.update("jax_compilation_cache_dir", wanted)
        compilation_cache.reset_cache()  # JAX looks at the name only once


def _show(show: Callable[..., None], message: Warning | str, *where: Any) -> None:
    """Shows a warning, but JAX's of each program in the compilation cache that cannot be used only once."""
    if not re.match(r"Error (reading|writing) persistent compilation cache entry", str(message)):
        show(message, *where)
        return
    if (
        str(message).startswith("Error writing")
        and "std::bad_alloc" in str(message)
        and jaxlib_version.startswith(CHECKED)
    ):
        return  # `fdl.parallel.kernels`: jaxlib cannot write what calls oneDNN
    _say_unusable(jax.config.values["jax_compilation_cache_dir"], str(message).partition("': ")[2])


@functools.cache
def _say_unusable(cache: str, why: str) -> None:
    """Said once a cause; what in the cache is no program is removed, or it would be met again."""
    damaged = []
    with contextlib.suppress(Exception):  # of a bucket's libraries, where that is what is wrong
        damaged = [path for path in epath.Path(cache).glob("*-cache") if not _is_program(path)]
        for path in damaged:
            path.unlink()
    removed = f"; {len(damaged)} damaged files are removed" if damaged else ""
    print(f"programs in the cache {cache} cannot be used and are compiled ({why}){removed}", file=sys.stderr)


def _is_program(path: epath.Path) -> bool:
    try:
        return bool(compilation_cache.decompress_executable(path.read_bytes()))
    except Exception:  # of whichever library compresses
        return False


def check_version(jax_version: str, jaxlib_version: str) -> None:
    """Refuses the versions that are `WRONG`: what they print may be anything.

    Raises:
      ValueError: one of them.
    """
    versions = {"jax": jax_version, "jaxlib": jaxlib_version}
    found = [f"{name} {version}" for name, version in versions.items() if version in WRONG]
    if found:
        raise ValueError(
            f"{' and '.join(found)} computes wrong numbers or dies on CPUs; install another, as in "
            "`pip install jax==0.10.1 jaxlib==0.10.1` (Python 3.11) or `jax==0.12.0.1 jaxlib==0.12.0.1`"
        )


def plans_folder(directory: Folder | None) -> Folder:
    """Where the measured plans of work in a directory are kept."""
    return _kept(directory) / "plans"


def programs_folder(directory: Folder | None = None) -> Folder:
    """Where compiled programs are kept: one folder for a version of JAX and a processor.

    JAX's own key tells neither well: a program of another processor or jaxlib may end the process
    (jax#38445).
    """
    return _kept(directory) / "programs" / f"jax-{jax.__version__}-jaxlib-{jaxlib_version}-{digest(cpu())}"


def _kept(directory: Folder | None) -> Folder:
    """`$FDL_CACHE`; else, of a directory in a bucket, NAME.cache beside it, so that a machine that takes over
    compiles and measures nothing again; else the user's cache folder."""
    if given := os.environ.get("FDL_CACHE"):
        return path_of(given)
    if directory is not None and in_bucket(directory):
        return directory.with_name(f"{directory.name}.cache")
    return cache_folder()


def make_room(devices: int) -> None:
    """Gives CPU devices that wait for each other the threads that this takes, before JAX starts.

    A device that runs ahead waits in as many threads as it has sums to wait for; where none is left for the
    others they deadlock, and XLA ends the process after a minute (seen with jaxlib 0.10.2 at one thread
    a device). Other platforms need nothing.

    Args:
      devices: how many of this process run together.

    Raises:
      ValueError: JAX has started already, on CPUs, with fewer threads.
    """
    wanted, given = THREADS * devices, os.environ.get("NPROC", "")
    enough = given.isdecimal() and int(given) >= wanted
    if not enough and not _begun():
        os.environ["NPROC"] = str(wanted)
    elif not enough and jax.devices()[0].platform == "cpu":
        raise ValueError(
            f"{devices} CPU devices that wait for each other need {wanted} threads, or may deadlock; "
            f"give the command its --mesh, or start Python with NPROC={wanted} in its environment"
        )


def make_room_for(mesh: MeshSizes | None, strategy: str) -> None:
    """`make_room` for what a user asks for: a mesh, or all devices.

    Raises:
      ValueError: as `make_room`, or a size that is none.
    """
    every = {} if strategy == "jit" else {"data": jax.config.values["jax_num_cpu_devices"]}
    sizes = sizes_of(mesh or every)
    devices = math.prod(sizes.values())
    if devices > sizes.get("population", 1):
        make_room(devices)


def _begun() -> bool:
    """Whether JAX has made its devices, and with them its threads: their number cannot be changed then."""
    count = jax.config.values["jax_num_cpu_devices"]
    try:
        jax.config.update("jax_num_cpu_devices", count + 1)
    except RuntimeError:
        return True
    jax.config.update("jax_num_cpu_devices", count)
    return False


def cpu() -> tuple[str, str]:
    """The processor's model, and the instructions that it has: those of one model differ by what a
    virtual machine hands on."""
    model, features = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()]
        said = {name.strip(): value.strip() for name, _, value in reversed(lines)}  # the first processor's
        model = said.get("model name", model)
        features = said.get("flags", said.get("Features", ""))
    return model, features


def machine() -> str:
    """Names what decides how fast a program runs: devices, processor, library versions."""
    devices = jax.devices()
    versions = f"jax {jax.__version__}, jaxlib {jaxlib_version}"
    return f"{len(devices)} x {devices[0].device_kind}, {cpu()[0]}, {versions}"


def device_memory() -> int:
    """Bytes that programs may use on one device: a GPU's or TPU's own limit, or the host's memory
    that is free now, shared by its devices."""
    devices = jax.local_devices()
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return host_memory() // len(devices)


def host_memory() -> int:
    """Bytes of the host's memory that are free now; half of all of it where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
