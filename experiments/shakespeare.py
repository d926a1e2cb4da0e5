"""How many bits does a transformer need for a character of Shakespeare?

Karpathy's nanoGPT (config/train_shakespeare_char.py) trains a GPT of 10.7 million parameters on the first
nine tenths of the text to a validation loss of 1.47 nats, 2.12 bits a character, on the last tenth; here its
halves are validation and test. That net, for a GPU:

    fdl run experiments/shakespeare.py --model shakespeare.classic --optimizer shakespeare.adamw --lr 1e-3 \\
        --layers 6 --heads 6 --width 384 --length 256 --stride 16 --dropout 0.2 --steps 5000 --batch-size 64

The small twin is for a CPU: 0.8 million parameters, a fortieth of the characters seen.

    fdl run experiments/shakespeare.py

It ends at 2.11 bits on validation and 2.28 on test (seed 0), where a Kneser-Ney model of five-grams needs
2.19 and 2.37: 4 minutes on 2 cores. Its report shows what it writes as it learns.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import fdl
from fdl import data, inspection, models, optim, tasks
from fdl.tasks.gradient import variables


def modern(vocabulary: int, config: "Config") -> nn.Module:
    """RMS norm, rotary positions, SwiGLU, no biases."""
    return models.llama(
        vocabulary, width=config.width, layers=config.layers, heads=config.heads, dropout=config.dropout
    )


def classic(vocabulary: int, config: "Config") -> nn.Module:
    """GPT-2's: layer norm, learned positions, GELU."""
    return models.gpt2(
        vocabulary,
        length=config.length,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        dropout=config.dropout,
    )


def muon(rate: optax.Schedule) -> optax.GradientTransformation:
    """Muon, whose updates are made about as large as Adam's by `consistent_rms`."""
    return optax.contrib.muon(rate, adam_b2=0.99, weight_decay=0.1, consistent_rms=0.2)


def adamw(rate: optax.Schedule) -> optax.GradientTransformation:
    """AdamW as in nanoGPT."""
    return optax.adamw(rate, b2=0.99, weight_decay=0.1)


@fdl.config
class Config:
    model: Callable = modern
    """makes the model"""
    layers: int = fdl.static(4, low=1)
    """of the transformer"""
    width: int = fdl.static(128, low=1)
    """entries of an embedding"""
    heads: int = fdl.static(4, low=1)
    """of the attention of each layer"""
    length: int = fdl.static(128, low=1)
    """characters that a prediction may see"""
    stride: int = fdl.static(128, low=1)
    """characters from the start of one training text to the next one's"""
    dropout: float = fdl.traced(0.0, low=0.0)
    """rate"""
    optimizer: Callable = muon
    """learning rate -> optimizer"""
    lr: float = fdl.traced(8e-3, low=0.0)
    """the highest learning rate; it rises over the first 100 steps and falls to 0 as a cosine"""
    steps: int = fdl.static(1000, low=101)
    """updates"""
    batch_size: int = fdl.static(16, low=1)
    """texts in an update"""


def experiment(config: Config) -> fdl.Experiment:
    splits = data.text(data.tiny_shakespeare_file(), length=config.length, stride=config.stride)
    model = config.model(len(splits.classes), config)
    rate = optim.warmup_cosine(config.lr, steps=config.steps, warmup=100)
    told = tasks.language_modelling(
        model,
        splits,
        optax.chain(optax.clip_by_global_norm(1.0), config.optimizer(rate)),
        steps=config.steps,
        batch_size=config.batch_size,
        evaluate_every=max(1, config.steps // 5),
    )

    def read(text: np.ndarray) -> str:
        return "".join(splits.classes[token] if token >= 0 else "\ufffd" for token in text)

    def inspect(state: tasks.State, key: jax.Array) -> dict[str, inspection.Text]:
        """What the model writes after a line's end, as long as it can see."""
        reader = tasks.generation.cached(model, variables(state))
        start = jnp.full((2, 1), splits.classes.index("\n"), jnp.int32)
        choose = tasks.generation.sampling(tasks.generation.temperature(0.8))
        texts = tasks.generation.generate(reader, start, key, length=config.length - 1, choose=choose)
        return {"written": inspection.Text(texts, read)}

    return told._replace(inspect=inspect)


SWEEP = fdl.grid(Config(), seeds=3)
