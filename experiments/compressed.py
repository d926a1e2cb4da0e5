"""How much smaller may a trained net be before it reads digits worse?

Han, Mao and Dally 2016, Deep Compression, table 1, store LeNet-300-100 in a 40th of its bytes without loss on
MNIST, by pruning, quantisation and entropy coding. Here the same net of 300 and 100 units reads
scikit-learn's 8x8 digits, as it is and in several ways of making it smaller, all of as many steps
(compressed_mnist.py: LeNet-5 reads MNIST). Bytes are of the numbers that are needed, see
`fdl.models.stored_bytes`; there is no entropy coding. FLOPs are of the products of one row in a program that
skips zeros and multiplies by one thin factor after the other. fdl exports no such program, and none that
computes with integers; how long those take that it does export is measured by benchmarks/latency.py.

Three claims: eight bits after training take at most 27 % of the bytes, and accuracy stays within 0.5 points;
without nine of ten weights, by their size, it stays within 1 point (control: by chance it does not); and
(Frankle and Carbin 2019, The Lottery Ticket Hypothesis, sec. 2) of twenty weights the one that is left learns
at least 1 point more from where it started than from other numbers. Against the last: Liu et al. 2019,
Rethinking the Value of Network Pruning, sec. 6: at a usual learning rate a new start is as good.

    fdl sweep experiments/compressed.py

3.8 minutes of processor time; 11 minutes on 2 cores that others used too (2026-11-28).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import fdl
from fdl import data, metrics, models, optim, tasks
from fdl.optim.paths import names


def as_it_is(model: nn.Module) -> nn.Module:
    """The model, its parameters named as those of one that is rounded: so all start from the same numbers."""
    return models.MixedPrecision(model, compute=jnp.float32)


class Method(NamedTuple):
    """How a net becomes smaller.

    Attributes:
      model: the model as it is trained and evaluated, of the plain one.
      optimizer: of Adam and the steps.
      stored: what is kept of the parameters when it is judged.
      bits: of a stored weight.
    """

    model: Callable[[nn.Module], nn.Module] = as_it_is
    optimizer: Callable[[Any, int], Any] = lambda adam, steps: adam
    stored: Callable[[Any], Any] = lambda params: params
    bits: int = 32


def pruning(share: float, **options: Any) -> Callable[[Any, int], Any]:
    """Adam and a sparsity that rises as a cubic from a fifth to three fifths of the steps."""

    def pruned(adam: Any, steps: int) -> Any:
        schedule = optax.polynomial_schedule(0.0, share, 3, steps * 2 // 5, steps // 5)
        return optax.chain(adam, optim.pruning(schedule, every=steps // 50, **options))

    return pruned


def ticket(*, reinitialise: bool) -> Callable[[Any, int], Any]:
    """Adam for half of the steps, then for the other half with a twentieth of the weights."""
    return lambda adam, steps: optim.lottery_ticket(
        adam, 0.95, steps=steps // 2, rewind_to=steps // 50, reinitialise=reinitialise
    )


def rounded(bits: int, *, aware: bool, optimizer: Any = None) -> Method:
    """Weights and activations of so many bits, rounded in training or after it."""
    method = Method(lambda model: models.FakeQuantised(model, bits, aware), bits=bits)
    return method if optimizer is None else method._replace(optimizer=optimizer)


def hidden(path: tuple[str, ...]) -> bool:
    """Whether a parameter is a kernel of hidden units, or of a convolution's filters: the last layer's units
    are the classes."""
    return path[1].startswith(("Layer", "Conv")) and path[-1] == "kernel"


def plain() -> Method:
    return Method()


def int8_after() -> Method:
    return rounded(8, aware=False)


def int4_after() -> Method:
    return rounded(4, aware=False)


def int4_aware() -> Method:
    return rounded(4, aware=True)


def nine_tenths() -> Method:
    return Method(optimizer=pruning(0.9))


def nine_tenths_by_chance() -> Method:
    return Method(optimizer=pruning(0.9, score=optim.by_chance))


def half_of_units() -> Method:
    return Method(optimizer=pruning(0.5, score=optim.unit_magnitude, chosen=hidden))


def rank_32() -> Method:
    return Method(stored=lambda params: models.low_rank(params, rank=32))


def nine_tenths_int8() -> Method:
    return rounded(8, aware=True, optimizer=pruning(0.9))


def ticket_rewound() -> Method:
    return Method(optimizer=ticket(reinitialise=False))


def ticket_reinitialised() -> Method:
    return Method(optimizer=ticket(reinitialise=True))


@fdl.config
class Config:
    method: Callable = plain
    """how the net becomes smaller"""
    mnist: bool = False
    """whether LeNet-5 reads MNIST's images, instead of LeNet-300-100 the 8x8 digits"""
    lr: float = fdl.traced(1e-3, low=0.0)
    """Adam's learning rate"""
    steps: int = fdl.static(2000, low=50)
    """updates of 64 images each"""


def experiment(config: Config) -> fdl.Experiment:
    method = config.method()
    net = models.lenet5(10, padding=2) if config.mnist else models.MLP((300, 100), 10)
    splits = data.mnist() if config.mnist else data.digits()
    optimizer = method.optimizer(optax.adam(config.lr), config.steps)
    built = tasks.classification(
        method.model(net), splits, optimizer, steps=config.steps, evaluate_every=config.steps
    )
    return built._replace(learner=judged_as_stored(built.learner, method, method.model(net)))


def judged_as_stored(learner: fdl.Learner, method: Method, model: nn.Module) -> fdl.Learner:
    """The learner that is evaluated by what is stored; its bytes, their share of the net's, and its FLOPs."""

    def evaluate(state: tasks.State, batch: Any, key: jax.Array) -> dict[str, Any]:
        kept = method.stored(state.params)
        found = dict(learner.evaluate(state._replace(params=models.full_rank(kept)), batch, key))
        full = models.stored_bytes({"params": jax.tree.map(jnp.ones_like, state.params)})
        size = models.stored_bytes({"params": kept, **state.model_state}, bits=method.bits)
        counted = {"bytes": size, "bytes_share": size / full, "flops": flops(kept, model, batch["x"])}
        return found | {name: metrics.mean(jnp.asarray([one])) for name, one in counted.items()}

    return learner._replace(evaluate=evaluate)


def flops(kept: Any, model: nn.Module, x: jax.Array) -> jax.Array:
    """The floating-point operations of one row's products: a multiplication and an addition for each weight
    that is not zero, at each place of a map, whose padding counts too."""
    places = uses(model, x)
    total = jnp.zeros(())
    for path, leaf in jax.tree_util.tree_leaves_with_path(nn.meta.unbox(kept)):
        *layer, name = names(path)
        if name == "kernel":
            total += 2 * places[tuple(layer)] * jnp.count_nonzero(leaf)
    return total


def uses(model: nn.Module, x: jax.Array) -> dict[tuple[str, ...], int]:
    """How often one row's outputs use each kernel, by its layer's path: a dense layer's once, a convolution's
    at each place of its map."""
    found: dict[tuple[str, ...], int] = {}

    def each(function: Any, args: Any, options: Any, context: Any) -> Any:
        outputs = function(*args, **options)
        if context.method_name == "__call__" and context.module.has_variable("params", "kernel"):
            found[context.module.path] = math.prod(outputs.shape[1:-1])
        return outputs

    with nn.intercept_methods(each):
        jax.eval_shape(model.init, jax.random.key(0), x)
    return found


METHODS = (
    *(plain, int8_after, int4_after, int4_aware, nine_tenths, nine_tenths_by_chance, half_of_units),
    *(rank_32, nine_tenths_int8, ticket_rewound, ticket_reinitialised),
)
SWEEP = fdl.grid(Config(), method=METHODS, seeds=12)
FRONT = {"test/accuracy": "higher", "test/bytes": "lower", "test/flops": "lower"}


def within(result: fdl.Result, points: float, method: Callable) -> fdl.Verdict:
    """Whether a method's accuracy on test is within so many points of the plain net's."""
    two = result.where(method=[plain, method])
    return fdl.compare(
        two, metric="test/accuracy", arms="method", baseline=plain, equivalent=points / 100
    ).verdict


def int8_is_small(result: fdl.Result) -> fdl.Verdict:
    """Counted out, not tested: bytes are the same from every seed."""
    share = result.where(method=int8_after).last()["test/bytes_share"].max()
    told = f"int8_after takes {share:.1%} of the bytes."
    small = fdl.Verdict("SUPPORTED" if share <= 0.27 else "REFUTED", told, "at most 27 % of the bytes", ())
    return fdl.all_of(small, within(result, 0.5, int8_after))


def tickets_win(result: fdl.Result) -> fdl.Verdict:
    two = result.where(method=[ticket_rewound, ticket_reinitialised])
    return fdl.compare(
        two, metric="test/accuracy", arms="method", baseline=ticket_reinitialised, at_least=0.01
    ).verdict


CLAIMS = (
    fdl.Claim(
        "E4.1",
        "Eight bits after training take at most 27 % of the bytes, within 0.5 points.",
        int8_is_small,
        published="within 2 points for most nets of ImageNet (Krishnamoorthi 2018, sec. 3)",
    ),
    fdl.Claim(
        "E4.2",
        "Without 90 % of the weights, by size, accuracy is within 1 point; by chance it is not.",
        lambda result: within(result, 1.0, nine_tenths),
        control=lambda result: within(result, 1.0, nine_tenths_by_chance),
        published="92 % of LeNet-300-100 without loss (Han et al. 2016, table 2)",
    ),
    fdl.Claim(
        "E4.3",
        "With 5 % of the weights, the start that was trained learns at least 1 point more than another.",
        tickets_win,
        published="winning tickets of 3.6 % and more (Frankle and Carbin 2019, sec. 2)",
    ),
)
