"""What a spiking net computes for a row, counted, and the energy that its arithmetic alone would take."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fdl.arguments import Count, NotEmpty, checked

ADDITION, MULTIPLICATION = 0.9, 3.7
"""Picojoules of one in float32 on a chip of 45 nm at 0.9 V (Horowitz 2014, Computing's Energy Problem)."""


class SpikingEnergy(NamedTuple):
    """Counts of a spiking net, and estimates of energy.

    Attributes:
      events: numbers other than 0 that arrive at a layer, over all layers and times, int32 `[B]`.
      additions: int32 `[B]`.
      multiplications: int32 `[B]`.
      picojoules: an estimate for these at 45 nm, `[B]`.
      artificial_picojoules: for the products of one pass through dense layers of the same widths, a scalar.
    """

    events: jax.Array
    additions: jax.Array
    multiplications: jax.Array
    picojoules: jax.Array
    artificial_picojoules: jax.Array


@checked
def spiking_energy(layers: NotEmpty[Sequence[jax.Array]], outputs: Count) -> SpikingEnergy:
    """How many events a `SpikingNet` has for each row, and the energy of its arithmetic by 45 nm figures.

    Each event is added to every unit of the next layer; an input that is neither 0 nor 1 is multiplied by the
    weights first. Each membrane is multiplied by its decay at each time, a unit that fires is reset by an
    addition, and the readout's membranes are averaged over time. Artificial units of the same widths multiply
    and add for each weight, in one pass; one that sees each of T times passes T times as often.

    An estimate of arithmetic alone, by the figures of Horowitz (2014) for float32: no number is fetched from
    memory, which takes more than all of this on most chips, and nothing is measured.

    Args:
      layers: what arrives at each layer, `[B, T, F]`: the input, then the spikes of each hidden layer.
      outputs: units of the readout.

    Example:
      >>> from fdl import models
      >>> model, x = models.SpikingNet(widths=(8,), outputs=2), jnp.ones((1, 5, 3))
      >>> variables = model.init(jax.random.key(0), x)
      >>> _, found = model.apply(variables, x, mutable="intermediates")
      >>> energy = fdl.analysis.spiking_energy([x, *found["intermediates"]["spikes"]], model.outputs)
      >>> bool(energy.events[0] == 15 + found["intermediates"]["spikes"][0].sum())
      True
      >>> round(float(energy.artificial_picojoules))  # 3 x 8 + 8 x 2 products, 4.6 pJ each
      184
    """
    length = layers[0].shape[1]
    widths = [one.shape[-1] for one in layers] + [outputs]
    arriving = [jnp.count_nonzero(one, axis=(1, 2)) for one in layers]
    synaptic = jnp.asarray([count * width for count, width in zip(arriving, widths[1:], strict=True)]).sum(0)
    graded = jnp.count_nonzero((layers[0] != 0) & (layers[0] != 1), axis=(1, 2)) * widths[1]
    resets = sum(arriving[1:], jnp.zeros_like(arriving[0]))
    additions = synaptic + resets + length * outputs
    multiplications = graded + length * sum(widths[1:]) + outputs
    products = sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths))
    return SpikingEnergy(
        events=sum(arriving[1:], arriving[0]),
        additions=additions,
        multiplications=multiplications,
        picojoules=ADDITION * additions + MULTIPLICATION * multiplications,
        artificial_picojoules=jnp.float32((ADDITION + MULTIPLICATION) * products),
    )
