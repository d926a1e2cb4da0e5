"""Does noise that is counted as epsilon = 1 hide who was in the training data?

Yeom et al. 2018, Privacy Risk in Machine Learning, sec. 3.2: whether a row was trained on is guessed from its
loss. Abadi et al. 2016, Deep Learning with Differential Privacy: gradients that are clipped row by row, and
noise on their sum, bound what any guess can gain.

A perceptron learns 600 of scikit-learn's digits, a third of whose labels are wrong and can only be learned by
heart. The attack tells these from 600 others, as wrong, by the loss. Both nets have the same batches, steps
and clipping; one has no noise. The control attacks rows of which none was trained on. The noise that epsilon
= 1 at delta = 1e-4 asks for is computed by `dp-accounting` (the extra `privacy`).

    fdl sweep experiments/privacy.py

105 s of CPU time.
"""

import functools
from typing import Any

import numpy as np
import optax

import fdl
from fdl import data, metrics, models, tasks

ROWS, BATCH, STEPS, DELTA = 600, 200, 300, 1e-4


@fdl.config
class Config:
    epsilon: float | None = fdl.static(None)
    """what the run may spend; None: no noise"""
    members: bool = True
    """whether the attack's positives were trained on; if not, the attack can only guess"""
    lr: float = fdl.traced(5e-3, low=0.0)
    """Adam's learning rate"""


@functools.cache
def rows() -> tuple[dict[str, np.ndarray], ...]:
    """The members, and two sets that are no members: inputs, labels with errors, and without."""
    parts = data.digits()
    x, y = (np.concatenate([part[name] for part in parts[:3]]) for name in ("x", "y"))
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))[: 2 * ROWS + 500]
    x, clean = x[order], y[order].astype(np.int32)
    wrong = np.where(rng.random(len(x)) < 1 / 3, rng.integers(0, 10, len(x)), clean).astype(np.int32)
    cut = [ROWS, 2 * ROWS]
    return tuple(
        dict(zip(("x", "y", "clean"), arrays, strict=True))
        for arrays in zip(*(np.split(one, cut) for one in (x, wrong, clean)), strict=True)
    )


@functools.cache
def noise(epsilon: float | None) -> float:
    """σ for an epsilon."""
    if epsilon is None:
        return 0.0
    return tasks.noise_multiplier_for(epsilon=epsilon, rows=ROWS, batch_size=BATCH, steps=STEPS, delta=DELTA)


def experiment(config: Config) -> fdl.Experiment:
    members, strangers, others = rows()
    judged = {"x": strangers["x"], "y": strangers["clean"]}
    model, optimizer = models.MLP((64,), 10), optax.adam(config.lr)
    made = tasks.private_classification(
        model,
        data.Splits({name: members[name] for name in ("x", "y")}, judged, judged),
        optimizer,
        noise_multiplier=noise(config.epsilon),
        steps=STEPS,
        batch_size=BATCH,
    )
    positives = members if config.members else others
    attacked = {
        "x": np.concatenate([positives["x"], strangers["x"]]),
        "y": np.concatenate([positives["y"], strangers["y"]]),
        "member": np.repeat(np.array([1, 0], np.int32), [len(positives["x"]), ROWS]),
    }
    guess = made.learner.predict
    assert guess is not None

    def evaluate(state, batch, key):
        if "member" not in batch:
            return made.learner.evaluate(state, batch, key)
        likely = guess(state, batch)["probability"][np.arange(len(batch["y"])), batch["y"]]
        found = (likely, batch["member"])
        return {"auc": metrics.all_rows(metrics.area_under_roc, found, batch["weight"])}

    attack = data.sequential(attacked, batch_size=500)
    return made._replace(
        learner=made.learner._replace(evaluate=evaluate), evaluation={**made.evaluation, "attack": attack}
    )


SWEEP = fdl.grid(Config(), epsilon=(None, 1.0), members=(True, False), seeds=12)


def gain(result: fdl.Result, epsilon: float | None, **criterion: Any) -> fdl.Verdict:
    """What the attack gains over one that can only guess."""
    own = result.where(epsilon=epsilon)
    return fdl.compare(own, metric="attack/auc", arms="members", baseline=False, **criterion).verdict


CLAIMS = (
    fdl.Claim(
        "P1",
        "Without noise the loss tells who was trained on: an area under the ROC curve of at least 0.1 more.",
        functools.partial(gain, epsilon=None, at_least=0.1),
        control=functools.partial(gain, epsilon=1.0, at_least=0.1),
    ),
    fdl.Claim(
        "P2",
        "With the noise of epsilon = 1 it tells next to nothing: the area is that of guessing within 0.05.",
        functools.partial(gain, epsilon=1.0, equivalent=0.05),
    ),
)
