"""Whether a language model remembers texts that were put into its training to see that."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from fdl.analysis import exposure
from fdl.arguments import checked
from fdl.report.model_card import Checked, ModelCard, NotChecked
from fdl.stats.of_rows import bootstrap_interval
from fdl.trained.checks_said import FEW, Found, rate
from fdl.trained.checks_seen import area
from fdl.trained.run import TrainedRun


@checked
def canary_card(run: TrainedRun, *, canaries: np.ndarray, others: np.ndarray) -> ModelCard:
    """The model card of a language model: the exposure of canaries (Carlini et al. 2019, The Secret Sharer).

    Args:
      run: of a language model, which says the `log_probability` of a text.
      canaries: texts that were drawn at random and put into its training, tokens `[K, T]`.
      others: texts that were drawn likewise and were not, `[R, T]`.

    Raises:
      ValueError: a run that says no such thing, or texts of another length or number of axes.
    """
    if canaries.ndim != 2 or canaries.shape[1:] != others.shape[1:] or not len(canaries) or not len(others):
        raise ValueError(
            f"canaries are {list(canaries.shape)} and others {list(others.shape)}; expected tokens [K, T] "
            "and [R, T] of one length, some of each"
        )
    said = run.predict({"x": np.concatenate([canaries, others])})
    if "log_probability" not in said:
        raise ValueError(
            f"canaries are of language models, which say log_probability; this run says {', '.join(said)}"
        )
    likely = np.asarray(said["log_probability"], np.float64)
    own, rest = np.split(likely, [len(canaries)])
    found = _found(own, rest)
    count = sum(one.size for one in jax.tree.leaves(run.variables["params"]))
    found.append(Checked("parameters", "", float(count), None, None, None))
    found.append(NotChecked("all other checks", "they are of classifiers with one label a row"))
    return ModelCard(
        {"Run": f"{run.arm} seed {run.seed}", "Step": f"{run.step:,}"}
        | {"Canaries": f"{len(own):,}", "Other texts": f"{len(rest):,}"},
        tuple(one for one in found if isinstance(one, Checked)),
        tuple(one for one in found if isinstance(one, NotChecked)),
    )


def _found(own: np.ndarray, rest: np.ndarray) -> Found:
    """Of log-probabilities of canaries `[K]` and of others `[R]`."""
    most = f"against {len(rest):,} other texts"
    found: Found = [
        area("canaries: AUC of the loss", own, rest, f"half is not remembered; {most}"),
        rate("canaries likelier than all others", own > rest.max(), how=most),
    ]
    if len(own) < FEW:
        few = f"there are {len(own)} canaries; fewer than {FEW} leave no interval"
        return [*found, NotChecked("mean exposure of canaries", few)]
    bits = np.asarray(exposure(jnp.asarray(-own), jnp.asarray(-rest)), np.float64)
    ends = bootstrap_interval(lambda at: bits[at].mean(), len(bits))
    how = f"bits; {1 / math.log(2):.2f} is chance, {math.log2(len(rest) + 1):.1f} the most; bootstrap"
    return [*found, Checked("mean exposure of canaries", "", float(bits.mean()), *ends, len(bits), how)]
