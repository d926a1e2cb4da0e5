"""Random flags and damaged files: what is asked for runs as it is said, or is one line and exit code 2."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from fdl.cli import main
from fdl.configs import leaves
from fdl.train import autotune

pytestmark = pytest.mark.slow  # half a minute of tracing

FILE = '''"""Does a larger step learn faster?"""

import dataclasses
import enum

import fdl
from tests import toy


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Net:
    depth: int = 1
    gain: float = 2.0


@fdl.config
class Config:
    lr: float = fdl.traced(0.05, low=0.0)
    order: int = fdl.static(1, low=1, high=4)
    widths: tuple[int, ...] = (1, 2)
    keep: int = 3
    net: Net = Net()
    colour: Colour = Colour.RED
    skip: bool = False


def experiment(config):
    one = toy.experiment(toy.Config(lr=config.lr, power=config.order, steps=4), every=2)
    return one._replace(evaluation={"test": one.evaluation["test"]})


SWEEP = fdl.grid(Config(), order=(1, 2), seeds=(0, 1))


def claim(result):
    return fdl.compare(result, metric="test/loss", arms="order", better="lower").verdict
'''
VALUES: dict[str, list[tuple[list[str], Any]]] = {
    "lr": [(["0.25"], 0.25), (["1e-3"], 1e-3), (["2"], 2.0), (["0"], 0.0)],
    "order": [(["1"], 1), (["4"], 4)],
    "widths": [(["8", "16"], (8, 16)), (["3"], (3,)), ([], ())],
    "config.keep": [(["7"], 7), (["-7"], -7), (["9223372036854775807"], 2**63 - 1)],
    "net.depth": [(["5"], 5), (["0"], 0)],
    "net.gain": [(["0.125"], 0.125), (["-1e-3"], -1e-3)],
    "colour": [(["BLUE"], "BLUE"), (["RED"], "RED")],
    "skip": [([], True)],
}
JUNK: list[str] = [
    "", "-", "--", "---", "x", "nan", "inf", "-inf", "1e400", "1e39", "1e-60", "-1", "2.5", "é",
    "--lr", "--grid.lr", "--grid.widths", "--grid.keep", "--seed", "--seeds", "--mesh", "data=0", "data=2",
    "--members", "--keep", "--best", "test/loss", "--better", "--config.keep", "--no-skip", "--net",
    "--strategy",
    "9" * 20, "[/b]", "--net.depth", "--checkpoint-seconds", "--workdir", "file.py",
    "a\tb", "--lr=", "pmap", "=",
]  # fmt: skip
PIECES = [
    "None", "0", "-1", "2.5", "1e400", "float('nan')", "10**20", "'x'", "()", "[1]", "{}", "lambda x: x",
    "Config", "Config()", "nowhere", "toy", "int", "True", "seed", "2**31", "...", "raise", "@", "(", "1 / 0",
]  # fmt: skip


class Reached(BaseException):
    """A program would be compiled now: all is accepted."""


@pytest.fixture
def outcome(tmp_path, monkeypatch, capsys):
    """Runs a command up to the first compilation; gives the configs of its members, or the refusal."""
    monkeypatch.chdir(tmp_path)
    asked: list[Any] = []

    def reached(work, *_, **__):
        asked.extend(work.configs)
        raise Reached

    monkeypatch.setattr(autotune, "compile_for", reached)

    def run(text: str, words: list[str]) -> list[Any] | str:
        Path("file.py").write_text(text, encoding="utf-8")
        before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
        asked.clear()
        code = None
        try:
            code = main(words)
        except Reached:
            return list(asked)
        finally:
            out, error = capsys.readouterr()
        what = f"{words}: {code}\n{error}\n{out}"
        assert code == 2 and error.startswith("error: ") and error.count("\n") == 1, what
        assert out.count("\n") <= 2, "the question and the directory"
        after = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
        assert after == before, what
        return error

    return run


@pytest.mark.parametrize("seed", range(3))
def test_flags_that_are_right_give_what_they_say(outcome, seed):
    draw = random.Random(seed)
    for _ in range(6):
        given = {flag: draw.choice(VALUES[flag]) for flag in draw.sample(sorted(VALUES), draw.randint(1, 5))}
        words = [word for flag, (values, _) in given.items() for word in (f"--{flag}", *values)]
        found = outcome(FILE, ["run", "file.py", *words])
        assert not isinstance(found, str), (words, found)
        for flag, (_, value) in given.items():
            there = leaves(found[0])[flag.removeprefix("config.")]
            there = getattr(there, "name", there)
            assert there == value and type(there) is type(value), (words, flag, there)


@pytest.mark.parametrize("seed", range(3))
def test_flags_that_are_damaged_are_refused_in_one_line(outcome, seed):
    draw, refused = random.Random(seed), 0
    for _ in range(10):
        words = []
        for flag in draw.sample(sorted(VALUES), draw.randint(1, 3)):
            grid = draw.random() < 0.3
            words += [
                f"--{'grid.' * grid}{flag.removeprefix('config.' * grid)}",
                *draw.choice(VALUES[flag])[0],
            ]
        for _ in range(draw.randint(1, 2)):
            place = draw.randrange(len(words) + 1)
            words[place : place + draw.randint(0, 1)] = [draw.choice(JUNK)]
        refused += isinstance(outcome(FILE, [draw.choice(("run", "sweep")), "file.py", *words]), str)
    assert refused > 3


@pytest.mark.parametrize("seed", range(3))
def test_files_that_are_damaged_are_refused_in_one_line(outcome, seed):
    draw, refused = random.Random(seed), 0
    for _ in range(10):
        lines = list(map(str, FILE.split("\n")))
        place = draw.randrange(3, len(lines))
        kind = draw.choice(("less", "twice", "other", "other", "other"))
        if kind == "less":
            del lines[place]
        elif kind == "twice":
            lines.insert(place, lines[draw.randrange(3, len(lines))])
        else:
            spans = [token.span() for token in re.finditer(r"\w+", lines[place])]
            start, end = draw.choice(spans or [(0, 0)])
            lines[place] = f"{lines[place][:start]}{draw.choice(PIECES)}{lines[place][end:]}"
        refused += isinstance(outcome("\n".join(lines), ["sweep", "file.py"]), str)
    assert refused > 3
