"""What is measured of a machine: plain values, JSON-able, so that every worker has those of all."""

from typing import Any, NamedTuple

ABSENT = "not installed"
"""The version of a package that is not there, as `fdl.text.version_of` says it."""


class Host(NamedTuple):
    """What one worker, a process, says of itself before it uses a device.

    Attributes:
      process: its number, from 0.
      name: the machine's.
      versions: by package.
      disk: bytes free where compiled programs are kept.
      memory: bytes free.
      bucket: why the place of the results could not be written, read and deleted; empty where it could, None
        where no place was named.
      port: why the coordinator's port could not be reached; empty where it could, None where one process
        needs none.
    """

    process: int
    name: str
    versions: dict[str, str]
    disk: int
    memory: int
    bucket: str | None = None
    port: str | None = None


class Device(NamedTuple):
    """A device: its number in JAX, its kind as JAX calls it (`"TPU v6 lite"`), whose process's it is."""

    number: int
    kind: str
    process: int


class Product(NamedTuple):
    """What a device made of the product of matrices.

    Attributes:
      number: the device's.
      right: whether sums that the host made by itself agree.
      digest: SHA-256 of the result's bytes.
      rate: FLOP/s; None on CPUs, whose devices share cores.
      trouble: the error, where there is no result.
    """

    number: int
    right: bool
    digest: str
    rate: float | None = None
    trouble: str = ""


class Reduction(NamedTuple):
    """An all-reduce along one axis of the devices, as one worker saw it.

    Attributes:
      process: the worker's number.
      axis: the axis's name.
      size: devices along it.
      over: `"links"` between the chips of a slice, the `"network"` between slices, or empty where it is not
        known what can be expected.
      wrong: the numbers of this worker's devices that have a wrong sum.
      rate: bytes/s that each device sent, were it along a ring; None on CPUs.
    """

    process: int
    axis: str
    size: int
    over: str
    wrong: tuple[int, ...]
    rate: float | None = None


class Cache(NamedTuple):
    """What became of one worker's compilations.

    Attributes:
      process: the worker's number.
      works: whether a program was found in the cache right after it was compiled; None where this process
        keeps none there.
      hits: programs of this examination that were found there.
      asked: programs that were looked for.
    """

    process: int
    works: bool | None
    hits: int
    asked: int


class Facts(NamedTuple):
    """All that was measured, of all workers; what could not be is empty.

    Attributes:
      hosts: one for each worker.
      place: where results are to go, as it was named; empty where it was not.
      devices: of all workers.
      products: one for each device.
      reductions: one for each axis and worker.
      caches: one for each worker.
    """

    hosts: tuple[Host, ...]
    place: str = ""
    devices: tuple[Device, ...] = ()
    products: tuple[Product, ...] = ()
    reductions: tuple[Reduction, ...] = ()
    caches: tuple[Cache, ...] = ()

    def json(self) -> dict[str, Any]:
        """The same as dictionaries and lists."""
        lists = {name: value for name, value in self._asdict().items() if name != "place"}
        return {"place": self.place} | {name: [one._asdict() for one in all] for name, all in lists.items()}
