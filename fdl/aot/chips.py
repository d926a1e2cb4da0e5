"""The TPU generations: what a chip of each can do, and how slices of them are called.

The numbers are those of Google Cloud's documentation, pages "TPU v3" to "TPU7x (Ironwood)" as of 2026;
its links are given for both ways, here for one. Memory is what a chip has; the page of v5p lists 1 GiB
less. What those pages do not state comes from elsewhere and is less certain:

- v2, and the links of v3: Jouppi et al. 2020, A Domain-Specific Supercomputer for Training Deep Neural
  Networks (four links of 496 and 656 Gbit/s each way). Cloud's own figure for v2 was 45 TFLOP/s.
- links of v4: Jouppi et al. 2023, TPU v4: An Optically Reconfigurable Supercomputer (six of 50 GB/s).
- data-centre network of v4: Austin et al. 2025, How to Scale Your Model, part 2.

`achieved` is that of the smallest dense model of MaxText's tables, on one slice: 22B on 64 chips of v4,
16B on 256 of v5e, 32B on 64 of v5p (its READMEs in MaxText/configs, 2025), Llama 3.1 8B on 256 of v6e (its
page "Optimized models tiering", version 0.2.2, 2026). Of the others none was found.

`memory_free` is what the compiler itself grants a program, as libtpu 0.0.42 says when it refuses one
that is too large; on v2 and v3 that is one core's half of the chip, on tpu7x too.
"""

import math
import re
from typing import NamedTuple

GIB = 2**30  # bytes


class Chip(NamedTuple):
    """One TPU generation; numbers are of one chip.

    Attributes:
      name: as the compiler calls it in the name of a topology.
      flops: peak of bf16 matrix products, FLOP/s.
      memory: HBM, bytes.
      bandwidth: of the HBM, bytes/s.
      links: what a chip sends over all its links within a slice together, one way, bytes/s.
      network: what it sends over the data-centre network between slices, bytes/s; None where programs
        cannot span slices.
      devices: how many devices JAX sees.
      memory_free: bytes of HBM that the compiler grants a program on one device.
      axes: how many sizes a slice's shape has.
      pod: chips in the largest slice.
      achieved: the share of the peak that a well-tuned training reached, 0 to 1; None where none is known.
    """

    name: str
    flops: float
    memory: float
    bandwidth: float
    links: float
    network: float | None
    devices: int
    memory_free: float
    axes: int
    pod: int
    achieved: float | None


CHIPS = (
    Chip("v2", 46e12, 16 * GIB, 700e9, 248e9, None, 2, 7.48 * GIB, 2, 512, None),
    Chip("v3", 123e12, 32 * GIB, 900e9, 328e9, None, 2, 15.48 * GIB, 2, 1024, None),
    Chip("v4", 275e12, 32 * GIB, 1200e9, 300e9, 6.25e9, 1, 30.75 * GIB, 3, 4096, 0.567),
    Chip("v5e", 197e12, 16 * GIB, 819e9, 200e9, 3.125e9, 1, 15.75 * GIB, 2, 256, 0.611),
    Chip("v5p", 459e12, 96 * GIB, 2765e9, 600e9, 6.25e9, 1, 95.74 * GIB, 3, 8960, 0.715),
    Chip("v6e", 918e12, 32 * GIB, 1638e9, 400e9, 12.5e9, 1, 31.25 * GIB, 2, 256, 0.455),
    Chip("tpu7x", 2307e12, 192 * GIB, 7380e9, 600e9, 12.5e9, 2, 94.75 * GIB, 3, 9216, None),
)
"""Every generation that the compiler knows and Google Cloud offers or offered."""
HOST = (2, 2, 1)
"""The chips of one host, in every generation's slices of more than one host."""
OTHER_NAMES = {
    "v5litepod": "v5e",
    "v5lite": "v5e",
    "v6lite": "v6e",
    "v7x": "tpu7x",
    "v7": "tpu7x",
    "v5": "v5p",
}
KINDS = {
    "TPU v2": "v2",
    "TPU v3": "v3",
    "TPU v4": "v4",
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
    "TPU7": "tpu7x",
    "TPU7x": "tpu7x",
}
"""How JAX calls a device of each generation, by `jax/_src/tpu_info.py`."""
CORES = ("v2", "v3", "v4", "v5p", "tpu7x")
"""Where the number in an accelerator type, as `v4-32`, is of cores, two a chip; else it is of chips."""


class Slice(NamedTuple):
    """Chips that are linked to one another, as `v5e:4x4`.

    Attributes:
      chip: its generation.
      shape: chips along each axis.
    """

    chip: Chip
    shape: tuple[int, ...]

    @property
    def chips(self) -> int:
        """How many chips it has."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.chip.name}:{'x'.join(map(str, self.shape))}"


def chip_of(kind: str) -> Chip | None:
    """The generation of a device, by what JAX calls its kind; None for what is no TPU that is known here."""
    return next((chip for chip in CHIPS if chip.name == KINDS.get(kind)), None)


def parse_slice(text: str) -> Slice:
    """The slice of a name, as `v5e:4x4` or `v4:2x2x4`.

    Raises:
      ValueError: there is no such chip or shape; the message has valid names, and the right spelling
        of an accelerator type as `v5litepod-16`.
    """
    name, colon, sizes = text.strip().lower().partition(":")
    if not colon:
        raise ValueError(_no_slice(text))
    chip = next((chip for chip in CHIPS if chip.name == name), None)
    if chip is None:
        meant = OTHER_NAMES.get(name)
        hint = f"did you mean {meant}:{sizes}?" if meant else "expected one of " + _names()
        raise ValueError(f"there is no TPU {name!r} in --topology {text}; {hint}")
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", sizes) or sizes.count("x") + 1 != chip.axes:
        example = Slice(chip, usual_shape(chip, 16))
        raise ValueError(
            f"--topology {text}: a slice of {chip.name} has {chip.axes} sizes, as {example}; got {sizes!r}"
        )
    found = Slice(chip, tuple(int(size) for size in sizes.split("x")))
    if found.chips > chip.pod:
        raise ValueError(
            f"--topology {text} has {found.chips} chips; the largest slice of {chip.name} has {chip.pod}"
        )
    if found.chips > 2 and any(size % host for size, host in zip(found.shape, HOST, strict=False)):
        raise ValueError(f"--topology {text}: hosts have 2x2 chips, so the first two sizes must be even")
    return found


def usual_shape(chip: Chip, chips: int) -> tuple[int, ...]:
    """The shape in which Google Cloud gives out slices of a power of two of chips, as near as possible
    to a square or cube, the smaller sizes first; of four in three dimensions, 2x2x1."""
    if chip.axes == 3 and chips == 4:
        return HOST
    shape = [1] * chip.axes
    while math.prod(shape) * 2 <= chips:
        smallest = max(axis for axis in range(chip.axes) if shape[axis] == min(shape))
        shape[smallest] *= 2
    return tuple(sorted(shape))


def _no_slice(text: str) -> str:
    """What to say of a name without a shape, which may be an accelerator type as `v4-32`."""
    kind, _, number = text.strip().lower().partition("-")
    kind = OTHER_NAMES.get(kind, kind)
    chip = next((chip for chip in CHIPS if chip.name == kind), None)
    chips = int(number) // (2 if kind in CORES else 1) if number.isdecimal() else 0
    if chip and 0 < chips <= chip.pod and chips & (chips - 1) == 0:
        return (
            f"--topology {text} is an accelerator type; did you mean {Slice(chip, usual_shape(chip, chips))}?"
        )
    return f"--topology is {text!r}; expected a chip and a shape, as v5e:4x4 or v4:2x2x4; chips: {_names()}"


def _names() -> str:
    return ", ".join(chip.name for chip in CHIPS)
