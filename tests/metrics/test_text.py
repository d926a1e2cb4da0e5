# pyright: reportArgumentType=false
# Metrics take NumPy's arrays too.

"""BLEU by its formula and by sacrebleu, edits by their definition."""

import collections
import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fdl.metrics import bleu, perplexity, token_bleu, word_error_rate

WORDS = ["a", "b", "c", "d"]


def sentences(seed, count, most):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(4, most))) for _ in range(count)]


def counts(text, n):
    words = text.split()
    return collections.Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def by_formula(hypotheses, references):
    logs = []
    for n in range(1, 5):
        hits = total = 0
        for said, true in zip(hypotheses, references, strict=True):
            most = functools.reduce(lambda a, b: a | b, (counts(one, n) for one in true))
            hits += sum((counts(said, n) & most).values())
            total += sum(counts(said, n).values())
        logs.append(math.log(hits / total))
    length = sum(len(said.split()) for said in hypotheses)
    nearest = [
        min((abs(len(one.split()) - len(said.split())), len(one.split())) for one in true)[1]
        for said, true in zip(hypotheses, references, strict=True)
    ]
    brevity = min(1.0, math.exp(1 - sum(nearest) / length))
    return 100 * brevity * math.exp(sum(logs) / 4)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("most", [8, 14])
def test_bleu_is_its_formula_and_sacrebleus(several, most):
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is missing: the extra 'text'")
    hypotheses = sentences(0, 30, most)
    references = [[one] for one in sentences(1, 30, 12)]
    if several:  # some rows have two, others three
        references = [[*some, *sentences(row + 2, 1 + row % 2, 9)] for row, some in enumerate(references)]
    got = bleu(hypotheses, references)
    assert got == pytest.approx(by_formula(hypotheses, references), rel=1e-9)
    streams = [[some[n] if n < len(some) else None for some in references] for n in range(3)]
    streams = [stream for stream in streams if any(stream)]
    assert got == pytest.approx(sacrebleu.corpus_bleu(hypotheses, streams).score, rel=1e-9)


@pytest.mark.parametrize("most", [8, 14])
def test_bleu_of_tokens_is_that_of_their_texts(most):
    said, true = sentences(0, 30, most), sentences(1, 30, 12)
    expected = by_formula(said, [[one] for one in true])
    tokens = np.zeros((2, 34, 14), int)
    for kind, texts in enumerate((said, true)):
        for row, text in enumerate(texts):
            words = [WORDS.index(word) + 2 for word in text.split()]
            tokens[kind, row, : len(words)] = words
    tokens[:, 30:] = 2
    weight = np.arange(34) < 30  # the others fill a batch up
    measure = jax.jit(token_bleu)
    parts = [measure(*tokens[:, rows], weight[rows]) for rows in (np.s_[:17], np.s_[17:])]
    assert float(jax.tree.map(jnp.add, *parts).value) == pytest.approx(expected, rel=1e-5)


def test_bleu_of_tokens_is_0_where_no_four_match():
    said, true = np.array([[2, 3, 4, 0, 0]]), np.array([[2, 3, 4, 0, 0]])
    assert token_bleu(said, true, np.ones(1)).value == 0
    long = np.array([[2, 3, 4, 5, 0]])
    assert token_bleu(long, long, np.ones(1)).value == pytest.approx(100, rel=1e-6)
    assert token_bleu(long, true, np.ones(1)).value == 0


def test_bleu_of_equal_texts():
    pytest.importorskip("sacrebleu", reason="sacrebleu is missing: the extra 'text'")
    text = ["the cat sat on the mat, I think."]
    assert bleu(text, [text]) == pytest.approx(100.0)


def test_bleu_without_sacrebleu_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ValueError, match=r"needs the extra 'text': pip install fdl\[text\]"):
        bleu(["a"], [["a"]])


@functools.cache
def edits(said, true):
    if not said or not true:
        return len(said) + len(true)
    if said[0] == true[0]:
        return edits(said[1:], true[1:])
    return 1 + min(edits(said[1:], true), edits(said, true[1:]), edits(said[1:], true[1:]))


def test_word_errors_are_the_least_edits_for_each_word():
    said, true = sentences(3, 20, 10), sentences(4, 20, 10)
    wanted = sum(edits(tuple(a.split()), tuple(b.split())) for a, b in zip(said, true, strict=True))
    assert word_error_rate(said, true) == pytest.approx(wanted / sum(len(b.split()) for b in true))


@pytest.mark.parametrize(
    ("said", "true", "rate"),
    [
        ("a b c", "a b c", 0),
        ("", "a b", 1),
        ("a x c", "a b c d", 0.5),
        ("k i t t e n", "s i t t i n g", 3 / 7),
    ],
)
def test_word_errors_by_hand(said, true, rate):
    assert word_error_rate([said], [true]) == pytest.approx(rate)


def test_perplexity_of_a_uniform_choice():
    assert perplexity(math.log(50)) == pytest.approx(50)
    assert perplexity(1e4) == math.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bleu(["a"], []), "1 hypotheses and 0 references"),
        (lambda: bleu(["a"], ["a"]), "references of row 0 are 'a'; expected a list"),
        (lambda: bleu(["a"], [[]]), r"references of row 0 are \[\]"),
        (lambda: word_error_rate(["a"], []), "1 hypotheses and 0 references"),
        (lambda: word_error_rate(["a"], [""]), "no word"),
    ],
)
def test_bad_input_is_refused_in_one_line(make, message):
    pytest.importorskip("sacrebleu", reason="sacrebleu is missing: the extra 'text'")
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
