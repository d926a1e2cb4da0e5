"""Compiled programs that the compilation cache takes from every process.

JAX (0.10.1 and 0.12.0) lets process 0 alone write them, as if all had the same keys. They have not: the key
of a program for devices of one process has their numbers (but on GPUs), and on CPUs every key has a topology
that differs from process to process. So a process other than the first would find nothing there of its own.
`jax_share_binary_between_hosts` is no help: it waits for the first to send what has the same key.
"""

import functools
import types
from typing import Any

from jax._src import compiler

from fdl.parallel.distributed import is_first


@functools.cache
def write_from_all() -> None:
    """From now on each process writes the programs whose keys are its own; the others, the first alone."""
    wrapped = getattr(compiler, "_compile_and_write_cache", None)
    write = getattr(compiler, "_cache_write", None)
    if wrapped is None or write is None:  # another version of JAX: its cache is as it is
        return
    first = types.SimpleNamespace(global_state=types.SimpleNamespace(process_id=0))
    write = _with(write, distributed=first)
    written = _with(wrapped, _cache_write=write)

    def compile_and_write(backend: Any, computation: Any, devices: Any, *more: Any) -> Any:
        own = backend.platform == "cpu" or (backend.platform == "tpu" and devices.is_fully_addressable)
        return (written if own and not is_first() else wrapped)(backend, computation, devices, *more)

    compiler._compile_and_write_cache = compile_and_write


def _with(function: types.FunctionType, **other: Any) -> types.FunctionType:
    """The same function, but for some of the names that it finds in its module."""
    return types.FunctionType(
        function.__code__, {**function.__globals__, **other}, function.__name__, function.__defaults__
    )
