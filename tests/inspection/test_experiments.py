"""What the repository's own experiments show is what they say."""

from pathlib import Path

import jax
import numpy as np

from fdl.experiment_file import load_file

ROOT = Path(__file__).parents[2]


def test_augmentation_shows_what_its_first_hidden_units_weigh_the_pixels_by():
    file = load_file(ROOT / "experiments/augmentation.py")
    experiment = file.experiment(file.config())
    assert experiment.inspect
    state = experiment.learner.init(jax.random.key(0))
    shown = experiment.inspect(state, jax.random.key(1))["weights"].pixels
    (kernel,) = [leaf for leaf in jax.tree.leaves(state.params) if leaf.shape == (64, 128)]
    units = np.asarray(kernel).T[:32].reshape(32, 8, 8, 1)
    np.testing.assert_allclose(shown, 0.5 + 0.5 * units / np.abs(units).max(), atol=1e-6)
