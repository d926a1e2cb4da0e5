"""Slices: the kinds that are sold, their sizes and what they cost."""

import re

RUNTIMES = {
    "v2": "tpu-ubuntu2204-base",
    "v3": "tpu-ubuntu2204-base",
    "v4": "tpu-ubuntu2204-base",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
"""The VM image of each generation that the Cloud TPU API has, by Google's page "TPU software versions"
(docs.cloud.google.com/tpu/docs/runtimes, read on 2026-11-27): v6e, v5p and v5e by name, "v4 and older" for
the rest. By the same page this API "is not supported on TPU7x and later TPU versions"."""
MOST_SLICES = 256
"""What can be asked for at once here: the largest run that Google has told of had 199, of v5e (2023)."""
COUNTS_CHIPS = ("v5litepod", "v6e")
"""Generations whose names count chips; the others count cores, two to a chip."""


def _cubes(most: int) -> tuple[int, ...]:
    """Sizes in cores of v4 and v5p: parts of a cube of 64 chips, or up to `most` cubes in a box.

    At most 64 cubes are joined in a row, so that no larger prime number of them is a box.
    """
    boxes = [count for count in range(1, most + 1) if count not in (67, 71, 73, 79, 83, 89)]
    return (8, 16, 32, 64, *(128 * count for count in boxes))


SIZES = {
    "v2": (8, 32, 128, 256, 512),
    "v3": (8, 32, 64, 128, 256, 512, 1024, 2048),
    "v4": _cubes(32),
    "v5litepod": (1, 4, 8, 16, 32, 64, 128, 256),
    "v5p": _cubes(96),
    "v6e": (1, 4, 8, 16, 32, 64, 128, 256),
    "tpu7x": (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
}
"""What is sold of each generation, by the pages of cloud.google.com/tpu/docs for it; of tpu7x usual sizes."""
_BOXES = {
    4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4", 128: "4x4x8", 256: "4x8x8", 512: "8x8x8",
    1024: "8x8x16", 2048: "8x16x16",
}  # fmt: skip
_PLANES = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}
TOPOLOGIES = {"v5p": _BOXES, "tpu7x": _BOXES, "v6e": _PLANES}
"""How the chips of a slice lie, by their number, of the generations that Compute Engine has: usual shapes, by
the pages of docs.cloud.google.com/tpu/docs for each."""
LIST_PRICES = {"v4": 3.22, "v5litepod": 1.2, "v5p": 4.2, "v6e": 2.7}
"""Google's list price in 2025 of a chip and hour, on demand, in the cheapest region of the US, in dollars.
A chip of v2 and v3 costs more in a larger slice: those are looked up."""


def hosts(accelerator: str) -> int:
    """How many VMs (workers) a slice has, as 4 for `v5litepod-16` and `v4-32`.

    Raises:
      ValueError: no such slice is sold.
    """
    generation, _, count = accelerator.partition("-")
    if generation == "v7x":
        raise ValueError(f"there is no accelerator type {accelerator!r}; that chip is called tpu7x-{count}")
    if generation == "v5e":
        raise ValueError(
            f"there is no accelerator type {accelerator!r}; that chip is called v5litepod-{count}"
        )
    if generation not in SIZES or not re.fullmatch(r"[1-9][0-9]*", count):
        raise ValueError(
            f"there is no accelerator type {accelerator!r}; expected GENERATION-N, as v6e-16, "
            f"with one of {', '.join(SIZES)}"
        )
    sizes = SIZES[generation]
    if int(count) not in sizes:
        shown = ", ".join(map(str, sizes[:8])) + (f", ... {sizes[-1]}" if len(sizes) > 8 else "")
        raise ValueError(f"there is no {accelerator!r}; the number after {generation}- is one of {shown}")
    return 1 if generation in COUNTS_CHIPS and int(count) == 8 else max(1, chips(accelerator) // 4)


def chips(accelerator: str) -> int:
    """How many chips a slice has, as 16 for `v6e-16` and 8 for `v4-16`."""
    generation, _, count = accelerator.partition("-")
    return int(count) if generation in COUNTS_CHIPS else int(count) // 2


def topology(accelerator: str) -> str:
    """How a slice's chips lie, as `4x4` for `v6e-16` and `2x2x2` for `tpu7x-16`.

    Raises:
      ValueError: no such slice is sold, or not through Compute Engine, or its shape is not known here.
    """
    generation, workers = accelerator.partition("-")[0], hosts(accelerator)
    shapes = TOPOLOGIES.get(generation)
    if shapes is None:
        raise ValueError(
            f"{accelerator} is only to be had through the Cloud TPU API (without --api); "
            f"Compute Engine and GKE are for {', '.join(TOPOLOGIES)}"
        )
    if chips(accelerator) not in shapes:
        raise ValueError(
            f"which shape {accelerator} has ({workers} VMs) is not known here; see tpu/slices.py"
        )
    return shapes[chips(accelerator)]


def price(accelerator: str) -> float | None:
    """What a slice costs an hour, on demand, in dollars; None where this file does not know."""
    each = LIST_PRICES.get(accelerator.partition("-")[0])
    try:
        hosts(accelerator)
    except ValueError:
        return None
    return None if each is None else each * chips(accelerator)


def hourly(accelerator: str, count: int = 1) -> str:
    """What one or several slices cost, for people; empty for a kind that this file does not know."""
    try:
        hosts(accelerator)
    except ValueError:
        return ""
    dollars, amount = price(accelerator), f"{count * chips(accelerator)} chips"
    if dollars is None:
        return f"{amount}, at the price that cloud.google.com/tpu/pricing says"
    return (
        f"{amount}, ${count * dollars:,.2f} an hour at the list price of 2025 "
        "(on demand, US; see cloud.google.com/tpu/pricing for yours)"
    )
