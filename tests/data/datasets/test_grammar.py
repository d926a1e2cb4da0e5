"""SCAN against the authors' file (by its digest), string rewriting, and the published counts."""

import hashlib
import re

import numpy as np
import pytest

from fdl.data.datasets.grammar import (
    ACTIONS,
    COMMAND_WORDS,
    commands,
    interpret,
    scan_jump,
    scan_length,
    scan_simple,
    scan_turn_left,
)
from fdl.data.tokens.sentences import to_words

ALL = commands()
SPLITS = (scan_simple, scan_length, scan_jump, scan_turn_left)


def rewritten(command):
    """What a command means, by rewriting its text until only actions are left; left binds first."""
    text = re.sub(r"^(.*) after (.*)$", r"\2 and \1", command).replace(" and ", " ; ")
    for side in ("left", "right"):
        act = f"{side.upper()}TURN"
        text = re.sub(rf"turn opposite {side}", f"[{act} {act}]", text)
        text = re.sub(rf"turn around {side}", f"[{act} {act} {act} {act}]", text)
        text = re.sub(rf"turn {side}", f"[{act}]", text)
        text = re.sub(rf"(\w+) opposite {side}", rf"[{act} {act} \1]", text)
        text = re.sub(rf"(\w+) around {side}", rf"[{act} \1 {act} \1 {act} \1 {act} \1]", text)
        text = re.sub(rf"(\w+) {side}", rf"[{act} \1]", text)
    text = re.sub(r"(\w+|\[[^]]*\]) twice", r"\1 \1", text)
    text = re.sub(r"(\w+|\[[^]]*\]) thrice", r"\1 \1 \1", text)
    for a, b in {"LEFTTURN": "TURN_LEFT", "RIGHTTURN": "TURN_RIGHT"}.items():
        text = text.replace(a, b)
    return tuple(f"I_{word.upper()}" for word in re.sub(r"[][;]", " ", text).split())


def parts(splits):
    arrays = splits._asdict()
    return {name: arrays[name] for name in ("train", "validation", "test")}


def pairs(part):
    return [
        (to_words(x, COMMAND_WORDS), to_words(y, ACTIONS)) for x, y in zip(part["x"], part["y"], strict=True)
    ]


# The examples of the paper's first figure.
EXAMPLES = {
    "jump": "JUMP",
    "jump left": "LTURN JUMP",
    "jump around right": "RTURN JUMP RTURN JUMP RTURN JUMP RTURN JUMP",
    "turn left twice": "LTURN LTURN",
    "jump thrice": "JUMP JUMP JUMP",
    "jump opposite left and walk thrice": "LTURN LTURN JUMP WALK WALK WALK",
    "jump opposite left after walk around left": (
        "LTURN WALK LTURN WALK LTURN WALK LTURN WALK LTURN LTURN JUMP"
    ),
}


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_examples_of_the_paper(command):
    short = {"LTURN": "I_TURN_LEFT", "RTURN": "I_TURN_RIGHT"}
    assert interpret(command) == tuple(short.get(word, f"I_{word}") for word in EXAMPLES[command].split())


def test_all_commands_mean_what_the_authors_file_says():
    lines = sorted(f"IN: {command} OUT: {' '.join(interpret(command))}" for command in ALL)
    # SHA-256 of the sorted lines, without blanks at their ends, of `tasks.txt` as published.
    digest = "345bff3c25864652f326ba1960aa515d156b63f45067ea57268f71d7362a2440"
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == digest


@pytest.mark.medium
def test_all_commands_mean_what_rewriting_says():
    assert len(set(ALL)) == 20910
    assert all(interpret(command) == rewritten(command) for command in ALL)


def test_every_word_and_action_is_used():
    assert {word for command in ALL for word in command.split()} == set(COMMAND_WORDS[2:])
    assert {action for command in ALL for action in interpret(command)} == set(ACTIONS[2:])


# Train and validation together, and test: the lines of the authors' files.
@pytest.mark.parametrize(
    ("split", "fitted", "test"),
    [
        (scan_simple, 16728, 4182),
        (scan_length, 16990, 3920),
        (scan_jump, 14670, 7706),
        (scan_turn_left, 21890, 1208),
    ],
)
def test_published_counts(split, fitted, test):
    sizes = {name: len(part["x"]) for name, part in parts(split()).items()}
    assert (sizes["train"] + sizes["validation"], sizes["test"]) == (fitted, test)


@pytest.mark.parametrize("split", SPLITS)
def test_parts_are_disjoint_and_make_the_whole(split):
    train, validation, test = (pairs(part) for part in parts(split()).values())
    assert len(set(train) & set(validation)) == len(set(train) & set(test)) == 0
    assert len(set(validation) & set(test)) == 0
    assert len(set(validation)) == len(validation) and len(set(test)) == len(test)
    expected = {(command, " ".join(interpret(command))) for command in ALL}
    assert set(train) | set(validation) | set(test) == expected


def test_length_split_is_by_actions():
    lengths = {name: (part["y"] > 1).sum(axis=1) for name, part in parts(scan_length()).items()}
    assert lengths["train"].max() <= 22 and lengths["validation"].max() <= 22
    assert lengths["test"].min() > 22 and lengths["test"].max() == 48


@pytest.mark.parametrize(
    ("split", "primitive", "copies"), [(scan_jump, "jump", 1467), (scan_turn_left, "turn left", 2189)]
)
def test_the_new_primitive_is_alone_in_train(split, primitive, copies):
    train, validation, test = (pairs(part) for part in parts(split()).values())
    assert [command for command, _ in train if primitive in command] == [primitive] * copies
    assert not any(primitive in command for command, _ in validation)
    assert all(primitive in command and command != primitive for command, _ in test)


@pytest.mark.parametrize("split", SPLITS)
def test_arrays(split):
    for part in parts(split()).values():
        assert part["x"].shape[1:] == (10,) and part["y"].shape[1:] == (49,)
        assert part["x"].dtype == part["y"].dtype == np.int32
        for tokens in part.values():
            ends = (tokens == 1).argmax(axis=1)
            after = np.arange(tokens.shape[1]) > ends[:, None]
            assert ((tokens == 1).sum(axis=1) == 1).all() and ((tokens == 0) == after).all()


def test_random_split_follows_the_documented_rule():
    order = sorted(ALL, key=lambda command: hashlib.sha256(command.encode()).hexdigest())
    found = {name: [command for command, _ in pairs(part)] for name, part in parts(scan_simple()).items()}
    assert found["test"] == order[:4182]
    assert found["validation"] == order[4182 : 4182 + 1672]
    assert found["train"] == order[4182 + 1672 :]
