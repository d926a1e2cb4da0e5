"""What a classifier says of the rows of a split, and the rows themselves, on the host."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdl.experiment import Experiment, Source
from fdl.text import hint
from fdl.trained.run import TrainedRun

MOST_GROUPS = 20
_BATCH = 512


class Said(NamedTuple):
    """Rows of a split, those of no weight left out, and what a classifier says of them.

    Attributes:
      x: as the model gets them, `[N, ...]`.
      y: the labels, `[N]`.
      label: the classes that it says, `[N]`.
      probability: `[N, C]`.
      columns: the other columns, `[N]` each, by name.
    """

    x: Any
    y: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    columns: Mapping[str, np.ndarray]

    @property
    def right(self) -> np.ndarray:
        """Whether each row is given its label, `[N]`."""
        return self.label == self.y

    @property
    def log_probability(self) -> np.ndarray:
        """As good as logits but for a constant a row, `[N, C]`."""
        return np.log(np.maximum(self.probability, np.finfo(np.float32).tiny))

    def taken(self, index: np.ndarray) -> "Said":
        """Some of the rows."""
        x, columns = jax.tree.map(lambda one: one[index], (self.x, dict(self.columns)))
        return Said(x, self.y[index], self.label[index], self.probability[index], columns)


def rows_in(source: Source, *, seed: int, batches: int | None = None) -> dict[str, Any]:
    """The rows of a source's batches (of one pass, if `batches` is None), those of weight 0 left out."""
    key = jax.random.key(seed)
    words = np.asarray(jax.random.key_data(key))
    read = jax.jit(source.batch)
    found = []
    for step in range(source.batches if batches is None else batches):
        arrays = source.fetch(step, words, slice(None)) if source.fetch else source.arrays
        batch = dict(jax.device_get(read(arrays, jnp.int32(step), key)))
        there = batch.pop("weight", np.ones(len(jax.tree.leaves(batch)[0]))) > 0
        found.append(jax.tree.map(lambda one, there=there: one[there], batch))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def classify_of(run: TrainedRun) -> Callable[[Any, Any], tuple[jax.Array, jax.Array]]:
    """`(state, x) -> (labels [B], probabilities [B, C])`, pure, of rows as the model gets them.

    Raises:
      ValueError: the run is no classifier with one label a row.
    """
    predict = run.experiment.learner.predict
    if predict is None:
        raise ValueError("fdl check is for classifiers, and the experiment's learner predicts nothing")
    source = _source(run.experiment, next(iter(run.experiment.evaluation)))
    batch = jax.eval_shape(source.batch, source.arrays, jnp.int32(0), jax.random.key(0))
    says = jax.eval_shape(lambda state, x: predict(state, {"x": x}), run.state, batch["x"])
    shapes = {name: list(one.shape) for name, one in says.items()}
    y = batch.get("y")
    if len(shapes.get("label", ())) != 1 or len(shapes.get("probability", ())) != 2 or jnp.ndim(y) != 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            "fdl check is for classifiers, which say label [B] and probability [B, C] of labels [B]; this "
            f"run says {told}"
        )

    def classify(state: Any, x: Any) -> tuple[jax.Array, jax.Array]:
        said = predict(state, {"x": x})
        return said["label"], said["probability"]

    return classify


def _source(experiment: Experiment, split: str) -> Source:
    if split not in experiment.evaluation:
        raise ValueError(f"the experiment has no split {split!r}; {hint(split, experiment.evaluation)}")
    return experiment.evaluation[split]


def said_of(run: TrainedRun, split: str, classify: Callable[[Any, Any], Any]) -> Said:
    """The rows of a split, and what the run says of them.

    Raises:
      ValueError: there is no such split.
    """
    return said_of_rows(run, rows_in(_source(run.experiment, split), seed=run.seed), classify)


def said_of_rows(run: TrainedRun, rows: Mapping[str, Any], classify: Callable[[Any, Any], Any]) -> Said:
    """Rows as the model gets them, and what the run says of them."""
    size, compiled, parts = len(rows["y"]), jax.jit(classify), []
    for start in range(0, size, _BATCH):
        index = np.minimum(np.arange(start, start + min(size, _BATCH)), size - 1)
        found = jax.device_get(compiled(run.state, jax.tree.map(lambda one, at=index: one[at], rows["x"])))
        parts.append([one[: size - start] for one in found])
    label, probability = (np.concatenate(one) for one in zip(*parts, strict=True))
    others = {name: one for name, one in rows.items() if name not in ("x", "y") and np.ndim(one) == 1}
    return Said(rows["x"], rows["y"], label, probability, others)


def rows_by_value(said: Said, name: str) -> dict[str, np.ndarray]:
    """The rows of each value of a column, as `"sex=1"`: one beside x and y, or as `x[3]` a number of x.

    Raises:
      ValueError: there is no such column, it has one value, or more than 20.
    """
    columns = dict(said.columns)
    if isinstance(said.x, np.ndarray) and said.x.ndim == 2:
        columns |= {f"x[{place}]": said.x[:, place] for place in range(said.x.shape[1])}
    if name not in columns:
        raise ValueError(
            f"--group {name}: the rows have no such column; there are {', '.join(said.columns) or 'none'} "
            "beside x and y, and x[0], x[1], ... where x is [N, F]"
        )
    values = np.unique(columns[name])
    if not 2 <= len(values) <= MOST_GROUPS:
        raise ValueError(f"--group {name} has {len(values)} values; expected 2 to {MOST_GROUPS}")
    return {f"{name}={value:g}": np.flatnonzero(columns[name] == value) for value in values}
