"""Adversarial learning: a generator against a discriminator, each with an optimizer of its own."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Unpack

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from fdl import rng, shards
from fdl.arguments import Count, NotNegative, Share, checked
from fdl.data import Augmentation, Splits
from fdl.data.splits import prepared_row
from fdl.data.verified import outside, verified
from fdl.experiment import Batch, Experiment, Learner, Metrics
from fdl.metrics import Mean, mean
from fdl.models.gan import Conditional
from fdl.tasks.accumulation import Passed, Variables, micro_batches, passed
from fdl.tasks.averaging import moved_to
from fdl.tasks.distances import energy_distance, sliced_wasserstein
from fdl.tasks.gan_losses import GANLoss, gradient_penalty, non_saturating
from fdl.tasks.gradient import State, descend, variables
from fdl.tasks.players import Inputs, Players, apply, check_players, player_of, prefixed, start
from fdl.tasks.training import Training, experiment_over, task

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""
_REQUIRED = tuple(f"{a}_{b}" for a in ("generator", "discriminator") for b in ("loss", "update_norm"))


class _Rules(NamedTuple):
    """What stays the same from step to step; see `adversarial_learner`."""

    generator: nn.Module
    discriminator: nn.Module
    latent: int
    loss: GANLoss
    penalty: Number
    conditional: bool
    accumulate: int


@task
def adversarial(
    generator: nn.Module,
    discriminator: nn.Module,
    splits: Splits,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    latent: Count,
    batch_size: Count = 64,
    loss: GANLoss = non_saturating,
    critic_steps: Count = 1,
    penalty: NotNegative[Number] = 0.0,
    average: Share[Number] | None = None,
    conditional: bool = False,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    **training: Unpack[Training],
) -> Experiment:
    """Learning to generate rows that a discriminator cannot tell from the data's.

    WGAN-GP is `loss=wasserstein, penalty=10.0, critic_steps=5` with Adam's first moment at 0
    (Gulrajani et al. 2017, algorithm 1). For the metrics see `adversarial_learner`; an evaluation
    batch has 512 rows at most. With `conditional`, rows are generated for labels, those of the data, and
    both players are told them, as `models.Conditional` is: `generator(z, y, train)` with y `[B]`.

    Args:
      generator: a Flax module, `generator(z, train)`: noise `[B, latent]` to rows `[B, ...]`.
      discriminator: a Flax module, `discriminator(x, train)`: rows `[B, ...]` to logits `[B]`.
      splits: `"x"` float `[N, ...]` once prepared, and if `conditional` integers `"y"` `[N]`.
      generator_optimizer: any Optax transformation.
      discriminator_optimizer: any Optax transformation.
      latent: numbers of standard normal noise for each generated row.
      batch_size: real rows in one update of a player; a step reads `critic_steps` times as many.
      loss: what both minimise, as `fdl.tasks.gan_losses.hinge`.
      critic_steps: the discriminator's updates before each of the generator's.
      penalty: factor of `gradient_penalty` in the discriminator's loss.
      average: decay a step of a moving average of the generator's variables, or None: no average.
      conditional: whether both players get the labels.
      augment: what is done to every training batch, or None.
      accumulate: micro-batches in which each update's rows are passed, see `fdl.tasks.accumulation.passed`.
      **training: `steps` (updates of the generator) and others, see `fdl.tasks.training.Training`.

    Raises:
      ValueError: a count below 1, or players that do not fit to the data.

    Example:
      >>> import fdl, numpy as np, optax
      >>> from fdl import data, models, tasks
      >>> rows, adam = {"x": np.zeros((8, 4), np.float32)}, optax.adam(1e-4, b1=0.5)
      >>> players = models.MLPGenerator((16,), (4,)), models.MLPDiscriminator((16,))
      >>> splits = data.Splits(rows, rows, rows)
      >>> experiment = tasks.adversarial(*players, splits, adam, adam, latent=2, steps=100)
      >>> [name for name in fdl.check(experiment) if name.startswith("test")]
      ['test/discriminator_loss', 'test/energy_distance', 'test/sliced_wasserstein']
    """
    row = prepared_row(splits)
    check_players(generator, discriminator, row, latent, conditional=conditional)
    for player in (generator, discriminator) if conditional else ():
        if isinstance(player, Conditional):
            why, fix = f"as a player has {player.classes} classes", "change its classes or the labels"
            fault = outside("y", 0, player.classes - 1, what="labels", why=why, fix=fix)
            splits = verified(splits, ("y",), fault)
    learner = adversarial_learner(
        generator,
        discriminator,
        row["x"].shape[1:],
        generator_optimizer,
        discriminator_optimizer,
        latent=latent,
        loss=loss,
        critic_steps=critic_steps,
        penalty=penalty,
        average=average,
        conditional=conditional,
        accumulate=accumulate,
    )
    return experiment_over(
        learner,
        splits,
        batch_size=critic_steps * batch_size,
        augment=augment,
        accumulate=accumulate,
        **training,
    )


@checked
def adversarial_learner(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[Count, ...],
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    latent: Count,
    loss: GANLoss = non_saturating,
    critic_steps: Count = 1,
    penalty: NotNegative[Number] = 0.0,
    average: Share[Number] | None = None,
    conditional: bool = False,
    accumulate: Count = 1,
) -> Learner:
    """The learner of `adversarial`, for rows `"x"` `[critic_steps · B, *shape]` from any source.

    A step updates the discriminator with the rows `i::critic_steps` for each i in turn, then the
    generator, on new noise. Only a player's own update moves its other collections, such as batch
    statistics; the discriminator sees real and generated rows in batches of their own.

    A step's metrics are both losses, `penalty` where there is one, and `generator_update_norm` and
    `discriminator_update_norm` (see `gradient_learner`). Those of an evaluation, of generated rows whose
    noise is the same in every batch: the mean `discriminator_loss` (without penalty); `energy_distance`
    and `sliced_wasserstein` between a batch's rows and as many generated ones, of all batches the mean
    weighted by their rows, so exact for a split of one batch. Labels are told to the players, but the
    distances are of rows whatever their labels.

    Returns:
      A learner whose state is `Players`.
    """
    rules = _Rules(generator, discriminator, latent, loss, penalty, conditional, accumulate)

    def init(key: jax.Array) -> Players:
        x, *y = _inputs(rules, {"x": jnp.zeros((1, *shape)), "y": jnp.zeros(1, jnp.int32)})
        z = jnp.zeros((1, latent))
        made = start(generator, (z, *y), rng.stream(key, "generator"), generator_optimizer)
        judge = start(discriminator, (x, *y), rng.stream(key, "discriminator"), discriminator_optimizer)
        return Players(made, judge, None if average is None else variables(made))

    def criticise(players: Players, given: tuple[Inputs, jax.Array]) -> tuple[Players, Any]:
        judge, found = _update(
            rules, players, _judging, discriminator_optimizer, players.discriminator, *given
        )
        return players._replace(discriminator=judge), prefixed("discriminator", found)

    def step(players: Players, batch: Batch, key: jax.Array) -> tuple[Players, Metrics]:
        if len(batch["x"]) % critic_steps:
            raise ValueError(
                f"a step got {len(batch['x'])} rows, on one device; expected a multiple of critic_steps = "
                f"{critic_steps}: change the batch size"
            )
        # Every critic step takes its rows from all over the batch: rows on many devices stay there.
        rows = micro_batches(_inputs(rules, batch), critic_steps)
        players, seen = lax.scan(
            criticise, players, (rows, jax.random.split(rng.stream(key, "critic"), critic_steps))
        )
        given = tuple(a[-1] for a in rows), rng.stream(key, "generator")
        made, found = _update(rules, players, _fooling, generator_optimizer, players.generator, *given)
        moved = players.average
        if average is not None:
            moved = moved_to(moved, variables(made), share=1 - average)
        last = jax.tree.map(lambda values: values[-1], seen)
        return Players(made, players.discriminator, moved), {**prefixed("generator", found), **last}

    return Learner(init, step, lambda players, batch, key: _evaluate(rules, players, batch, key), _REQUIRED)


def generate_rows(
    generator: nn.Module, players: Players, z: jax.Array, labels: jax.Array | None = None
) -> jax.Array:
    """Rows `[B, ...]` of noise `[B, latent]`, by the averaged variables where there are any.

    A conditional generator also needs labels `[B]`.
    """
    inputs = (z,) if labels is None else (z, labels)
    given = variables(players.generator) if players.average is None else players.average
    return generator.apply(given, *inputs, train=False, mutable=[])[0]


def _update(
    rules: _Rules,
    players: Players,
    objective: Callable[..., tuple[Mean, Any]],
    optimizer: optax.GradientTransformation,
    player: State,
    real: Inputs,
    key: jax.Array,
) -> tuple[State, Metrics]:
    """A player after an update by these rows, and as many generated ones."""
    z = shards.draw(jax.random.normal, rng.stream(key, "noise"), (len(real[0]), rules.latent))
    loss = functools.partial(objective, rules, players)

    def at(params: Any) -> Passed:
        return passed(loss, params, player.model_state, (z, real), key, accumulate=rules.accumulate)

    return descend(optimizer, player, at, rng.stream(key, "optimizer"))


def _judging(
    rules: _Rules, players: Players, own: Variables, batch: tuple[jax.Array, Inputs], key: jax.Array
) -> tuple[Mean, Any]:
    """The discriminator's loss with variables of its own; metrics and its collections after."""
    (z, real), judge = batch, player_of(own)
    fake, _ = _fake(rules, players.generator, z, real, key)
    of_real, of_fake, judge = _scores(rules, judge, real, fake, key)
    values = rules.loss(of_real, of_fake)[0]
    metrics = {"discriminator_loss": mean(values)}
    if isinstance(rules.penalty, jax.Array) or rules.penalty != 0:
        point, dropout = jax.random.split(rng.stream(key, "penalty"))

        def score(x: jax.Array) -> jax.Array:
            return apply(rules.discriminator, player_of(own), (x, *real[1:]), dropout)[0]

        penalties = gradient_penalty(score, real[0], fake[0], point)
        metrics["penalty"] = mean(penalties)
        values = values + rules.penalty * penalties
    return mean(values), (metrics, judge.model_state)


def _fooling(
    rules: _Rules, players: Players, own: Variables, batch: tuple[jax.Array, Inputs], key: jax.Array
) -> tuple[Mean, Any]:
    """The generator's loss with variables of its own; metrics and its collections after."""
    z, real = batch
    fake, made = _fake(rules, player_of(own), z, real, key)
    of_real, of_fake, _ = _scores(rules, players.discriminator, real, fake, key)
    value = mean(rules.loss(of_real, of_fake)[1])
    return value, ({"generator_loss": value}, made.model_state)


def _inputs(rules: _Rules, batch: Batch) -> Inputs:
    """What the discriminator is told of a batch's rows."""
    return (batch["x"], batch["y"]) if rules.conditional else (batch["x"],)


def _fake(rules: _Rules, made: State, z: jax.Array, real: Inputs, key: jax.Array) -> tuple[Inputs, State]:
    """Rows generated from noise, with the labels of the real ones, and the generator after."""
    x, made = apply(rules.generator, made, (z, *real[1:]), rng.stream(key, "generator"))
    return (x, *real[1:]), made


def _scores(
    rules: _Rules, judge: State, real: Inputs, fake: Inputs, key: jax.Array
) -> tuple[jax.Array, jax.Array, State]:
    of_real, judge = apply(rules.discriminator, judge, real, rng.stream(key, "real"))
    of_fake, judge = apply(rules.discriminator, judge, fake, rng.stream(key, "fake"))
    return of_real, of_fake, judge


def _evaluate(rules: _Rules, players: Players, batch: Batch, key: jax.Array) -> Mapping[str, Mean]:
    (x, *labels), weight = _inputs(rules, batch), batch["weight"]
    # Row i's noise depends on i alone, so that padding changes nothing.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rng.stream(key, "latent"), jnp.arange(len(x)))
    z = jax.vmap(lambda key: jax.random.normal(key, (rules.latent,)))(keys)
    fake = generate_rows(rules.generator, players, z, *labels)
    judge = variables(players.discriminator)
    of_real, of_fake = (
        rules.discriminator.apply(judge, rows, *labels, train=False, mutable=[])[0] for rows in (x, fake)
    )
    total = jnp.sum(weight)
    between = {
        "energy_distance": energy_distance(x, fake, weight),
        "sliced_wasserstein": sliced_wasserstein(x, fake, weight, rng.stream(key, "directions")),
    }
    metrics = {name: Mean(value * total, total) for name, value in between.items()}
    return {"discriminator_loss": mean(rules.loss(of_real, of_fake)[0], weight), **metrics}
