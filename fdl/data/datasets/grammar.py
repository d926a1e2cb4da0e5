"""SCAN: commands in a small grammar, to be translated to actions; tests of systematic generalisation.

Lake and Baroni 2018, "Generalization without Systematicity" (arXiv:1711.00350). The commands and what
they mean are in the paper's appendix; the sizes of the splits are those of the authors' files.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable

import numpy as np

from fdl.data.datasets.data_set import DataSet, Origin
from fdl.data.splits import Splits
from fdl.data.tokens.sentences import SPECIAL, to_tokens

COMMAND_WORDS = (
    *SPECIAL,
    *("walk", "look", "run", "jump", "turn", "left", "right", "opposite", "around"),
    *("twice", "thrice", "and", "after"),
)
"""The name of each token of `x`."""
ACTIONS = (*SPECIAL, "I_WALK", "I_LOOK", "I_RUN", "I_JUMP", "I_TURN_LEFT", "I_TURN_RIGHT")
"""The name of each token of `y`."""
_TIMES = {"twice": 2, "thrice": 3}
_SIMPLE_TEST = 4182  # a fifth of the 20,910 commands, as Lake and Baroni 2018 hold out


def commands() -> list[str]:
    """All 20,910 commands of the grammar (the paper's figure of phrase-structure rules).

    In order of the rules: single phrases, then pairs joined by "and", then by "after".
    """
    walks, sides = ("walk", "look", "run", "jump"), ("left", "right")
    verbs = [
        *walks,
        *(f"{walk} {side}" for walk in (*walks, "turn") for side in sides),
        *(
            f"{walk} {how} {side}"
            for how in ("opposite", "around")
            for walk in (*walks, "turn")
            for side in sides
        ),
    ]
    phrases = [f"{verb}{times}" for verb in verbs for times in ("", " twice", " thrice")]
    pairs = (
        f"{first} {joint} {second}"
        for joint in ("and", "after")
        for first, second in itertools.product(phrases, repeat=2)
    )
    return [*phrases, *pairs]


def interpret(command: str) -> tuple[str, ...]:
    """The actions that a command means (the paper's figure of double-bracket rules).

    Args:
      command: one of `commands()`.
    """
    if " and " in command:
        first, second = command.split(" and ")
        return interpret(first) + interpret(second)
    if " after " in command:
        first, second = command.split(" after ")
        return interpret(second) + interpret(first)
    *verb, last = command.split()
    if last in _TIMES:
        return _verb(*verb) * _TIMES[last]
    return _verb(*verb, last)


def scan_simple() -> Splits:
    """SCAN, split at random (the paper's experiment 1): 4,182 commands for test, one in five.

    Commands are ordered by the SHA-256 digest of their text; the first 4,182 are for test. The
    authors drew as many, but others.

    In this and the other splits, a tenth (rounded down) of what is not for test is for validation, the
    first by that order; train and validation together are what the paper trains on.

    Returns:
      Parts in that order, with `x`, int32 `[N, 10]`, tokens of `COMMAND_WORDS`, and `y`, int32
      `[N, 49]`, tokens of `ACTIONS`; both end with `sentences.END` and are padded with `sentences.PAD`.

    Example:
      >>> from fdl.data.datasets.grammar import COMMAND_WORDS
      >>> splits = fdl.data.scan_simple()
      >>> " ".join(COMMAND_WORDS[token] for token in splits.test["x"][0])
      'walk opposite right twice after run left thrice <end> <pad>'
      >>> " ".join(splits.classes[token] for token in splits.test["y"][0][:4])
      'I_TURN_LEFT I_RUN I_TURN_LEFT I_RUN'
    """
    chosen = frozenset(_order()[:_SIMPLE_TEST])
    return _splits(lambda command: command in chosen)


def scan_length() -> Splits:
    """SCAN, split by length (experiment 2): the 3,920 commands with more than 22 actions are for test,
    the 16,990 shorter ones for train and validation; otherwise as `scan_simple`.

    Example:
      >>> splits = fdl.data.scan_length()
      >>> [len(part["x"]) for part in splits[:3]]
      [15291, 1699, 3920]
    """
    return _splits(lambda command: len(interpret(command)) > 22)


def scan_jump() -> Splits:
    """SCAN with a new primitive (experiment 3): the 7,706 commands that use "jump" along with other
    words are for test.

    Train and validation are the 13,203 commands without it, and "jump" alone, repeated in train until
    it is a tenth of them all, 1,467 times; otherwise as `scan_simple`.

    Example:
      >>> splits = fdl.data.scan_jump()
      >>> [len(part["x"]) for part in splits[:3]]
      [13350, 1320, 7706]
    """
    return _splits(lambda command: "jump" in command and command != "jump", repeated="jump")


def scan_turn_left() -> Splits:
    """SCAN with a new primitive (experiment 3): the 1,208 commands that use "turn left" along with other
    words are for test.

    Train and validation are the 19,701 commands without it, and "turn left" alone, repeated in train
    until it is a tenth of them all, 2,189 times; otherwise as `scan_simple`.

    Example:
      >>> splits = fdl.data.scan_turn_left()
      >>> [len(part["x"]) for part in splits[:3]]
      [19920, 1970, 1208]
    """
    return _splits(lambda command: "turn left" in command and command != "turn left", repeated="turn left")


def _verb(*words: str) -> tuple[str, ...]:
    """The actions of a verb phrase without "twice" or "thrice"."""
    act = () if words[0] == "turn" else (f"I_{words[0].upper()}",)
    if len(words) == 1:
        return act
    turn = (f"I_TURN_{words[-1].upper()}",)
    if "opposite" in words:
        return turn + turn + act
    if "around" in words:
        return (turn + act) * 4
    return turn + act


def _splits(held_out: Callable[[str], bool], repeated: str = "") -> Splits:
    place = {command: number for number, command in enumerate(_order())}
    compositional = [command for command in place if held_out(command)]
    others = [command for command in place if command != repeated and not held_out(command)]
    first = len(others) // 10
    copies = [repeated] * (len(others) // 9) if repeated else []
    x, y = _tokens()
    rows = (others[first:] + copies, others[:first], compositional)
    indices = (np.array([place[command] for command in part]) for part in rows)
    train, validation, test = ({"x": x[index], "y": y[index]} for index in indices)
    return Splits(train, validation, test, classes=ACTIONS)


@functools.cache
def _order() -> tuple[str, ...]:
    """The commands by the SHA-256 digest of their text."""
    return tuple(sorted(commands(), key=lambda command: hashlib.sha256(command.encode()).digest()))


@functools.cache
def _tokens() -> tuple[np.ndarray, np.ndarray]:
    """Commands `[20910, 10]` and actions `[20910, 49]`, in `_order`."""
    x = to_tokens([command.split() for command in _order()], COMMAND_WORDS)
    return x, to_tokens([interpret(command) for command in _order()], ACTIONS)


DATA_SETS = (
    DataSet("scan_simple", "SCAN, commands to actions, split at random", Origin.MADE, scan_simple),
    DataSet("scan_length", "SCAN, the longest for test", Origin.MADE, scan_length),
    DataSet("scan_jump", 'SCAN, "jump" among other words for test', Origin.MADE, scan_jump),
    DataSet("scan_turn_left", 'SCAN, "turn left" among other words for test', Origin.MADE, scan_turn_left),
)
