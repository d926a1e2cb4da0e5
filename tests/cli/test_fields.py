"""Every config field is a flag, whatever it is called and whatever it holds; or it is refused in one line."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import pytest

import fdl
from fdl.cli.flags import option_names, parse
from fdl.cli.options import OPTIONS, RunOptions, SweepOptions
from fdl.cli.trials import space_of


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Net:
    depth: int = 1
    """layers"""
    gain: float = 2.0
    act: Callable = jnp.tanh
    skip: bool = False


@fdl.config
class Config:
    net: Net = Net()
    colour: Colour = Colour.RED
    widths: tuple[int, ...] = (1,)
    pair: tuple[int, float] | None = None
    keep: int = 3
    """kept rows"""
    config: int = 1
    grid: Net = Net()
    help: int = 0
    skip: bool = True
    no_skip: bool = True
    other: Net | None = None
    kind: int | float | bool = 1
    d_model: int = 8


def given(*words: str, options: type = RunOptions) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    return parse("fdl run file.py", options, Config, words)


def arms(*words: str) -> list[str]:
    _, changed, columns = given(*words, options=SweepOptions)
    return [trial.arm for trial in space_of(Config, None, changed, columns, None).trials]


@pytest.mark.parametrize(("words", "expected"), [
    ("--net.depth 3 --net.skip", {"net.depth": 3, "net.skip": True}),
    ("--net.act jnp.sin", {"net.act": jnp.sin}),
    ("--colour BLUE", {"colour": Colour.BLUE}),
    ("--widths 8 16", {"widths": (8, 16)}),
    ("--keep 5", {}),
    ("--config.keep 5 --config.config 2 --config.help 4", {"keep": 5, "config": 2, "help": 4}),
    ("--config.grid.depth 7", {"grid.depth": 7}),
    ("--no-skip", {"skip": False}),
    ("--config.no-no-skip", {"no_skip": False}),
    ("--kind 1", {"kind": 1}), ("--kind 1.0", {"kind": 1.0}), ("--kind True", {"kind": True}),
    ("--d_model=4", {"d_model": 4}), ("--d-model 4", {"d_model": 4}),
])  # fmt: skip
def test_a_field_is_given_by_its_flag(words, expected):
    _, changed, columns = given(*words.split())
    assert changed == expected and columns == {}
    assert [type(value) for value in changed.values()] == [type(value) for value in expected.values()]


def test_an_option_wins_over_a_field_of_its_name():
    options, changed, _ = given("--keep", "5", "--config.keep", "7")
    assert options.keep == 5 and changed == {"keep": 7}


@pytest.mark.parametrize(("words", "expected"), [
    ("--grid.widths 8 16,32", ["widths=(8,)", "widths=(16, 32)"]),
    ("--grid.pair 8,2 None", ["pair=(8, 2.0)", "pair=None"]),
    ("--grid.colour RED BLUE", ["colour=RED", "colour=BLUE"]),
    ("--grid.net.depth 1 2 --net.gain 3", ["net.depth=1 net.gain=3", "net.depth=2 net.gain=3"]),
    ("--grid.kind 1 True 1.0", ["kind=1", "kind=True", "kind=1.0"]),
    ("--grid.keep 1 2 --keep 3", ["keep=1", "keep=2"]),
])  # fmt: skip
def test_a_grid_takes_values_of_every_kind(words, expected):
    assert arms(*words.split()) == expected


@pytest.mark.parametrize(("words", "message"), [
    ("--grid.d-model", "--grid.d-model has no values"),
    ("--grid.widths", "--grid.widths has no values"),
    ("--grid.widths 8,x", "--grid.widths.*'x'"),
    ("--grid.pair 8", "--grid.pair"),
    ("--grid.colour GREEN", "'GREEN'.*RED.*BLUE"),
    ("--net.width 3", "--net.width"),
    ("--other 3", "--other"),
    ("--net 3", "--net"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(words, message):
    with pytest.raises(ValueError, match=message) as error:
        given(*words.split(), options=SweepOptions)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_may_be_the_name_of_a_field(command):
    names = sorted(option_names())
    body = {"__annotations__": dict.fromkeys(names, int), **dict.fromkeys(names, 7)}
    words = [f"--config.{name.replace('_', '-')}=8" for name in names]
    _, changed, _ = parse("fdl", OPTIONS[command], fdl.config(type("Config", (), body)), words)
    assert changed == dict.fromkeys(names, 8)


def test_help_tells_what_inner_fields_are(capsys):
    with pytest.raises(SystemExit):
        given("--help")
    out = capsys.readouterr().out
    for words in ("--net.depth INT", "layers", "--config.keep INT", "kept rows", "--colour {RED,BLUE}"):
        assert words in out


@dataclasses.dataclass(frozen=True)
class Inner:
    class_: int = 1


@fdl.config
class Edges:
    class_: int = 1
    _x: int = 1
    keep_: int = 1
    force: int = 1
    force_: int = 1
    flag_: bool = False
    net_: Inner = Inner()
    _: int = 1


@pytest.mark.parametrize(("words", "expected"), [
    ("--class 2 --x 3", {"class_": 2, "_x": 3}),
    ("--config.keep 2 --keep 3", {"keep_": 2}),
    ("--force_ 2", {"force_": 2}), ("--force 2", {"force": 2}), ("--_ 2", {"_": 2}),
    ("--flag", {"flag_": True}), ("--no-flag", {"flag_": False}),
    ("--net.class_ 2", {"net_.class_": 2}),
    ("--grid.class 2 3 --grid.keep 4 --grid.force_ 5 --grid.net.class_ 6",
     {"class_": (2, 3), "keep_": (4,), "force_": (5,), "net_.class_": (6,)}),
])  # fmt: skip
def test_a_field_s_underscores_at_its_ends_are_no_part_of_its_flag(words, expected):
    _, changed, columns = parse("fdl sweep file.py", SweepOptions, Edges, words.split())
    assert changed | columns == expected


def test_a_flag_is_called_so_in_what_is_said_of_it():
    with pytest.raises(ValueError, match=r"^--config.keep and --grid.keep contradict each other"):
        space_of(Edges, None, {"keep_": 2}, {"keep_": (2, 3)}, None)
