"""What can be found wrong with an experiment by its shapes alone: nothing is compiled, nothing runs."""

import gc
import random
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fdl import tree
from fdl.experiment import Best, Experiment, Learner, Source, Stopper
from fdl.inspection.kinds import check_inspected
from fdl.metrics import Mean
from fdl.train.rows import best_of, metric_names
from fdl.train.user_errors import told

MOST = 2**31 - 1
"""Steps are counted in int32."""
_DRAWS = (
    "draws random numbers from NumPy or Python while it is traced: the same at every step, others in every "
    "program; draw with jax.random from a key"
)
LONGEST = 100
"""Characters of a metric's name: it names columns and files."""


def check(experiment: Experiment) -> tuple[str, ...]:
    """Whether an experiment keeps the contract of `fdl.experiment`; pure, and nothing is compiled.

    Each function is traced once (`jax.eval_shape`): the state that a step returns is of the structure,
    shapes and dtypes of the one that it got, metrics are scalars or means, numbers of steps are whole.

    Args:
      experiment: what a file's `experiment(config)` returns.

    Returns:
      The names of the metrics of a row, those of the steps first, as `train/loss`.

    Raises:
      ValueError: something is wrong: which part, what was found, what was expected.

    Example:
      >>> import fdl, numpy as np, optax
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 4), np.float32), "y": np.zeros((8, 1), np.float32)}
      >>> splits = data.Splits(rows, rows, rows)
      >>> experiment = tasks.regression(models.MLP((), 1), splits, optax.sgd(0.1), steps=10)
      >>> fdl.check(experiment)[:2]
      ('train/absolute_error', 'train/loss')
    """
    _check_parts(experiment)
    generators = _generators()
    learner, key = experiment.learner, jax.random.key(0)
    state = _shapes("learner.init", learner.init, key)
    if state is None:
        raise ValueError("learner.init returns None; expected a state, a pytree of arrays")
    _check_state(state, learner)
    batch = _batch("train", experiment.train)
    _check_step(_shapes("learner.step", learner.step, state, batch, key), state)
    for split, source in experiment.evaluation.items():
        metrics = _shapes(
            "learner.evaluate", learner.evaluate, state, _batch(f"evaluation[{split!r}]", source), key
        )
        _check_metrics(f"learner.evaluate(...) of {split!r}", metrics, means=True)
    names = metric_names(experiment)
    if experiment.stop:
        _check_stopper(experiment.stop, names)
    if experiment.inspect is not None:
        _expect_callable("inspect", experiment.inspect)
        check_inspected(_shapes("inspect", experiment.inspect, state, key))
    if any(str(one.bit_generator.state) != before for one, before in generators):
        raise ValueError(f"a function of the experiment {_DRAWS}")
    return names


def built(build: Callable[[Any], Experiment], config: Any) -> Experiment:
    """`build(config)`.

    Raises:
      ValueError: it fails, or returns something else than an experiment.
    """
    with told("experiment(config)", hidden=False):
        experiment = build(config)
    _expect("experiment(config)", experiment, Experiment, "return one, as tasks.classification(...) makes it")
    return experiment


def check_key(key: Any) -> None:
    """Raises `ValueError` unless `key` is one key of JAX's new kind."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0):
        raise ValueError(f"key is {tree.shown(key)}; expected one key, as jax.random.key(0)")


def _check_parts(experiment: Any) -> None:
    _expect("the experiment", experiment, Experiment, "give what experiment(config) returns")
    _expect("learner", experiment.learner, Learner, "Learner(init, step, evaluate)")
    for name in ("init", "step", "evaluate"):
        _expect_callable(f"learner.{name}", getattr(experiment.learner, name))
    if experiment.learner.predict is not None:
        _expect_callable("learner.predict", experiment.learner.predict)
    required = experiment.learner.required
    if isinstance(required, str) or not all(isinstance(name, str) for name in required):
        raise ValueError(f"learner.required is {required!r}; expected a tuple of names, as ('loss',)")
    _expect("evaluation", experiment.evaluation, Mapping, "a dictionary of sources, as {'test': ...}")
    for split, source in experiment.evaluation.items():
        if not isinstance(split, str) or split == "train" or not split or "/" in split:
            raise ValueError(
                f"evaluation has a split {split!r}; expected another name than 'train', without /"
            )
        _check_source(f"evaluation[{split!r}]", source)
    _check_source("train", experiment.train)
    for name in ("steps", "evaluate_every"):
        _check_count(name, getattr(experiment, name))
    if experiment.log_every is not None:
        _check_count("log_every", experiment.log_every)
    if experiment.stop is not None:
        _expect("stop", experiment.stop, Stopper, "as train.early_stopping(...) makes it")
    if (best := best_of(experiment)) is not None:
        _expect("best", best, Best, "as fdl.Best('validation/loss', 'lower')")
        if best.better not in ("higher", "lower"):
            raise ValueError(f"best.better is {best.better!r}; expected 'higher' or 'lower'")


def _check_source(name: str, source: Any) -> None:
    _expect(name, source, Source, "Source(arrays, batch, batches)")
    _expect_callable(f"{name}.batch", source.batch)
    if source.fetch is not None:
        _expect_callable(f"{name}.fetch", source.fetch)
    _check_count(f"{name}.batches", source.batches)
    for path, leaf in tree.leaves_of(source.arrays, name=f"{name}.arrays").items():
        if not _has_numbers(leaf):
            raise ValueError(f"{path} is {tree.shown(leaf)}; expected an array of numbers")
        if beyond := too_large(leaf):
            raise ValueError(f"{path} {beyond}")


def too_large(leaf: Any) -> str | None:
    """In words, if an array has a whole number that JAX, whose integers have 32 bits, would wrap around."""
    if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "iu" or leaf.dtype.itemsize < 4:
        return None
    kept = jax.dtypes.canonicalize_dtype(leaf.dtype)
    if kept == leaf.dtype or not leaf.size:
        return None
    low, high, limit = int(leaf.min()), int(leaf.max()), np.iinfo(kept)
    if limit.min <= low and high <= limit.max:
        return None
    one = high if high > limit.max else low
    return f"has the number {one}, which {kept} does not hold; take floats, or smaller numbers"


def _has_numbers(leaf: Any) -> bool:
    """Whether JAX takes it: no texts, dates, objects or records."""
    dtype = getattr(leaf, "dtype", None)
    if dtype is None:
        return isinstance(leaf, bool | int | float)
    return getattr(dtype, "kind", "") not in "OSUMm" and not getattr(dtype, "names", None)


def _check_count(name: str, count: Any) -> None:
    whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
    if not whole or not 1 <= count <= MOST:
        kind = "" if whole else f" ({type(count).__name__})"
        raise ValueError(f"{name} is {count!r}{kind}; expected a whole number from 1 to {MOST}")


def _shapes(name: str, function: Callable[..., Any], *given: Any) -> Any:
    """What a user's function returns, as shapes."""
    before = _randomness()
    with told(name):
        try:
            shapes = jax.eval_shape(function, *given)
            if _randomness() != before:
                raise ValueError(f"{name} {_DRAWS}")
            return shapes
        except TypeError as error:
            # JAX names no path where something is returned that is no array.
            if "not a valid JAX type" not in str(error):
                raise
        _look_at(name, function, *given)
        return None


def _randomness() -> Any:
    """The states of the generators of random numbers that programs share."""
    shared: Any = np.random.get_state(legacy=False)
    return shared["state"]["key"].tobytes(), shared["state"]["pos"], shared["has_gauss"], random.getstate()


def _generators() -> list[tuple[np.random.Generator, str]]:
    """NumPy's generators that anyone holds, with their states: a step may reach one in many ways."""
    held = [one for one in gc.get_objects() if type(one) is np.random.Generator]
    return [(one, str(one.bit_generator.state)) for one in held]


def _look_at(name: str, function: Callable[..., Any], *given: Any) -> None:
    """Raises `ValueError` for the first leaf of what a function returns that is no array."""

    def looked(*given: Any) -> None:
        for path, leaf in tree.leaves_of(function(*given), name=f"{name}(...)").items():
            if not isinstance(leaf, jax.Array) and not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
                raise ValueError(f"{path} is {tree.shown(leaf)}; expected an array")

    jax.eval_shape(looked, *given)


def _check_state(state: Any, learner: Learner) -> None:
    # A number of Python's has a weak type, as few arrays have; only then it pays to look at what is returned.
    if any(getattr(leaf, "weak_type", False) for leaf in jax.tree.leaves(state)):
        with told("learner.init"):
            _look_at("learner.init", learner.init, jax.random.key(0))


def _batch(name: str, source: Source) -> Any:
    key = jax.random.key(0)
    return _shapes(f"{name}.batch", source.batch, source.arrays, jnp.int32(0), key)


def _check_step(given: Any, state: Any) -> None:
    if not (isinstance(given, tuple) and len(given) == 2):
        raise ValueError(f"learner.step(...) is {_kind(given)}; expected (state, metrics)")
    if wrong := tree.difference(given[0], state, name="state"):
        raise ValueError(f"the state that learner.step returns: {wrong}, as learner.init made it")
    _check_metrics("learner.step(...)[1]", given[1], means=False)


def _check_metrics(name: str, metrics: Any, *, means: bool) -> None:
    _expect(name, metrics, Mapping, "metrics by name, as {'loss': ...}")
    of_split = "a fdl.metrics.Mean, or another of fdl.metrics with a scalar value"
    wanted = of_split if means else "a scalar, or a fdl.metrics.Mean"
    for metric, value in metrics.items():
        if not isinstance(metric, str) or not 1 <= len(metric) <= LONGEST or not metric.isprintable():
            raise ValueError(
                f"{name} has a metric {str(metric)[:60]!r}; expected a name of 1 to {LONGEST} letters"
            )
        scalars = value if type(value) is Mean else [value]
        if not (_is_sum(value) if means else all(map(_is_scalar, scalars))):
            raise ValueError(f"{name}[{metric!r}] is {_kind(value)}; expected {wanted}")


def _is_sum(value: Any) -> bool:
    """Whether it is a `Mean`, or another tree of sums over a split that has a scalar `value`."""
    if type(value) is Mean:
        return all(map(_is_scalar, value))
    return hasattr(type(value), "value") and _is_scalar(jax.eval_shape(lambda sums: sums.value, value))


def _is_scalar(value: Any) -> bool:
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape != ():
        return False
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    return any(jnp.issubdtype(value.dtype, kind) for kind in kinds)


def _check_stopper(stop: Stopper, names: tuple[str, ...]) -> None:
    state = _shapes("stop.init", stop.init)
    metrics = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in names}
    given = _shapes("stop.update", stop.update, state, metrics)
    if not (isinstance(given, tuple) and len(given) == 2):
        raise ValueError(f"stop.update(...) is {_kind(given)}; expected (state, stop)")
    if wrong := tree.difference(given[0], state, name="state"):
        raise ValueError(f"the state that stop.update returns: {wrong}, as stop.init made it")
    if wrong := tree.difference(given[1], jax.ShapeDtypeStruct((), jnp.bool_), name="stop"):
        raise ValueError(f"stop.update(...)[1]: {wrong}")


def _expect(name: str, value: Any, kind: type, how: str) -> None:
    if not isinstance(value, kind):
        wanted = f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
        raise ValueError(f"{name} is {_kind(value)}; expected {wanted}: {how}")


def _expect_callable(name: str, value: Any) -> None:
    if not callable(value):
        raise ValueError(f"{name} is {_kind(value)}; expected a function")


def _kind(value: Any) -> str:
    """What was found instead: an array's shape, `None`, or the type with the beginning of its value."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"a tuple of {len(value)}"
    if value is None:
        return "None"
    if hasattr(value, "shape") or isinstance(value, type):
        return tree.shown(value)
    told = ", ".join(f"{path} {tree.shown(leaf)}" for path, leaf in tree.leaves_of(value, name="").items())
    return (
        f"a {type(value).__name__} of {told[:100]}" if isinstance(value, tuple | dict) else tree.shown(value)
    )
