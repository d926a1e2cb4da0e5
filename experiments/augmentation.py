"""Does augmentation help because it tells the net which changes do not matter?

Simard, Steinkraus and Platt (2003, Best Practices for Convolutional Neural Networks, sec. 2) expand MNIST by
distortions and cut a perceptron's error from 1.6 % to 1.1 % (affine) and 0.7 % (elastic). A change that does
matter should not help: a mirrored 2 is no 2. Here 200 of scikit-learn's digits are to train on. Small
shifts, turns and stretches are to raise the test accuracy by at least 1 percentage point; mirroring is to
lower it; each at the learning rate that is best on validation.

    fdl sweep experiments/augmentation.py

About 2 minutes on 2 cores.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

import fdl
from fdl import data, inspection, models, tasks


def nothing(batch, key):
    """The images as they are."""
    del key
    return batch


def distortion(batch, key):
    """Turned by up to 10 degrees, stretched by up to a tenth, moved by up to a tenth of the side."""
    return data.affine(rotate=10.0, scale=(0.9, 1.1), translate=0.1)(batch, key)


def mirroring(batch, key):
    """Half of the images mirrored, left to right."""
    return data.flip_horizontal()(batch, key)


@fdl.config
class Config:
    augment: Callable = nothing
    """what is done to every training batch"""
    images: int = fdl.static(200, low=1)
    """images to train on"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(1500, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    splits = data.digit_images()
    few = {name: array[: config.images] for name, array in splits.train.items()}
    model = models.MLP(widths=(128,), outputs=10)
    optimizer = optax.adam(config.lr)

    def inspect(state: tasks.State, key: jax.Array) -> dict[str, inspection.Image]:
        """Images as they are trained on, and what the first hidden units weigh them by, 0 as grey."""
        first = {name: jnp.asarray(array[:32]) for name, array in few.items()}
        seen = config.augment({**first, "x": first["x"] / 16}, key)["x"]
        weights = state.params["Layer_0"]["Dense_0"]["kernel"].T.reshape(128, *seen.shape[1:])[:32]
        grey = 0.5 + 0.5 * weights / jnp.max(jnp.abs(weights))
        return {"images": inspection.Image(seen), "weights": inspection.Image(grey)}

    return tasks.classification(
        model, splits._replace(train=few), optimizer, steps=config.steps, augment=config.augment
    )._replace(inspect=inspect)


SWEEP = fdl.grid(Config(), augment=(nothing, distortion, mirroring), lr=(3e-4, 1e-3, 3e-3, 1e-2), seeds=32)


def claim(result: fdl.Result) -> fdl.Verdict:
    """Distortion against nothing, and nothing against mirroring, on test."""
    best = result.best("lr", by="validation/accuracy")
    right = best.where(augment=[nothing, distortion])
    helps = fdl.compare(right, metric="test/accuracy", arms="augment", baseline="nothing", at_least=0.01)
    wrong = best.where(augment=[nothing, mirroring])
    harms = fdl.compare(wrong, metric="test/accuracy", arms="augment", baseline="mirroring", better="higher")
    return fdl.all_of(helps.verdict, harms.verdict)
