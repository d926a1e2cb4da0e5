"""Names of numbers against a hand-made table and an independent grammar; splits by their rules."""

import hashlib

import numpy as np
import pytest

from fdl.data.datasets.german_numbers import german_number_words
from fdl.data.datasets.number_names import (
    NUMBER_DIGITS,
    NUMBER_WORDS,
    number_words,
    numbers,
    numbers_by_length,
)
from fdl.data.tokens.sentences import to_tokens, to_words

TABLE = {
    0: "zero",
    7: "seven",
    10: "ten",
    13: "thirteen",
    20: "twenty",
    45: "forty five",
    90: "ninety",
    100: "one hundred",
    101: "one hundred one",
    212: "two hundred twelve",
    999: "nine hundred ninety nine",
    1000: "one thousand",
    1001: "one thousand one",
    1100: "one thousand one hundred",
    10010: "ten thousand ten",
    21305: "twenty one thousand three hundred five",
    100000: "one hundred thousand",
    118014: "one hundred eighteen thousand fourteen",
    800808: "eight hundred thousand eight hundred eight",
    999999: "nine hundred ninety nine thousand nine hundred ninety nine",
    10**6: "one million",
    20003001: "twenty million three thousand one",
}


SMALL = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven"),
    *("twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def value(words):
    """The number that words name, read from left to right: add what is small, multiply by what is big."""
    total = group = 0
    for word in words:
        if word in ("thousand", "million"):
            total, group = total + group * 1000 ** (1 + (word == "million")), 0
        elif word == "hundred":
            group *= 100
        else:
            group += SMALL.index(word) if word in SMALL else 10 * TENS.index(word) + 20
    return total + group


def parts(splits):
    arrays = splits._asdict()
    return {name: arrays[name] for name in ("train", "validation", "test")}


def rows(part):
    return [
        (to_words(x, NUMBER_DIGITS).replace(" ", ""), to_words(y, NUMBER_WORDS))
        for x, y in zip(part["x"], part["y"], strict=True)
    ]


@pytest.mark.parametrize("number", TABLE)
def test_names_of_the_table(number):
    assert " ".join(number_words(number)) == TABLE[number]


def test_names_are_read_back_as_the_number_and_never_twice():
    chosen = [*range(12000), *range(12000, 10**6, 97), *range(10**6, 10**9, 999_983)]
    names = [number_words(number) for number in chosen]
    assert [value(name) for name in names] == chosen
    assert len(set(names)) == len(chosen)
    silent = [name for number, name in zip(chosen, names, strict=True) if number and "zero" in name]
    assert not silent


@pytest.mark.parametrize("split", [numbers, numbers_by_length])
@pytest.mark.parametrize("digits", [3, 4])
def test_parts_hold_every_number_once_with_its_name(split, digits):
    found = [row for part in parts(split(digits=digits)).values() for row in rows(part)]
    expected = [(str(number), " ".join(number_words(number))) for number in range(10**digits)]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("digits", [2, 4])
def test_random_split_follows_the_documented_rule(digits):
    slots = [int(hashlib.sha256(b"%d" % n).hexdigest()[:16], 16) % 10 for n in range(10**digits)]
    names = {"test": {0}, "validation": {1}, "train": set(range(2, 10))}
    for name, part in parts(numbers(digits=digits)).items():
        expected = [str(number) for number, slot in enumerate(slots) if slot in names[name]]
        assert [number for number, _ in rows(part)] == expected


def test_length_split_tests_longer_numbers_only():
    random, by_length = parts(numbers(digits=4)), parts(numbers_by_length(digits=4))
    assert [int(number) for number, _ in rows(by_length["test"])] == list(range(1000, 10000))
    shorter = [number for number, _ in rows(random["validation"]) if len(number) < 4]
    assert [number for number, _ in rows(by_length["validation"])] == shorter


@pytest.mark.parametrize("split", [numbers, numbers_by_length])
def test_arrays(split):
    for part in parts(split(digits=4)).values():
        assert part["x"].shape[1:] == (5,) and part["y"].shape[1:] == (len(TABLE[999].split()) + 3,)
        assert part["x"].dtype == part["y"].dtype == np.int32
        for tokens in part.values():
            after = np.arange(tokens.shape[1]) > (tokens == 1).argmax(axis=1)[:, None]
            assert ((tokens == 1).sum(axis=1) == 1).all() and ((tokens == 0) == after).all()


@pytest.mark.parametrize(("split", "digits"), [(numbers, 1), (numbers, 7), (numbers_by_length, 2)])
def test_digits_out_of_range(split, digits):
    with pytest.raises(ValueError, match=f"digits is {digits}; expected [23] to 6"):
        split(digits=digits)


@pytest.mark.parametrize("number", [-1, 10**9])
@pytest.mark.parametrize("name", [number_words, german_number_words])
def test_numbers_out_of_range(number, name):
    with pytest.raises(ValueError, match=f"the number is {number}"):
        name(number)


GERMAN = {
    0: "null",
    1: "eins",
    12: "zwölf",
    17: "siebzehn",
    21: "ein und zwanzig",
    30: "dreißig",
    101: "ein hundert eins",
    116: "ein hundert sechzehn",
    777: "sieben hundert sieben und siebzig",
    1000: "ein tausend",
    1001: "ein tausend eins",
    21305: "ein und zwanzig tausend drei hundert fünf",
    101000: "ein hundert ein tausend",
    10**6: "eine million",
    2000001: "zwei millionen eins",
    101043000: "ein hundert eine millionen drei und vierzig tausend",
}


@pytest.mark.parametrize("number", GERMAN)
def test_german_names_of_the_table(number):
    assert " ".join(german_number_words(number)) == GERMAN[number]


def test_german_names_say_the_same_numbers():
    """Word by word in English order they are the English names: those are tested above."""
    words = {"eins": "one", "eine": "one", "ein": "one", "millionen": "million", "tausend": "thousand"}
    words |= {"million": "million", "hundert": "hundred"}
    words |= {german_number_words(n)[0]: number_words(n)[0] for n in (*range(2, 20), *range(20, 100, 10))}
    for number in range(1, 10**9, 999_983):
        said = list(german_number_words(number))
        for place in [i for i, word in enumerate(said) if word == "und"][::-1]:
            said[place - 1 : place + 2] = [said[place + 1], said[place - 1]]
        assert tuple(words[word] for word in said) == number_words(number)


def test_tokens_by_hand():
    vocabulary = ("<pad>", "<end>", "a", "b")
    tokens = to_tokens([("a", "b"), (), ("b",)], vocabulary)
    np.testing.assert_array_equal(tokens, [[2, 3, 1], [1, 0, 0], [3, 1, 0]])
    assert [to_words(row, vocabulary) for row in tokens] == ["a b", "", "b"]
    assert to_words(tokens[0, :2], vocabulary) == "a b"
    with pytest.raises(ValueError, match="sentence 1 has the word 'c'"):
        to_tokens([("a",), ("b", "c")], vocabulary)
