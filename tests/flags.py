"""What XLA is told in tests, where compiling is most of what is done."""

from importlib.metadata import version

OLD = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11)
# Without LLVM's optimisations and XLA's fusion emitters, which later versions cannot do without, compiling
# takes a third of the time (measured on models), and a compiled program two thirds of the memory. Each
# program as one module of LLVM's, not as up to 32 that are compiled side by side: a fifth less again
# (measured on training steps of tasks).
_OF_OLD = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
LEAST = "--xla_backend_optimization_level=0" + _OF_OLD * OLD
"""For programs that run once or twice. A test fails of what jaxlib then computes wrong, and needs `RIGHT`."""
RIGHT = {"xla_backend_optimization_level": 1}
"""The compiler's options for gradients of max pooling: without any of LLVM's optimisations jaxlib 0.10.1
computes them wrong, with NaN and infinity among them."""
USUAL = LEAST if OLD else "--xla_backend_optimization_level=1"
"""For tests; `.ci/run` also compiles some as users' programs are: XLA_FLAGS is empty."""
