"""One step of plain SGD of every task by hand on 2 simulated devices; a line of JSON for each case."""

import concurrent.futures
import functools
import gc
import json
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from fdl import models, optim, tasks
from fdl.data import Splits, gaussian_noise, mixup
from fdl.experiment import Experiment
from fdl.models.autoencoder import Autoencoder
from fdl.models.norms import batch_norm
from fdl.models.spectral import spectral_norm
from fdl.parallel.plan import Plan
from fdl.tasks.contrastive_losses import vicreg
from fdl.tasks.gan_losses import hinge, wasserstein
from fdl.tasks.metric_losses import semi_hard, triplet
from fdl.train.strategy_check import first_state, first_step

ROWS, WIDTH, CLASSES = 8, 6, 3
RANDOM = np.random.default_rng(0)
SGD = optax.sgd(0.1)
ONE_STEP: dict[str, Any] = {"steps": 1, "batch_size": ROWS}


def splits(**part: Any) -> Splits:
    return Splits(part, part, part)


X = RANDOM.normal(size=(ROWS, WIDTH)).astype(np.float32)
Y = (np.arange(ROWS) % CLASSES).astype(np.int32)
LABELLED = splits(x=X, y=Y)
GROUPED = splits(x=X, y=Y, group=(np.arange(ROWS) > 4).astype(np.int32))
UNIT = splits(x=RANDOM.uniform(size=(ROWS, WIDTH)).astype(np.float32))
SIGNS = splits(x=X, y=np.where(Y == 1, 1, -1).astype(np.float32))
TEXT = RANDOM.integers(1, 9, (ROWS, 5)).astype(np.int32)
IMAGES = RANDOM.normal(size=(ROWS, 4, 4, 1)).astype(np.float32)
MLP = models.MLP((5,), CLASSES)
WITH_ALL = MLP.clone(norm=batch_norm, dropout=0.3)


def classified(optimizer: Any = SGD, model: Any = MLP, **options: Any) -> Experiment:
    return tasks.classification(model, LABELLED, optimizer, **ONE_STEP, **options)


def game(weight: Any = None, conditional: bool = False, norm: Any = batch_norm, **options: Any) -> Experiment:
    made, judge = models.MLPGenerator((5,), (WIDTH,), norm=norm), models.MLPDiscriminator((5,))
    judge = judge.clone(weight=weight)
    if conditional:
        made, judge = models.Conditional(made, CLASSES), models.Conditional(judge, CLASSES)
    return tasks.adversarial(
        made, judge, LABELLED, SGD, SGD, latent=2, conditional=conditional, **ONE_STEP, **options
    )


def quantised(decay: float | None) -> Experiment:
    model = models.VQVAE(MLP, models.VectorQuantiser(4, decay), models.MLP((), WIDTH), width=2)
    return tasks.vector_quantisation(model, LABELLED, SGD, **ONE_STEP)


def compared(loss: Any) -> Experiment:
    model = models.WithHead(MLP, models.MLP((4,), 3, norm=batch_norm))
    view = gaussian_noise(scale=0.3)
    return tasks.contrastive(model, LABELLED, SGD, augment=view, loss=loss, neighbours=1, **ONE_STEP)


def clip() -> Experiment:
    model = models.DualEncoder(MLP, models.MLP((4,), 3), width=3)
    return tasks.clip(model, splits(x=X, y=X[:, ::-1].copy()), SGD, **ONE_STEP)


def ctc(dropout: float = 0.2) -> Experiment:
    part = {"x": RANDOM.normal(size=(ROWS, 6, 2)).astype(np.float32), "length": np.full(ROWS, 6) - Y}
    labels = np.tile(np.array([1, 2], np.int32), (ROWS, 1))
    model = models.AcousticModel(CLASSES, channels=2, widths=(3,), cell=models.RNNCell, stride=1)
    model = model.clone(dropout=dropout)
    return tasks.ctc(model, splits(**part, y=labels), SGD, **ONE_STEP)


def detection(norm: Any = batch_norm) -> Experiment:
    boxes = np.tile(np.array([[0, 0, 2, 3], [1, 1, 4, 4]], np.float32), (ROWS, 1, 1))
    labels = np.stack([Y, np.where(Y == 0, -1, 0)], axis=1).astype(np.int32)
    model = models.Detector(CLASSES, (2,), layers=1, norm=norm)
    return tasks.detection(model, splits(x=IMAGES, boxes=boxes, labels=labels), SGD, **ONE_STEP)


def segmentation(norm: Any = batch_norm, model: Any = None) -> Experiment:
    labels = RANDOM.integers(0, CLASSES, (ROWS, 4, 4)).astype(np.int32)
    labels[1:3], labels[5, :3] = -1, -1  # rows with fewer labelled pixels, or none
    model = models.UNet(CLASSES, (2, 3), norm=norm) if model is None else model
    return tasks.segmentation(model, splits(x=IMAGES, y=labels), SGD, **ONE_STEP)


def translation(dropout: float = 0.2) -> Experiment:
    length = np.where(np.arange(ROWS) == 0, 5, 1)  # on one device more tokens than on the other
    short = np.where(np.arange(5) < length[:, None], TEXT, 0).astype(np.int32)
    model = models.Seq2Seq(9, 9, 4, dropout=dropout)
    return tasks.sequence_to_sequence(model, splits(x=TEXT, y=short), SGD, **ONE_STEP)


def experts(balance: float = 1.0) -> Experiment:
    feed = functools.partial(models.Experts, 3, functools.partial(models.FeedForward, 4))
    model = models.gpt2(9, length=5, width=4, layers=1, heads=1, feed_forward=feed)
    rows = splits(x=TEXT, y=np.roll(TEXT, -1, axis=1))
    return tasks.language_modelling(model, rows, SGD, balance=balance, **ONE_STEP)


def masked() -> Experiment:
    model: Any = models.MaskedLanguageModel(
        models.bert(10, length=5, width=4, layers=1, heads=1, padding=None)
    )
    return tasks.masked_language_modelling(
        model, splits(x=TEXT), SGD, mask_token=9, vocabulary=9, rate=0.4, **ONE_STEP
    )


def distilled() -> Experiment:
    teacher = models.MLP((4,), CLASSES)
    given = teacher.init(jax.random.key(1), X[:1])
    return tasks.distillation(MLP, teacher, given, LABELLED, SGD, **ONE_STEP)


def fine_tuned() -> Experiment:
    """And evaluated by averaged parameters."""
    optimizer = tasks.frozen(SGD, lambda path: path[0] == "Dense_0")
    given = MLP.init(jax.random.key(1), X[:1], train=False)
    warm = tasks.warm_start(classified(optimizer), optimizer, given)
    return warm._replace(learner=tasks.with_ema(warm.learner, decay=0.9))


RATE_PENALTY = functools.partial(tasks.rate_penalty, factor=1.0, rate=0.1)


def coded(penalty: Any = RATE_PENALTY) -> Experiment:
    model = Autoencoder(models.MLP((5,), 4), models.MLP((), WIDTH), activation=nn.sigmoid)
    noise = tasks.masking_noise(rate=0.3)
    return tasks.reconstruction(model, UNIT, SGD, corrupt=noise, penalty=penalty, **ONE_STEP)


def accumulated(made: Callable[[], Experiment]) -> Experiment:
    """With batches in 4 micro-batches, of one row on each of 2 devices."""
    ONE_STEP["accumulate"] = 4
    try:
        return made()
    finally:
        del ONE_STEP["accumulate"]


def diffusion(task: Any) -> Experiment:
    model = models.DiffusionMLP((5,), classes=CLASSES)
    return task(model, LABELLED, SGD, label_dropout=0.3, **ONE_STEP)


CASES: dict[str, Callable[[], Experiment]] = {
    "classification": lambda: classified(model=WITH_ALL, augment=mixup(classes=CLASSES)),
    "private": lambda: tasks.private_classification(MLP, LABELLED, SGD, noise_multiplier=1.0, **ONE_STEP),
    "adversarial training": lambda: tasks.adversarial_training(
        MLP.clone(norm=batch_norm), LABELLED, SGD, epsilon=0.1, low=-3.0, high=3.0, **ONE_STEP
    ),
    "group dro": lambda: tasks.group_dro(
        MLP.clone(norm=batch_norm), GROUPED, SGD, groups=2, step_size=5.0, **ONE_STEP
    ),
    "invariant risk": lambda: tasks.invariant_risk(
        WITH_ALL, GROUPED, SGD, groups=2, penalty=3.0, l2=0.1, **ONE_STEP
    ),
    "regression": lambda: tasks.regression(models.MLP((5,), 1), SIGNS, SGD, l2=0.1, **ONE_STEP),
    "multilabel": lambda: tasks.multilabel(
        MLP, splits(x=X, y=np.eye(CLASSES, dtype=np.float32)[Y]), optax.sgd(1.0), **ONE_STEP
    ),
    "density": lambda: tasks.conditional_density(
        models.MixtureDensity(models.MLP((5,), 4), targets=2, components=2),
        splits(x=X, y=X[:, :2]),
        SGD,
        **ONE_STEP,
    ),
    "reconstruction": coded,
    "variational": lambda: tasks.variational(
        models.VAE(MLP.clone(outputs=4), models.MLP((), WIDTH)), UNIT, SGD, samples=1, **ONE_STEP
    ),
    "quantisation": lambda: quantised(None),
    "quantisation moving": lambda: quantised(0.9),
    "diffusion": lambda: diffusion(tasks.diffusion),
    "flow matching": lambda: diffusion(tasks.flow_matching),
    "adversarial conditional": lambda: game(conditional=True, average=0.9),
    "adversarial penalty": lambda: game(loss=wasserstein, penalty=10.0, critic_steps=2),
    "adversarial spectral": lambda: game(spectral_norm, loss=hinge),
    "contrastive": lambda: compared(tasks.contrastive_losses.nt_xent),
    "contrastive vicreg": lambda: compared(vicreg),
    "clip": clip,
    "metric learning": lambda: tasks.metric_learning(
        MLP, LABELLED, SGD, loss=functools.partial(triplet, mining=semi_hard), **ONE_STEP
    ),
    "arcface": lambda: tasks.arcface(
        models.WithHead(MLP, models.CosineHead(CLASSES)), LABELLED, SGD, scale=4.0, **ONE_STEP
    ),
    "ctc": ctc,
    "detection": detection,
    "segmentation": segmentation,
    "sequence to sequence": translation,
    "language experts": experts,
    "masked language": masked,
    "distillation": distilled,
    "fine tuning averaged": fine_tuned,
    "perceptron": lambda: tasks.perceptron(SIGNS, **ONE_STEP),
    "adaline": lambda: tasks.adaline(SIGNS, **ONE_STEP),
    "sharpness aware": lambda: classified(optim.sharpness_aware(SGD)),
    "gradient noise": lambda: classified(optax.chain(optim.gradient_noise(0.01), SGD, optim.max_norm(1.0))),
    "pruning": lambda: classified(optax.chain(SGD, optim.pruning(0.5, score=optim.by_chance))),
    "lottery ticket": lambda: classified(optim.lottery_ticket(SGD, 0.5, steps=1, reinitialise=True)),
    "fake quantised": lambda: classified(model=models.FakeQuantised(MLP)),
    "line search": lambda: classified(optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(3)), l2=0.1),
    "backtracking": lambda: classified(
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(3, store_grad=True))
    ),
    "loss and curvature": lambda: classified(optax.chain(optax.contrib.sophia(0.1), optax.scale_by_polyak())),
    "accumulated classification": lambda: accumulated(lambda: classified(model=WITH_ALL)),
    "accumulated private": lambda: accumulated(CASES["private"]),
    "accumulated segmentation": lambda: accumulated(segmentation),
    "accumulated codes": lambda: accumulated(lambda: coded(functools.partial(tasks.l1_penalty, factor=0.3))),
    # Batch norm of the two rows of a micro-batch would multiply rounding.
    "accumulated game": lambda: accumulated(lambda: game(loss=wasserstein, penalty=10.0, norm=None)),
    "accumulated masked": lambda: accumulated(masked),
    "many steps": lambda: classified(optax.MultiSteps(SGD, 2).gradient_transformation()),
}
STRATEGIES = ("shard_map", "pmap")


def apart(ours: Any, theirs: Any) -> float:
    """The greatest difference of arrays of floats, in units of 1e-5 absolute plus 1e-5 relative; what is not
    finite in one of them alone is infinitely far."""
    greatest = 0.0
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if a.dtype == np.float32:
            far = np.where(a == b, 0.0, np.abs(a - b) / (1e-5 + 1e-5 * np.abs(b)))
            greatest = max(greatest, float(np.max(np.where(np.isnan(far), np.inf, far))))
    return greatest


def moved(before: Any, after: Any) -> float:
    """As `apart`, of what is finite before: a line search's state begins with an infinite loss."""
    pairs = list(zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    finite = [(a, b) for a, b in pairs if np.issubdtype(a.dtype, np.floating) and np.isfinite(a).all()]
    return apart([a for a, _ in finite], [b for _, b in finite])


def main() -> None:
    """Compiles in two threads, and runs one program after another: two at once could wait for each other."""
    gc.set_threshold(100_000, 20, 20)  # tracing makes objects by the million, and few cycles of them
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_disable_most_optimizations", True)  # less compiling, the same numbers but rounding
    key, alone = jax.random.key(0), Plan(1, "map", "calls")
    plans = (alone, *(alone._replace(data=2, strategy=strategy) for strategy in STRATEGIES))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = {}
        for name, made in CASES.items():
            experiment = made()
            steps = [pool.submit(first_step, experiment, plan, key) for plan in plans]
            jobs[name] = (pool.submit(first_state, experiment, alone, key), steps)
        for name, (start, steps) in jobs.items():
            before = jax.device_get(start.result())
            reference, *others = (jax.device_get(step.result()(before)) for step in steps)
            for strategy, found in zip(STRATEGIES, others, strict=True):
                line = {"apart": apart(found, reference), "moved": moved(before, reference[0])}
                print(json.dumps({"case": name, "strategy": strategy, **line}), flush=True)


if __name__ == "__main__":
    main()
