"""Does attention translate long sentences where a vector of fixed size fails?

Cho et al. 2014, On the Properties of Neural Machine Translation, fig. 4: the BLEU of an encoder-decoder whose
decoder reads one vector falls with the sentence's length. Bahdanau et al. 2015, Neural Machine Translation by
Jointly Learning to Align and Translate, table 1: on sentences of up to 50 words attention adds 8.9 BLEU (17.8
to 26.8), and fig. 2: it holds its level on long ones. Here German names of numbers become English ones, word
by word: German says the units before the tens ("drei und vierzig", three and forty, is "forty three"), so
words change places. Both nets are `Seq2Seq` of 64 units; without attention the decoder reads, at each step, the
encoder's last states instead of a weighted mean. Both train on the same numbers of 1 to 12 digits and are
judged on others, by the number of groups of three digits: one is 1 to 5 German words, four are up to 23.

Against it: a sentence of n words is right only if all of them are, so that equal errors a word too would
widen a gap of exact matches; the third claim is about words, given the true ones before. The grammar is exact
and small: nothing here is about rare words or ambiguity, and BLEU on it compares with no BLEU of a corpus.

    fdl sweep experiments/translation.py
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import fdl
from fdl import data, inspection, metrics, models, stats, tasks
from fdl.data.datasets.number_names import number_words
from fdl.data.tokens.sentences import END, PAD, SPECIAL, to_tokens, to_words

SMALL = (
    *("ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"),
    *("dreizehn", "vierzehn", "fünfzehn", "sechzehn", "siebzehn", "achtzehn", "neunzehn"),
)
TENS = ("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
GROUPS, TRAIN, JUDGED = (1, 2, 3, 4), 20_000, 400


@fdl.config
class Config:
    attention: bool = True
    """whether the decoder attends to all words; if not, it reads one vector"""
    lr: float = fdl.traced(5e-3, low=0.0)
    """Adam's highest learning rate, which falls to 0 as a cosine"""
    steps: int = fdl.static(1000, low=1)
    """updates of 64 sentences"""


def hundreds(number: int) -> tuple[str, ...]:
    """The German name of 1 to 999: 243 is zwei hundert drei und vierzig."""
    if number >= 100:
        rest = number % 100
        return (SMALL[number // 100 - 1], "hundert", *(hundreds(rest) if rest else ()))
    if number < 20:
        return (SMALL[number - 1],)
    tens, units = divmod(number, 10)
    return (*((SMALL[units - 1], "und") if units else ()), TENS[tens - 2])


def german(number: int) -> tuple[str, ...]:
    """Of 1 to 10^12 - 1; 1 is "eins" at the end, "ein" within, "eine" before a million."""
    said = []
    for power, one, many in ((9, "milliarde", "milliarden"), (6, "million", "millionen"), (3, "tausend", "tausend")):
        group = number // 10**power % 1000
        words = hundreds(group) if group else ()
        if power > 3 and words[-1:] == ("ein",):
            words = (*words[:-1], "eine")
        said += [*words, one if group == 1 else many] if group else []
    last = hundreds(number % 1000) if number % 1000 else ()
    return (*said, *last[:-1], "eins") if last[-1:] == ("ein",) else (*said, *last)


def english(number: int) -> tuple[str, ...]:
    scales = ((9, ("billion",)), (6, ("million",)), (3, ("thousand",)), (0, ()))
    groups = ((number // 10**power % 1000, scale) for power, scale in scales)
    return tuple(word for group, scale in groups if group for word in (*number_words(group), *scale))


@functools.cache
def sentences() -> tuple[Any, ...]:
    """Rows to judge by, for each number of groups; rows to train on; and the words of either language."""
    rng = np.random.default_rng(0)
    numbers = [rng.permutation(np.unique(rng.integers(1000 ** (g - 1), 1000**g, TRAIN))) for g in GROUPS]
    judged = [len(one) // 5 if g == 1 else JUDGED for g, one in zip(GROUPS, numbers, strict=True)]
    train = [one[n:][: TRAIN // 4] for n, one in zip(judged, numbers, strict=True)]
    every = np.concatenate([*(one[:n] for n, one in zip(judged, numbers, strict=True)), *train])
    said = [[name(int(number)) for number in every] for name in (german, english)]
    words = [(*SPECIAL, *sorted({word for one in each for word in one})) for each in said]
    rows = dict(zip("xy", map(to_tokens, said, words), strict=True))
    cuts = np.cumsum(judged)
    parts = {
        g: {name: one[end - n : end] for name, one in rows.items()}
        for g, n, end in zip(GROUPS, judged, cuts, strict=True)
    }
    return parts, {name: one[cuts[-1] :] for name, one in rows.items()}, words[0], words[1]


def experiment(config: Config) -> fdl.Experiment:
    judged, train, *words = sentences()
    model = models.Seq2Seq(len(words[0]), len(words[1]), 64, attention=config.attention)
    made = tasks.sequence_to_sequence(
        model,
        data.Splits(train, judged[4], judged[4]),
        optax.adam(optax.cosine_decay_schedule(config.lr, config.steps)),
        steps=config.steps,
        evaluate_every=config.steps,
        readers=tasks.generation.cached,
    )
    inner, translate = made.learner, made.learner.predict
    assert translate is not None

    def evaluate(state: Any, batch: Any, key: jax.Array) -> dict[str, Any]:
        said, true = (jnp.where(y == END, PAD, y) for y in (translate(state, batch)["tokens"], batch["y"]))
        return {**inner.evaluate(state, batch, key), "bleu": metrics.token_bleu(said, true, batch["weight"])}

    def inspect(state: Any, key: jax.Array) -> dict[str, inspection.Text]:
        """For each number of groups a source, its translation and what was said."""
        rows = {name: jnp.stack([judged[g][name][0] for g in GROUPS]) for name in ("x", "y")}
        read = lambda kind: lambda tokens: to_words(np.asarray(tokens), words[kind])  # noqa: E731
        return {
            "source": inspection.Text(rows["x"], read(0)),
            "translation": inspection.Text(rows["y"], read(1)),
            "said": inspection.Text(translate(state, rows)["tokens"], read(1)),
        }

    evaluation = {f"groups{g}": data.sequential(judged[g], batch_size=JUDGED) for g in GROUPS}
    return made._replace(learner=inner._replace(evaluate=evaluate), evaluation=evaluation, inspect=inspect)


SWEEP = fdl.grid(Config(), attention=(False, True), seeds=8)
