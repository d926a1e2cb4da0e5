import dataclasses
import enum
import json
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fdl
from fdl.cells import cell
from fdl.configs import replaced, traced_fields
from fdl.serialization import from_json, to_json
from tests.toy import Config as Toy


@fdl.config
class Config:
    depth: int = fdl.static(4, low=1, high=100)
    lr: float = 1e-3
    gain: float = fdl.static(1.0)
    scale: int = fdl.traced(2)
    activation: Callable = nn.relu
    widths: tuple[int, ...] = (64, 64)
    norm: Callable | None = None
    mode: Literal["a", "b"] = "a"
    skip: bool = False


def test_floats_are_traced_and_all_else_is_static():
    assert traced_fields(Config) == ("lr", "scale")
    assert jax.tree.leaves(Config()) == [1e-3, 2]


@pytest.mark.parametrize(("change", "shared"), [
    ({"lr": 0.5}, True),
    ({"scale": 7}, True),
    ({"gain": 2.0}, False),
    ({"depth": 5}, False),
    ({"activation": nn.tanh}, False),
    ({"widths": (64,)}, False),
    ({"skip": True}, False),
])  # fmt: skip
def test_a_traced_value_shares_the_structure_and_a_static_one_does_not(change, shared):
    same = jax.tree.structure(dataclasses.replace(Config(), **change)) == jax.tree.structure(Config())
    assert same == shared


def test_one_compilation_serves_every_traced_value():
    traces = []

    @jax.jit
    def program(config):
        traces.append(config)
        return config.lr * config.depth

    results = [float(program(dataclasses.replace(Config(), lr=lr))) for lr in (0.1, 0.2, 0.3)]
    assert np.allclose(results, [0.4, 0.8, 1.2]) and len(traces) == 1
    program(dataclasses.replace(Config(), depth=5))
    assert len(traces) == 2


def test_transformations_keep_configs():
    stacked = jax.tree.map(lambda *v: jnp.asarray(v), Config(lr=1.0), Config(lr=2.0))
    out = jax.vmap(lambda config: dataclasses.replace(config, lr=config.lr * config.depth))(stacked)
    assert out.lr.tolist() == [4.0, 8.0] and out.depth == 4


@pytest.mark.parametrize(("values", "words"), [
    ({"dept": 3}, ["dept", "depth"]),
    ({"zzz": 3}, ["zzz", "expected one of", "lr"]),
    ({"lr": "fast"}, ["Config.lr", "'fast'", "str", "float"]),
    ({"lr": float("nan")}, ["Config.lr", "nan", "finite"]),
    ({"lr": float("inf")}, ["Config.lr", "inf", "finite"]),
    ({"lr": True}, ["Config.lr", "True", "float"]),
    ({"gain": float("-inf")}, ["Config.gain", "finite"]),
    ({"depth": 0}, ["Config.depth", "0", "at least 1"]),
    ({"depth": 101}, ["Config.depth", "101", "at most 100"]),
    ({"depth": 2.5}, ["Config.depth", "2.5", "int"]),
    ({"depth": True}, ["Config.depth", "True", "int"]),
    ({"widths": [64]}, ["Config.widths", "list", "tuple"]),
    ({"widths": ("a",)}, ["Config.widths", "tuple[int, ...]"]),
    ({"activation": "relu"}, ["Config.activation", "'relu'", "Callable"]),
    ({"mode": "c"}, ["Config.mode", "'c'"]),
    ({"skip": 1}, ["Config.skip", "1", "bool"]),
])  # fmt: skip
def test_bad_values_are_refused_in_one_line(values, words):
    for make in (lambda: Config(**values), lambda: dataclasses.replace(Config(), **values)):
        with pytest.raises(ValueError) as error:
            make()
        assert "\n" not in str(error.value)
        assert all(word in str(error.value) for word in words), str(error.value)


def test_whole_numbers_and_numpy_scalars_are_taken_as_floats():
    config = Config(**{"lr": 1, "depth": np.int64(3)})
    assert config.lr == 1.0 and type(config.lr) is float and type(config.depth) is int


def test_configs_are_frozen_values():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().lr = 2.0  # pyright: ignore[reportAttributeAccessIssue]
    assert Config() == Config() and hash(Config()) == hash(Config()) and Toy() != Config()


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass(frozen=True)
class Net:
    depth: int = 1
    gain: float = 2.0


@fdl.config
class Rich:
    net: Net = Net()
    colour: Colour = Colour.RED
    kinds: tuple[Any, ...] = (1, Colour.BLUE)
    size: float = 1.0
    count: int = fdl.traced(1)
    number: int = 0


def test_enums_and_dataclasses_have_a_form_that_is_read_back():
    config = Rich(net=Net(3, 0.5), colour=Colour.BLUE, kinds=(Net(), (Colour.RED, None)))
    again = from_json(Rich, json.loads(json.dumps(to_json(config))))
    assert again == config and hash(again) == hash(config)
    assert cell(config.net) == "Net(depth=3, gain=0.5)" and cell(config.colour) == "BLUE"
    with pytest.raises(ValueError, match=r"there is no enum .*Colour' GREEN"):
        from_json(Rich, {"colour": {"enum": f"{__name__}.Colour", "name": "GREEN"}})


def test_values_in_a_dataclass_are_told_apart_and_checked():
    assert Rich(net=Net(gain=1)) == Rich(net=Net(gain=1.0))  # as declared, both are floats
    assert Rich(kinds=(Net(1),)) != Rich(kinds=(Net(True),))
    for net, words in {Net(2.5): "Net.depth is 2.5", Net(gain=float("nan")): "Net.gain is nan"}.items():  # pyright: ignore
        with pytest.raises(ValueError, match=words):
            Rich(net=net)


@pytest.mark.parametrize(("values", "words"), [
    ({"number": 10**20}, "int of 64 bits"),
    ({"kinds": (10**20,)}, "of 64 bits"),
    ({"kinds": (1, (float("nan"),))}, "a finite"),
    ({"size": 1e39}, "float32"),
    ({"size": -1e-46}, "float32"),
    ({"count": 2**24 + 1}, "up to 16777216, or fdl.static"),
])  # fmt: skip
def test_numbers_that_no_program_or_table_holds_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Rich(**values)


@pytest.mark.parametrize(("body", "words"), [
    ({"__annotations__": {"lr": "flaot"}, "lr": 0.1}, "annotation of Bad.*flaot"),
    ({"__annotations__": {"lr": 0.1}, "lr": 0.1}, "Bad.lr is annotated with 0.1; expected a type"),
    ({"lr": 0.1}, "Bad.lr has no type; write lr: float"),
    ({"__annotations__": {"sizes": list}, "sizes": [1]}, r"Bad.sizes is \[1\]; expected a tuple"),
    ({"lr": fdl.static(3)}, "Bad.lr has no type; write lr: int"),
    ({"__annotations__": {"lr": str}, "lr": fdl.traced("a")}, "Bad.lr is 'a'.*a number"),
])  # fmt: skip
def test_a_class_that_is_no_config_is_refused(body, words):
    with pytest.raises(ValueError, match=words):
        fdl.config(type("Bad", (), body))()


def test_a_field_may_be_called_self():
    @fdl.config
    class Odd:
        self: int = 1

    assert replaced(Odd(), {"self": 2}) == Odd(**{"self": 2}) != Odd()
