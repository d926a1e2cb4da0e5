"""Every transformation of Optax takes a task's steps, or is refused in one line."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from optax import contrib

from fdl import data, models, tasks
from tests.tasks.test_supervised import batch_of

RATE = 0.05


def own(rate: Any = RATE) -> Any:
    return optax.sgd(rate)


def first(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def dimensions(matrices: Any) -> Any:
    return jax.tree.map(lambda _: contrib.MuonDimensionNumbers(), matrices)


def then_sgd(transformation: Any, rate: Any = RATE) -> Any:
    return optax.chain(transformation, optax.scale_by_learning_rate(rate))


# By name of optax and optax.contrib, a function of a rate that may be traced. Names that are not here are
# called with the rate alone, as `adam(rate)`, or, where they have none, without arguments before `sgd(rate)`.
MADE: dict[str, Any] = {
    "adaptive_grad_clip": lambda r: optax.chain(optax.adaptive_grad_clip(r), own()),
    "add_noise": lambda r: then_sgd(optax.add_noise(r, 0.5, key=0)),
    "apply_if_finite": lambda r: optax.apply_if_finite(own(r), 2),
    "chain": lambda r: optax.chain(optax.trace(0.9), own(r)),
    "clip": lambda r: then_sgd(optax.clip(r)),
    "clip_by_block_rms": lambda r: then_sgd(optax.clip_by_block_rms(r)),
    "clip_by_global_norm": lambda r: then_sgd(optax.clip_by_global_norm(r)),
    "conditionally_mask": lambda r: optax.conditionally_mask(own(r), lambda step: step < 3),
    "conditionally_transform": lambda r: optax.conditionally_transform(own(r), lambda step: step < 3),
    "ema": lambda r: then_sgd(optax.ema(r)),
    "flatten": lambda r: optax.flatten(own(r)),
    "freeze": lambda r: optax.chain(own(r), optax.freeze(lambda p: jax.tree.map(lambda x: x.ndim < 2, p))),
    "inject_hyperparams": lambda r: optax.inject_hyperparams(optax.adam)(learning_rate=r),
    "inject_stateful_hyperparams": lambda r: optax.inject_stateful_hyperparams(optax.adam)(learning_rate=r),
    "keep_params_nonnegative": lambda r: optax.chain(own(r), optax.keep_params_nonnegative()),
    "masked": lambda r: optax.masked(own(r), first),
    "measure_with_ema": lambda r: optax.chain(
        optax.monitor({"norm": optax.measure_with_ema(optax.tree.norm, r)}), own()
    ),
    "multi_transform": lambda r: optax.multi_transform({True: own(r), False: optax.set_to_zero()}, first),
    "named_chain": lambda r: optax.named_chain(("all", own(r))),
    "noisy_sgd": lambda r: optax.noisy_sgd(r, key=0),
    "partition": lambda r: optax.partition({True: own(r), False: optax.adam(r)}, first),
    "scale": lambda r: optax.scale(-r),
    "scale_by_distance_over_gradients": lambda r: then_sgd(optax.scale_by_distance_over_gradients(), r),
    "scale_by_learning_rate": optax.scale_by_learning_rate,
    "scale_by_rprop": lambda r: optax.chain(optax.scale_by_rprop(r), optax.scale(-1)),
    "scale_by_backtracking_linesearch": lambda r: optax.chain(
        own(r), optax.scale_by_backtracking_linesearch(4, store_grad=True)
    ),
    "scale_by_zoom_linesearch": lambda r: optax.chain(own(r), optax.scale_by_zoom_linesearch(4)),
    "scale_by_schedule": lambda r: optax.scale_by_schedule(lambda count: -r / (count + 1)),
    "selective_transform": lambda r: optax.selective_transform(own(r), freeze_mask=lambda p: first(p)),
    "snapshot": lambda r: optax.chain(optax.snapshot("norm", optax.tree.norm), own(r)),
    "stateless": lambda r: optax.stateless(lambda g, p: jax.tree.map(lambda x: -r * x, g)),
    "stateless_with_tree_map": lambda r: optax.stateless_with_tree_map(lambda g, p: -r * g),
    "trace": lambda r: then_sgd(optax.trace(r)),
    "with_extra_args_support": lambda r: optax.with_extra_args_support(own(r)),
    "MultiSteps": lambda r: optax.MultiSteps(own(r), 2).gradient_transformation(),
    "lbfgs": lambda r: optax.lbfgs(r, linesearch=optax.scale_by_zoom_linesearch(4)),
    "galore": lambda r: contrib.galore(r, rank=2),
    "scale_by_galore": lambda r: then_sgd(contrib.scale_by_galore(rank=2), r),
    "scale_by_muon": lambda r: then_sgd(
        optax.masked(contrib.scale_by_muon(weight_dimension_numbers=dimensions), first), r
    ),
    "mechanize": lambda r: contrib.mechanize(own(r)),
    "reduce_on_plateau": lambda r: optax.chain(own(r), contrib.reduce_on_plateau()),
    "sam": lambda r: contrib.sam(own(r), optax.chain(contrib.normalize(), own())),
    "scale_by_madgrad": lambda r: contrib.scale_by_madgrad(r),
    "schedule_free": lambda r: contrib.schedule_free(own(r), r),
    "split_real_and_imaginary": lambda r: contrib.split_real_and_imaginary(own(r)),
}
REFUSED: dict[str, Any] = {
    "lookahead": (lambda r: optax.lookahead(own(r), 2, 0.5), "has no attribute 'fast'"),
    "differentially_private_aggregate": (
        lambda r: then_sgd(contrib.differentially_private_aggregate(1.0, 0.1, key=0), r),
        "per_example_global_norm_clip",
    ),
    "dpsgd": (lambda r: contrib.dpsgd(r, 1.0, 0.1, 0), "per_example_global_norm_clip"),
}


def transformations() -> list[str]:
    """All public names of functions and classes that make a transformation."""
    found = {"MultiSteps"}
    for module in (optax, contrib):
        for name, value in vars(module).items():
            if name.startswith("_") or not inspect.isfunction(value):
                continue
            if "GradientTransformation" in str(inspect.signature(value).return_annotation):
                found.add(name)
    return sorted(found)


NAMES = transformations()


def made(name: str, rate: Any) -> optax.GradientTransformation:
    if name in REFUSED:
        return REFUSED[name][0](rate)
    if name in MADE:
        return MADE[name](rate)
    function = getattr(optax, name, None) or getattr(contrib, name)
    if "learning_rate" in inspect.signature(function).parameters:
        return function(rate)
    return then_sgd(function(), rate)


def task(optimizer: optax.GradientTransformation) -> Any:
    return tasks.classification(models.MLP((3,), 10), data.digits(), optimizer, steps=1, batch_size=4)


def one_step(name: str, rate: Any) -> Any:
    experiment = task(made(name, rate))
    batch = batch_of(experiment.train)
    state = experiment.learner.init(jax.random.key(0))
    after, metrics = experiment.learner.step(state, batch, jax.random.key(1))
    return (
        after,
        metrics,
        experiment.learner.evaluate(after, batch | {"weight": jnp.ones(4)}, jax.random.key(0)),
    )


@pytest.mark.parametrize("name", NAMES)
def test_each_is_traced_with_a_traced_rate_or_refused_in_one_line(name):
    run = lambda rate: one_step(name, rate)  # noqa: E731
    if name in REFUSED:
        with pytest.raises(ValueError, match=REFUSED[name][1]) as error:
            jax.eval_shape(run, jnp.float32(RATE))
        assert "\n" not in str(error.value) and "expected" in str(error.value)
        return
    state, metrics, _ = jax.eval_shape(run, jnp.float32(RATE))
    assert state.params["Dense_0"]["kernel"].shape == (3, 10)
    assert set(metrics) == {"loss", "accuracy", "update_norm"}
