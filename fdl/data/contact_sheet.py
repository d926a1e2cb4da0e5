"""Many images as one picture, to look at a data set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fdl.arguments import Count, checked

if TYPE_CHECKING:
    from PIL import Image

_GAP = 4  # pixels between tiles, and around them
_STRIP = 14  # pixels below a tile for its label
_VISIBLE = 64  # pixels; smaller tiles are enlarged a whole number of times to this or a little more
_BACKGROUND = (255, 255, 255)


@checked
def contact_sheet(images: Any, *, labels: Sequence[Any] | None = None, columns: Count = 8) -> "Image.Image":
    """Images in rows of `columns` on white.

    Tile k is in row `k // columns` and column `k % columns`, with 4 pixels between tiles and around
    them, and 14 more below each row of tiles where there are labels. Images whose longer side is below
    64 pixels are enlarged by the least whole factor that makes it 64 or more, each pixel a square.

    Args:
      images: `[N, H, W, C]` or `[N, H, W]`, C 1 or 3; uint8 is shown as it is, anything else is scaled
        so that the least value of all images is black and the largest white (values that are not
        finite are black).
      labels: `[N]`, written below the tiles, as far as the tile is wide.
      columns: tiles in a row; fewer if there are fewer images.

    Raises:
      ValueError: another shape, no images, another number of labels, or no columns.

    Example:
      >>> images = np.zeros((6, 8, 8, 1), np.uint8)
      >>> fdl.data.contact_sheet(images, labels="abcdef", columns=3).mode
      'RGB'
    """
    from PIL import Image, ImageDraw

    tiles = _tiles(images)
    count, height, width, _ = tiles.shape
    if columns < 1 or (labels is not None and len(labels) != count):
        raise ValueError(
            f"columns is {columns} and labels are {None if labels is None else len(labels)} "
            f"for {count} images; expected at least one column, and as many labels as images"
        )
    columns = min(columns, count)
    across, down = width + _GAP, height + _GAP + (0 if labels is None else _STRIP)
    size = (_GAP + columns * across, _GAP + -(-count // columns) * down)
    sheet = Image.new("RGB", size, _BACKGROUND)
    for number, tile in enumerate(tiles):
        left, top = _GAP + number % columns * across, _GAP + number // columns * down
        if labels is not None:
            strip = Image.new("RGB", (width, _STRIP), _BACKGROUND)
            ImageDraw.Draw(strip).text((0, 1), str(labels[number]), fill=(0, 0, 0))
            sheet.paste(strip, (left, top + height))
        sheet.paste(Image.fromarray(tile), (left, top))
    return sheet


def _tiles(images: Any) -> np.ndarray:
    """The images as uint8 `[N, h, w, 3]`, enlarged where they are small."""
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise ValueError(
            f"the images have shape {list(images.shape)}; expected [N, H, W, C], C 1 or 3, none of them 0"
        )
    if images.dtype != np.uint8:
        images = _scaled(images.astype(np.float64))
    factor = max(1, -(-_VISIBLE // max(images.shape[1:3])))
    large = images.repeat(factor, axis=1).repeat(factor, axis=2)
    return np.ascontiguousarray(np.broadcast_to(large, (*large.shape[:3], 3)))


def _scaled(values: np.ndarray) -> np.ndarray:
    finite = np.isfinite(values)
    low = values.min(where=finite, initial=np.inf)
    high = values.max(where=finite, initial=-np.inf)
    span = high - low if high > low else 1.0
    return np.round(255 * np.where(finite, values - low, 0.0) / span).astype(np.uint8)
