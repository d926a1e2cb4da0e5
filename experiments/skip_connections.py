"""Do skip connections let deep plain networks train?

He et al. 2016, Deep residual learning for image recognition, fig. 1 and table 2: on ImageNet a plain
net of 34 layers errs more (28.5 %) than one of 18 (27.9 %), also on its training images; with skip
connections it is the other way round (25.0 % against 27.9 %). Here: multilayer perceptrons of 64 layers of
32 units, or of 4, on scikit-learn's digits. Each arm has the learning rate that is best on validation for 4
seeds; 10 judge.

Against it: it is not that the gradients of plain nets vanish (He et al., sec. 4.1): where they neither vanish
nor explode at the start, plain nets are hard to train all the same, and how they start matters. Those that
start as the identity can be trained (Zagoruyko and Komodakis 2017, DiracNets: Training Very Deep Neural
Networks Without Skip-Connections).

    fdl sweep experiments/skip_connections.py

2 minutes of CPU time. A pilot came before, with seeds 500 to 507: of the rates 1e-3, 3e-3 and 1e-2 the
lowest was the best of plain nets and the highest of those with skips, so that they are farther apart now.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import optax
from matplotlib.figure import Figure

import fdl
from fdl import data, models, tasks
from fdl.models.initializers import orthogonal


def random() -> nn.initializers.Initializer:
    """Orthogonal, of He's variance: plain nets do better with it than with He's normal one."""
    return orthogonal(2**0.5)


@fdl.config
class Config:
    depth: int = fdl.static(64, low=1)
    """hidden layers of 32 units"""
    skip: bool = True
    """whether each layer adds to its input instead of replacing it"""
    start: Callable = random
    """makes the initialiser of the weights"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(300, low=1)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    splits, steps = data.digits(), config.steps
    model = models.MLP((32,) * config.depth, 10, skip=config.skip, initializer=config.start)
    made = tasks.classification(model, splits, optax.adam(config.lr), steps=steps, evaluate_every=steps)
    seen = data.sequential(splits.train, batch_size=500)
    return made._replace(evaluation={**made.evaluation, "seen": seen})


RATES = (3e-4, 2e-3, 1e-2)
SWEEP = fdl.grid(Config(), depth=(64, 4), skip=(False, True), lr=RATES, seeds=14)
SWEEP += fdl.grid(Config(), skip=(False,), start=(models.identity,), lr=RATES, seeds=14)


def tuned(result: fdl.Result) -> fdl.Result:
    """Each arm at the learning rate that its validation chose."""
    return result.best("lr", by="validation/accuracy", seeds=4)


def degrades(result: fdl.Result, skip: bool) -> fdl.Verdict:
    """Whether 64 layers read at least 20 points fewer of the images that they learned from than 4."""
    own = tuned(result.where(skip=skip, start=random))
    options = {"arms": "depth", "baseline": 4, "better": "lower", "at_least": 0.2}
    return fdl.compare(own, metric="seen/accuracy", **options).verdict


def as_shallow(result: fdl.Result) -> fdl.Verdict:
    """Whether with skips 64 layers read digits as 4 do."""
    own = tuned(result.where(skip=True))
    return fdl.compare(own, metric="test/accuracy", arms="depth", baseline=4, equivalent=0.02).verdict


def helps(result: fdl.Result, depth: int, start: str) -> fdl.Verdict:
    """Whether skips add at least 5 points to a plain net that starts so."""
    runs = result.where(depth=depth).runs()
    arms = runs[runs["skip"] | (runs["start"] == start)]["arm"].unique()
    own = tuned(result.where(arm=[*arms]))
    options = {"arms": "skip", "baseline": False, "at_least": 0.05}
    return fdl.compare(own, metric="test/accuracy", **options).verdict


CLAIMS = (
    fdl.Claim(
        "O2.1",
        "Plain nets degrade: 64 layers read 20 points fewer of their own training images than 4.",
        functools.partial(degrades, skip=False),
        control=functools.partial(degrades, skip=True),
        published="plain nets of 34 layers have a higher training error than of 18 (He et al. 2016, fig. 4)",
    ),
    fdl.Claim(
        "O2.2",
        "Skips add at least 5 points at 64 layers.",
        functools.partial(helps, depth=64, start="random"),
        control=functools.partial(helps, depth=4, start="random"),
        published="28.5 % error to 25.0 % of 34 layers (He et al. 2016, table 2)",
    ),
    fdl.Claim(
        "O2.3",
        "With skips 64 layers read digits as 4 do, within 2 points.",
        as_shallow,
    ),
    fdl.Claim(
        "O2.4",
        "It takes skips: they add at least 5 points to plain nets that start as the identity, too.",
        functools.partial(helps, depth=64, start="identity"),
        published="plain nets can be trained from there (Zagoruyko and Komodakis 2017)",
    ),
)


def figure(result: fdl.Result) -> Figure:
    """Of every arm the accuracies on test, and on the images that it learned from."""
    drawing = Figure(figsize=(6.4, 3), layout="constrained")
    axis = drawing.subplots()
    runs = tuned(result).last()
    arms = [(4, False, "random"), (4, True, "random"), (64, False, "random")]
    arms += [(64, False, "identity"), (64, True, "random")]
    for place, (depth, skip, start) in enumerate(arms):
        own = runs[(runs["depth"] == depth) & (runs["skip"] == skip) & (runs["start"] == start)]
        for metric, color, aside in (("seen", "#c1582f", -0.12), ("test", "#2f7fc1", 0.12)):
            label = {"seen": "on training images", "test": "on test images"}[metric] if not place else None
            at = [place + aside] * len(own)
            axis.plot(at, own[f"{metric}/accuracy"], "o", color=color, alpha=0.4, label=label)
    kinds = ("4, plain", "4, skips", "64, plain", "64, plain,\nfrom identity", "64, skips")
    axis.set_xticks(range(len(arms)), kinds)
    axis.set(ylim=(0, 1.02), xlabel="layers", ylabel="accuracy")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return drawing
