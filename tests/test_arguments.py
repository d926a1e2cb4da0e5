# pyright: reportArgumentType=false, reportCallIssue=false
# Wrong arguments are meant.

"""Arguments of public functions that are of another kind than they say are refused in one line."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl
from fdl import data, models, tasks
from fdl.arguments import checked
from fdl.data import synthetic

KEY = jax.random.key(0)
PART = {"x": np.zeros((4, 9), np.float32), "y": np.zeros(4, np.int32)}

WRONG = {
    "a rate as text": (data.flip_horizontal, {"rate": "0.5"}, "rate is '0.5' (str); expected a number"),
    "a rate above 1": (data.sometimes, {"augmentation": data.grey(), "rate": 1.5}, "expected from 0 to 1"),
    "a rate below 0": (data.grey, {"rate": -0.1}, "rate is -0.1; expected from 0 to 1"),
    "no rate": (tasks.masking_noise, {"rate": np.inf}, "rate is inf; expected from 0 to 1"),
    "NaN": (data.gaussian_noise, {"scale": float("nan")}, "scale is nan (float); expected a number"),
    "NaN of NumPy": (data.gaussian_noise, {"scale": np.float32("nan")}, "expected a number"),
    "one number for two": (data.affine, {"scale": 1.0}, "scale is 1.0 (float); expected a tuple"),
    "three numbers for two": (data.affine, {"scale": (1.0, 1.0, 1.0)}, "expected 2 values"),
    "a pair of texts": (data.gaussian_blur, {"sigma": ("a", "b")}, "of each value a number"),
    "a share of an image above 1": (data.random_resized_crop, {"area": (0.1, 1.1)}, "expected from 0 to 1"),
    "a width below 0": (data.gaussian_blur, {"sigma": (-1.0, 2.0)}, "sigma is (-1.0, 2.0); expected above 0"),
    "a side below 0": (data.cutout, {"size": -3}, "size is -3; expected 0 or more"),
    "half a step": (data.time_shift, {"most": 2.5}, "most is 2.5 (float); expected a whole number"),
    "masks below 0": (
        data.spec_augment,
        {"features": np.zeros((9, 3), np.float32), "key": KEY, "time_masks": -1},
        "time_masks is -1; expected 0 or more",
    ),
    "classes as text": (data.mixup, {"classes": "3"}, "classes is '3' (str); expected a whole number"),
    "no classes": (data.cutmix, {"classes": 0}, "classes is 0; expected at least 1"),
    "a shape's side as text": (data.photo_patches, {"size": "16"}, "size is '16' (str); expected a whole"),
    "axes as a text": (data.shift, {"most": 1, "axes": "0"}, "axes is '0' (str); expected a tuple"),
    "no function": (data.by_row, {"row": 3}, "row is 3 (int); expected a function"),
    "no arrays": (data.windows, {"tokens": "abc", "length": 3}, "tokens is 'abc' (str); expected an array"),
    "no part": (data.standardise, {"images": None}, "images is None (NoneType); expected an array"),
    "a length of None": (synthetic.adding, {"key": KEY, "length": None}, "length is None (NoneType)"),
    "features below 1": (synthetic.zipf, {"key": KEY, "classes": 3, "features": -3}, "features is -3"),
    "a patch as text": (models.vision_transformer, {"outputs": 3, "size": 8, "patch": "4"}, "patch is '4'"),
    "layers as text": (models.gpt2, {"vocabulary": 3, "length": 8, "layers": "2"}, "layers is '2' (str)"),
    "no layers": (models.gpt2, {"vocabulary": 3, "length": 8, "layers": 0}, "layers is 0; expected at"),
    "a depth as text": (models.cifar_resnet, {"depth": "8", "outputs": 3}, "depth is '8' (str)"),
    "noise as text": (synthetic.spiral, {"key": KEY, "noise": "0.1"}, "expected a number or an array"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_of_another_kind_is_refused(case):
    function, arguments, message = WRONG[case]
    with pytest.raises(ValueError) as error:
        function(**arguments)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_traced_values_and_arrays_pass():
    def drawn(rate: jax.Array) -> jax.Array:
        batch = {"x": np.zeros((2, 4, 4, 3), np.uint8)}
        erase = data.random_erasing(rate=rate, area=(rate, 0.4))
        return data.sometimes(erase, rate=rate)(batch, KEY)["x"]

    assert jax.eval_shape(jax.vmap(drawn), jnp.ones(3)).shape == (3, 2, 4, 4, 3)
    assert jax.eval_shape(lambda most: data.shift(most=most, axes=(0,))(PART, KEY)["x"], 2).shape == (4, 9)
    for rate in (0, 1, 0.5, np.float32(0.5), jnp.float32(0.5), np.array(0.5)):
        data.flip_horizontal(rate=rate)
    assert synthetic.linear_gaussian(KEY, weights=[[1.0, 2.0]], noise=1)["x"].shape == (1,)
    data.token_dropout(rate=0.1, replacement=0, spared=range(3))
    assert synthetic.adding(KEY, length=np.int64(5))["x"].shape[0] == 5


def test_a_decorated_function_is_called_as_before():
    def draw(count: int, *more: int, low: float | None = None, kind: Any = "a") -> tuple[Any, ...]:
        return count, more, low, kind

    assert checked(draw)(1, 2, 3, low=None, kind=object) == (1, (2, 3), None, object)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'count'"):
        checked(draw)()


def test_what_an_experiment_means_names_a_decorated_function_alone():
    from fdl.identity import meaning

    found = meaning({"sample": synthetic.spiral})
    assert found.values == {"sample": "fdl.data.synthetic.points.spiral"} and not found.unseen
    assert fdl.data.synthetic.spiral.__name__ == "spiral"
