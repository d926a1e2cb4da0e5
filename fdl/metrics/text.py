"""Metrics of texts, on the host."""

import math
from collections.abc import Sequence

from fdl.arguments import checked


@checked
def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: str = "13a") -> float:
    """BLEU of a corpus by sacrebleu, with its default signature (Post 2018, A Call for Clarity).

    Papineni et al. 2002, BLEU: a Method for Automatic Evaluation of Machine Translation: the geometric
    mean of clipped precisions of 1- to 4-grams over the whole corpus, times a penalty for brevity.

    Args:
      hypotheses: N texts, not tokenised.
      references: for each of them one or more right answers.
      tokenize: the name of sacrebleu's tokeniser, as `"13a"`, `"char"`, `"none"`.

    Returns:
      0 to 100.

    Raises:
      ValueError: numbers that differ, a hypothesis without reference, or sacrebleu is missing.

    Example:
      >>> fdl.metrics.bleu(["the cat sat on the mat"], [["the cat sat on the mat"]])  # doctest: +SKIP
      100.0
    """
    try:
        import sacrebleu
    except ImportError as error:
        raise ValueError("BLEU needs the extra 'text': pip install fdl[text]") from error
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(
            f"{len(hypotheses)} hypotheses and {len(references)} references; expected as many, at least one"
        )
    for row, some in enumerate(references):
        if isinstance(some, str) or not some:
            raise ValueError(f"references of row {row} are {some!r}; expected a list of at least one text")
    most = max(map(len, references))
    # Rows with fewer references than others get their last one again, which changes no count.
    streams = [[some[min(n, len(some) - 1)] for some in references] for n in range(most)]
    return sacrebleu.corpus_bleu(list(hypotheses), streams, tokenize=tokenize).score


@checked
def word_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Edits (insertions, deletions, substitutions of words) for each word of the references.

    Words are what is between blanks. With blanks between all characters it is the character error rate.

    Args:
      hypotheses: N texts.
      references: N texts.

    Returns:
      From 0; above 1 where hypotheses are much too long.

    Raises:
      ValueError: numbers that differ, or references without a word.

    Example:
      >>> fdl.metrics.word_error_rate(["the cat sat"], ["the cat sat down"])
      0.25
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses and {len(references)} references; expected as many")
    words = [reference.split() for reference in references]
    if not any(words):
        raise ValueError("the references have no word; expected at least one in all")
    pairs = zip(hypotheses, words, strict=True)
    return sum(_edits(said.split(), true) for said, true in pairs) / sum(map(len, words))


@checked
def perplexity(loss: float) -> float:
    """exp of a mean loss in nats a token: the number of equally likely tokens of the same loss; infinity
    where that is too large for a float.

    Example:
      >>> round(fdl.metrics.perplexity(np.log(50)), 3)
      50.0
    """
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _edits(said: list[str], true: list[str]) -> int:
    """Levenshtein's distance, one line of the table at a time."""
    line = list(range(len(true) + 1))
    for row, word in enumerate(said, 1):
        above, line = line, [row]
        for place, other in enumerate(true, 1):
            line.append(min(above[place] + 1, line[-1] + 1, above[place - 1] + (word != other)))
    return line[-1]
