"""Files are what others read them as: Pillow, `wave`, an XML parser and `json`."""

import io
import json
import re
import wave
import xml.etree.ElementTree
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fdl import inspection
from fdl.inspection.counts import counts_of
from fdl.inspection.rendering import rendered


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32, jnp.bfloat16])
def test_a_picture_has_its_pixels(shape, kind):
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    given = values if kind == np.uint8 else (values / np.float32(255)).astype(kind)
    one = rendered(inspection.Image(given))
    expected = values if kind == np.uint8 else np.round(given.astype(float) * 255).astype(np.uint8)
    np.testing.assert_array_equal(opened(one.content), expected[..., 0] if shape[2:] == (1,) else expected)
    assert one[:2] == ("image", "png") and one.words == "a picture of 5 × 3 pixels"


def test_pictures_make_a_sheet_and_what_is_no_colour_is_counted():
    pixels = np.zeros((3, 64, 64, 1), np.float32)
    pixels[1] = 1
    pixels[2, 0, :4, 0] = (-0.5, 2, np.inf, np.nan)
    one = rendered(inspection.Image(pixels))
    sheet = opened(one.content)[..., 0]
    assert sheet[4 + 32, 4 + 32] == 0 and sheet[4 + 32, 4 + 68 + 32] == 255
    assert sheet[4, 4 + 136 : 4 + 140].tolist() == [0, 255, 255, 0]
    assert one.words == (
        "3 pictures of 64 × 64 pixels; not within 0 to 1, so cut off: 3 of 12,288 values; "
        "no numbers, so black: 1 of 12,288 values"
    )


def test_texts_are_what_the_function_makes_of_the_tokens():
    letters = lambda tokens: "".join("abé\ud800"[token] for token in tokens)  # noqa: E731
    one = rendered(inspection.Text(np.array([0, 2, 3, 1]), letters))
    assert one.content.decode() == "aé\\ud800b" and one.words == "a text of 4 tokens"
    two = rendered(inspection.Text(np.array([[0], [1]]), letters))
    assert two.content.decode().split("\n") == ["--- 1 of 2 ---", "a", "", "--- 2 of 2 ---", "b", ""]
    assert rendered(inspection.Text(np.array([10, 7]))).content == b"10 7"
    with pytest.raises(ValueError, match="decode returns a int; expected a str"):
        rendered(inspection.Text(np.array([1]), lambda tokens: 3))  # pyright: ignore[reportArgumentType]


def test_a_sound_has_its_samples():
    samples = np.array([[0, 0.5, -1, 1], [2, np.nan, 0, 0]], np.float32)
    one = rendered(inspection.Audio(samples, rate=16))
    with wave.open(io.BytesIO(one.content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16)
        found = np.frombuffer(file.readframes(100), "<i2")
    assert found.tolist() == [0, 16384, -32767, 32767, *[0] * 4, 32767, 0, 0, 0]
    assert one.words == (
        "2 sounds of 0.25 s; not within -1 to 1, so cut off: 1 of 8 values; "
        "no numbers, so silent: 1 of 8 values"
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, 2.0, 2.0, np.nan, np.inf], "3 numbers from 1.000 to 2.000; 1 NaN; 1 infinite"),
        ([5.0, 5.0], "2 numbers from 5.000 to 5.000"),
        ([np.nan, -np.inf], "no finite number; 1 NaN; 1 minus infinite"),
    ],
)
def test_a_histogram_is_a_picture_with_its_numbers(values, words):
    values = np.array(values, np.float32)
    one = rendered(jax.device_get(counts_of(inspection.Histogram(values))))
    root = xml.etree.ElementTree.fromstring(one.content)
    parts: dict[str, Any] = {element.tag.rpartition("}")[2]: element for element in root}
    told = json.loads(parts["metadata"].text)
    finite = values[np.isfinite(values)]
    assert sum(told["counts"]) == finite.size
    lost = [np.isnan(values).sum(), np.isposinf(values).sum(), np.isneginf(values).sum()]
    assert [told[name] for name in ("nan", "inf", "-inf")] == lost
    if finite.size:
        assert (told["edges"][0], told["edges"][-1]) == (finite.min(), finite.max())
        assert parts["path"].get("d").count("M") == len(set(finite)), "a bar for each count"
        tall = [float(h) for h in re.findall(r"v-([\d.]+)", parts["path"].get("d"))]
        assert max(tall) == 152.0 and sorted(tall)[0] == pytest.approx(152 / (2 if len(tall) > 1 else 1))
    assert one.words == parts["title"].text == words


def test_a_style_that_is_chosen_to_draw_is_not_that_of_what_is_drawn_later():
    def draw(data):
        matplotlib.rcParams["figure.facecolor"] = matplotlib.rcParams["savefig.facecolor"] = "black"
        return Figure(figsize=(1, 1))

    before = dict(matplotlib.rcParams)
    assert opened(rendered(inspection.Figure({}, draw)).content)[0, 0].tolist() == [0, 0, 0, 255]
    assert dict(matplotlib.rcParams) == before


def test_a_figure_is_drawn_from_the_arrays():
    def draw(data):
        figure = Figure(figsize=(2, 1))
        axes = figure.subplots()
        axes.plot(data["y"])
        axes.set_title("the title")
        return figure

    one = rendered(inspection.Figure({"y": np.arange(3)}, draw))
    assert opened(one.content).shape[:2] == (100, 200) and one.words == "a figure: the title"
    assert one == rendered(inspection.Figure({"y": np.arange(3)}, draw)), "the same data is the same file"
    with pytest.raises(ValueError, match="draw returns a list; expected a Figure of Matplotlib"):
        rendered(inspection.Figure({}, lambda data: []))
