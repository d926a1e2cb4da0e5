"""What was shown of a run at one evaluation, and which of it belongs to which runs."""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from fdl.storage import Folder, get

if TYPE_CHECKING:
    import pandas as pd


class Inspection(NamedTuple):
    """What `inspect` showed of one run after one evaluation.

    Attributes:
      step: updates done.
      name: as `inspect` calls it.
      kind: `"image"`, `"text"`, `"histogram"`, `"audio"` or `"figure"`.
      suffix: of the file's name: `"png"`, `"txt"`, `"svg"`, `"wav"`.
      words: what it shows in words, and what of it could not be shown as it was.
      size: of the file, in bytes.
      place: the file, or, where nothing is kept on a disk, its bytes.
      arm: of the run in a sweep; else None.
      seed: likewise.
    """

    step: int
    name: str
    kind: str
    suffix: str
    words: str
    size: int
    place: Folder | bytes
    arm: str | None = None
    seed: int | None = None

    def read(self) -> bytes:
        """The file's content, read when it is asked for.

        Raises:
          OSError: it cannot be read, or is not there any more.
        """
        if isinstance(self.place, bytes):
            return self.place
        content = get(self.place)
        if content is None:
            raise FileNotFoundError(f"{self.place} is not there any more")
        return content


def without_runs(
    inspections: Iterable[Inspection], before: "pd.DataFrame", after: "pd.DataFrame"
) -> tuple[Inspection, ...]:
    """Those that stay where of the runs `before` only those `after` do, by `arm` and `seed`: of no run
    that goes, and of an arm that stays. Seeds that chose an arm (`Result.best`) stay too."""
    there, kept = (set(zip(runs["arm"], runs["seed"], strict=True)) for runs in (before, after))
    gone, arms = there - kept, {arm for arm, _ in kept}
    return tuple(one for one in inspections if (one.arm, one.seed) not in gone and one.arm in arms)


def of_arms(inspections: Iterable[Inspection], arms: Collection[str]) -> tuple[Inspection, ...]:
    """Those of some arms."""
    return tuple(one for one in inspections if one.arm in arms)


def joined_inspections(
    inspections: Iterable[Inspection], others: Iterable[Inspection], called: Mapping[str, str]
) -> tuple[Inspection, ...]:
    """Both, what both have once; `called` is what the others' arms are called."""
    renamed = (one._replace(arm=called.get(one.arm or "", one.arm)) for one in others)
    found: dict[tuple[object, ...], Inspection] = {}
    for one in (*inspections, *renamed):
        found.setdefault((one.arm, one.seed, one.name, one.step), one)
    return tuple(found.values())
