"""Whose kernels compute a CPU's products and convolutions: XLA's, or oneDNN's, which jaxlib brings along; and
those of LAPACK, which may wait for themselves.

Which is faster depends on the model and the CPU, so a plan's choice is measured. The bits differ, so it is
stored with the run. A program that calls oneDNN is compiled at every start: jaxlib 0.12 cannot write it
into the cache of programs (`std::bad_alloc`).
"""

import functools
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxlib.version import __version__ as jaxlib_version

from fdl.parallel.plan import Kernels

CHECKED = ("0.12",)
"""The versions of jaxlib with whose oneDNN the tests against PyTorch pass."""
_OPTIONS: Mapping[Kernels, Mapping[str, bool]] = {
    "xla": {},
    "onednn": {"xla_cpu_use_onednn": True, "xla_cpu_experimental_onednn_custom_call": True},
}


def options_of(kernels: Kernels) -> dict[str, Any]:
    """What the compiler is told for a plan's kernels."""
    return dict(_OPTIONS[kernels])


@functools.cache
def has_onednn() -> bool:
    """Whether this jaxlib computes a convolution by oneDNN, rightly, when it is told to.

    Versions there are that know the option and do nothing, so the compiled program is looked at.
    """
    if jax.default_backend() != "cpu" or not jaxlib_version.startswith(CHECKED):
        return False
    image, filters = jnp.zeros((1, 32, 32, 16)), jnp.zeros((3, 3, 16, 16))
    convolve = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    try:
        compiled = jax.jit(convolve).lower(image, filters).compile(compiler_options=options_of("onednn"))
    except jax.errors.JaxRuntimeError:  # there is no such option
        return False
    return onednn_calls(compiled) > 0


def onednn_calls(compiled: jax.stages.Compiled) -> int:
    """How many kernels of oneDNN's a compiled program calls."""
    return (compiled.as_text() or "").count('custom_call_target="__onednn$')


_DECOMPOSED = re.compile(r"= \(?\w+\[(\d+),\d+,\d.* custom-call\(.*custom_call_target=\"lapack_")
_THREADS = 16


def warn_of_lapack(compiled: jax.stages.Compiled) -> None:
    """Warns where a program for CPUs decomposes or solves batches of matrices, and so may wait forever.

    jaxlib (seen with 0.10.1, two cores) hands the matrices of a batch to the threads in one of which it waits
    for them; where two batches at once, or two devices, take all threads, none is left for the matrices.
    OpenBLAS waits likewise for its own. With more threads for the first and one for the second the same
    programs end at once.
    """
    enough = os.environ.get("NPROC", "").isdecimal() and int(os.environ["NPROC"]) >= _THREADS
    if enough and os.environ.get("OPENBLAS_NUM_THREADS") == "1":
        return
    if any(int(found[1]) > 1 for found in _DECOMPOSED.finditer(compiled.as_text() or "")):
        warnings.warn(
            "the program decomposes batches of matrices, for which jaxlib may wait forever on a CPU; "
            f"if it stands still, set NPROC={_THREADS} OPENBLAS_NUM_THREADS=1 in the command's environment",
            stacklevel=2,
        )
