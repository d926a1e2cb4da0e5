"""Adversarial learning: a generator against a discriminator, each with an optimizer of its own."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from fdl import rng
from fdl.data import Augmentation, Splits
from fdl.data.splits import prepared_row
from fdl.experiment import Batch, Experiment, Learner, Stopper
from fdl.metrics import Mean, mean
from fdl.tasks.checks import check_counts
from fdl.tasks.distances import energy_distance, sliced_wasserstein
from fdl.tasks.gan_losses import GANLoss, gradient_penalty, non_saturating
from fdl.tasks.gradient import State, experiment_over

Number = float | jax.Array
"""A hyper-parameter: a Python number, or a traced scalar."""


class Players(NamedTuple):
    """What a step of adversarial learning reads and writes.

    Attributes:
      generator: parameters, other collections and optimizer of the generator.
      discriminator: those of the discriminator.
      average: the exponential moving average of the generator's parameters, or None.
    """

    generator: State
    discriminator: State
    average: Any


class _Rules(NamedTuple):
    """What stays the same from step to step; see `adversarial_learner`."""

    generator: nn.Module
    discriminator: nn.Module
    latent: int
    loss: GANLoss
    penalty: Number


def adversarial(
    generator: nn.Module,
    discriminator: nn.Module,
    splits: Splits,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    steps: int,
    latent: int,
    batch_size: int = 64,
    loss: GANLoss = non_saturating,
    critic_steps: int = 1,
    penalty: Number = 0.0,
    average: Number | None = None,
    evaluate_every: int | None = None,
    augment: Augmentation | None = None,
    stop: Stopper | None = None,
) -> Experiment:
    """Learning to generate rows that a discriminator cannot tell from the data's.

    WGAN-GP is `loss=wasserstein, penalty=10.0, critic_steps=5` with Adam's first moment at 0
    (Gulrajani et al. 2017, algorithm 1). For the metrics see `adversarial_learner`; an evaluation
    batch has 512 rows at most.

    Args:
      generator: a Flax module, `generator(z, train)`: noise `[B, latent]` to rows `[B, ...]`.
      discriminator: a Flax module, `discriminator(x, train)`: rows `[B, ...]` to logits `[B]`.
      splits: `"x"` float `[N, ...]` once prepared; other arrays are not looked at.
      generator_optimizer: any Optax transformation.
      discriminator_optimizer: any Optax transformation.
      steps: updates of the generator in a run.
      latent: numbers of standard normal noise for each generated row.
      batch_size: real rows in one update of a player; a step reads `critic_steps` times as many.
      loss: what both minimise, as `fdl.tasks.gan_losses.hinge`.
      critic_steps: the discriminator's updates before each of the generator's.
      penalty: factor of `gradient_penalty` in the discriminator's loss.
      average: decay a step of a moving average of the generator's parameters, or None: no average.
      evaluate_every: steps between evaluations; a tenth of the run if None.
      augment: what is done to every training batch, or None.
      stop: early stopping, or None.

    Raises:
      ValueError: a count below 1, or players that do not fit to the data.
    """
    check_counts(latent=latent, critic_steps=critic_steps, batch_size=batch_size)
    row = prepared_row(splits)["x"]
    _check_players(generator, discriminator, row, latent)
    learner = adversarial_learner(
        generator,
        discriminator,
        row.shape[1:],
        generator_optimizer,
        discriminator_optimizer,
        latent=latent,
        loss=loss,
        critic_steps=critic_steps,
        penalty=penalty,
        average=average,
    )
    return experiment_over(
        learner,
        splits,
        steps=steps,
        batch_size=critic_steps * batch_size,
        evaluate_every=evaluate_every,
        augment=augment,
        stop=stop,
    )


def adversarial_learner(
    generator: nn.Module,
    discriminator: nn.Module,
    shape: tuple[int, ...],
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
    *,
    latent: int,
    loss: GANLoss = non_saturating,
    critic_steps: int = 1,
    penalty: Number = 0.0,
    average: Number | None = None,
) -> Learner:
    """The learner of `adversarial`, for rows `"x"` `[critic_steps · B, *shape]` from any source.

    A step updates the discriminator with the rows `i::critic_steps` for each i in turn, then the
    generator, on new noise. Only a player's own update moves its other collections, such as batch
    statistics; the discriminator sees real and generated rows in batches of their own.

    Metrics of an evaluation, of generated rows whose noise is the same in every batch: the mean
    `discriminator_loss` (without penalty); `energy_distance` and `sliced_wasserstein` between a batch's
    rows and as many generated ones, of all batches the mean weighted by their rows, so exact for a
    split of one batch.

    Returns:
      A learner whose state is `Players`.
    """

    rules = _Rules(generator, discriminator, latent, loss, penalty)

    def init(key: jax.Array) -> Players:
        z, x = jnp.zeros((1, latent)), jnp.zeros((1, *shape))
        made = _start(generator, z, rng.stream(key, "generator"), generator_optimizer)
        judge = _start(discriminator, x, rng.stream(key, "discriminator"), discriminator_optimizer)
        return Players(made, judge, None if average is None else made.params)

    def criticise(players: Players, given: tuple[jax.Array, jax.Array]) -> tuple[Players, Any]:
        gradient = jax.grad(_judging, has_aux=True)
        grads, (metrics, state) = gradient(players.discriminator.params, rules, players, *given)
        judge = _update(discriminator_optimizer, players.discriminator, grads, state)
        return players._replace(discriminator=judge), metrics

    def step(players: Players, batch: Batch, key: jax.Array) -> tuple[Players, Mapping[str, jax.Array]]:
        # Every critic step takes its rows from all over the batch: rows on many devices stay there.
        rows = jnp.moveaxis(batch["x"].reshape(-1, critic_steps, *shape), 1, 0)
        players, seen = lax.scan(
            criticise, players, (rows, jax.random.split(rng.stream(key, "critic"), critic_steps))
        )
        gradient, own = jax.grad(_fooling, has_aux=True), rng.stream(key, "generator")
        grads, (metrics, state) = gradient(players.generator.params, rules, players, rows[-1], own)
        made = _update(generator_optimizer, players.generator, grads, state)
        moved = players.average
        if average is not None:
            moved = optax.incremental_update(made.params, moved, 1 - average)
        last = {name: values[-1] for name, values in seen.items()}
        return Players(made, players.discriminator, moved), {**metrics, **last}

    return Learner(init, step, lambda players, batch: _evaluate(rules, players, batch))


def generate(generator: nn.Module, players: Players, z: jax.Array) -> jax.Array:
    """Rows `[B, ...]` of noise `[B, latent]`, by the averaged parameters where there are any.

    Other collections, such as batch statistics, are the current ones.
    """
    params = players.generator.params if players.average is None else players.average
    variables = {"params": params, **players.generator.model_state}
    return generator.apply(variables, z, train=False, mutable=[])[0]


def _judging(
    params: Any, rules: _Rules, players: Players, real: jax.Array, key: jax.Array
) -> tuple[jax.Array, Any]:
    """The discriminator's loss with these parameters; metrics and its collections after."""
    judge = players.discriminator._replace(params=params)
    fake, _ = _fake(rules, players.generator, len(real), key)
    of_real, of_fake, judge = _scores(rules, judge, real, fake, key)
    value = jnp.mean(rules.loss(of_real, of_fake)[0])
    metrics = {"discriminator_loss": value}
    if isinstance(rules.penalty, jax.Array) or rules.penalty != 0:
        point, dropout = jax.random.split(rng.stream(key, "penalty"))

        def score(x: jax.Array) -> jax.Array:
            return _apply(rules.discriminator, judge, x, dropout)[0]

        metrics["penalty"] = jnp.mean(gradient_penalty(score, real, fake, point))
        value = value + rules.penalty * metrics["penalty"]
    return value, (metrics, judge.model_state)


def _fooling(
    params: Any, rules: _Rules, players: Players, real: jax.Array, key: jax.Array
) -> tuple[jax.Array, Any]:
    """The generator's loss with these parameters; metrics and its collections after."""
    fake, made = _fake(rules, players.generator._replace(params=params), len(real), key)
    of_real, of_fake, _ = _scores(rules, players.discriminator, real, fake, key)
    value = jnp.mean(rules.loss(of_real, of_fake)[1])
    return value, ({"generator_loss": value}, made.model_state)


def _fake(rules: _Rules, made: State, size: int, key: jax.Array) -> tuple[jax.Array, State]:
    z = jax.random.normal(rng.stream(key, "noise"), (size, rules.latent))
    return _apply(rules.generator, made, z, rng.stream(key, "generator"))


def _scores(
    rules: _Rules, judge: State, real: jax.Array, fake: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array, State]:
    of_real, judge = _apply(rules.discriminator, judge, real, rng.stream(key, "real"))
    of_fake, judge = _apply(rules.discriminator, judge, fake, rng.stream(key, "fake"))
    return of_real, of_fake, judge


def _evaluate(rules: _Rules, players: Players, batch: Batch) -> Mapping[str, Mean]:
    x, weight = batch["x"], batch["weight"]
    # Row i's noise depends on i alone, so that padding changes nothing.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(len(x)))
    fake = generate(
        rules.generator, players, jax.vmap(lambda key: jax.random.normal(key, (rules.latent,)))(keys)
    )
    judge = players.discriminator
    variables = {"params": judge.params, **judge.model_state}
    of_real, of_fake = (
        rules.discriminator.apply(variables, rows, train=False, mutable=[])[0] for rows in (x, fake)
    )
    total = jnp.sum(weight)
    between = {
        "energy_distance": energy_distance(x, fake, weight),
        "sliced_wasserstein": sliced_wasserstein(x, fake, weight, jax.random.key(1)),
    }
    metrics = {name: Mean(value * total, total) for name, value in between.items()}
    return {"discriminator_loss": mean(rules.loss(of_real, of_fake)[0], weight), **metrics}


def _start(model: nn.Module, x: jax.Array, key: jax.Array, optimizer: optax.GradientTransformation) -> State:
    model_state = dict(model.init(key, x, train=False))
    params = model_state.pop("params")
    return State(params, model_state, optimizer.init(params))


def _apply(model: nn.Module, player: State, x: jax.Array, key: jax.Array) -> tuple[jax.Array, State]:
    """Outputs in training, and the player with its collections after."""
    variables, mutable = {"params": player.params, **player.model_state}, list(player.model_state)
    rngs = {"dropout": rng.stream(key, "dropout")}
    outputs, model_state = model.apply(variables, x, train=True, rngs=rngs, mutable=mutable)
    return outputs, player._replace(model_state=model_state)


def _update(optimizer: optax.GradientTransformation, player: State, grads: Any, model_state: Any) -> State:
    updates, optimizer_state = optimizer.update(grads, player.optimizer, player.params)
    return State(optax.apply_updates(player.params, updates), model_state, optimizer_state)


def _check_players(
    generator: nn.Module, discriminator: nn.Module, row: jax.ShapeDtypeStruct, latent: int
) -> None:
    """Raises `ValueError` unless generated rows are like the data's, and each row gets one logit."""
    if not jnp.issubdtype(row.dtype, jnp.floating):
        raise ValueError(f"x is {row.dtype}; expected floats: give the splits a prepare that makes them so")
    made, logits = _output_shape(generator, (1, latent)), _output_shape(discriminator, row.shape)
    if made != row.shape:
        raise ValueError(
            f"the generator makes rows of shape {list(made[1:])}; expected {list(row.shape[1:])}, as the "
            "data's: change the generator or the data"
        )
    if logits != (1,):
        raise ValueError(f"the discriminator's outputs have shape {['B', *logits[1:]]}; expected logits [B]")


def _output_shape(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    init = lambda key: model.init_with_output(key, jnp.zeros(shape), train=False)[0]  # noqa: E731
    return jax.eval_shape(init, jax.random.key(0)).shape
