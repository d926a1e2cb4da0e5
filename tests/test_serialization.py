import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest

import fdl
from fdl.serialization import differences, fingerprint, from_json, function_name, to_json
from tests.toy import Config as Toy


def own(x):
    return x


@fdl.config
class Config:
    lr: float = 0.1
    activation: Callable | None = nn.relu
    widths: tuple[tuple[int, int], ...] = ((1, 2), (3, 4))
    name: str = "ä"


@pytest.mark.parametrize("function", [nn.relu, nn.tanh, jnp.sin, jax.nn.gelu, optax.adam, own, None,
                                      nn.initializers.he_normal])  # fmt: skip
def test_round_trip_through_json(function):
    config = Config(lr=1 / 3, activation=function)
    assert from_json(Config, json.loads(json.dumps(to_json(config)))) == config


def test_library_functions_are_written_by_their_public_name():
    assert function_name(nn.relu) == "jax.nn.relu"
    assert function_name(optax.adam) == "optax.adam"
    assert function_name(own) == f"{__name__}.own"


@pytest.mark.parametrize("function", [lambda x: x, functools.partial(own), Config().__eq__])
def test_functions_without_a_name_are_refused_with_the_mend(function):
    with pytest.raises(ValueError, match=r"field 'activation'.*`def` at the top"):
        to_json(Config(activation=function))


@pytest.mark.parametrize(("data", "words"), [
    ({"rl": 1.0}, "did you mean 'lr'"),
    ({"activation": {"function": "jax.nn.rellu"}}, "no function 'jax.nn.rellu'"),
    ({"lr": "x"}, "expected float"),
])  # fmt: skip
def test_bad_json_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        from_json(Config, data)


def test_fingerprints_change_with_values_and_seed():
    prints = [
        fingerprint(Toy()),
        fingerprint(Toy(lr=0.1)),
        fingerprint(Toy(steps=2)),
        fingerprint(Toy(), seed=1),
    ]
    prints.append(fingerprint(Toy(link=jnp.sin)))
    assert len(set(prints)) == len(prints)


IDENTITY = {
    "code": {"toy.f": {"digest": "ab", "text": "def f(): ..."}},
    "n": [1, 0.5, None],
    "versions": {"jax": "1"},
}


@pytest.mark.medium
def test_fingerprints_are_stable_over_processes_and_versions():
    # A stored value: a change of it would orphan every finished run of every user.
    assert fingerprint(Toy(), seed=3, identity=IDENTITY) == "cd5ea1c561563f14"
    imports = "from fdl.serialization import fingerprint; from tests.toy import Config"
    code = f"{imports}; print(fingerprint(Config(), seed=3, identity={IDENTITY!r}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         env={**os.environ, "PYTHONHASHSEED": "7"})  # fmt: skip
    assert out.stdout.strip() == "cd5ea1c561563f14"


def test_only_the_digest_of_code_counts_and_versions_do_not():
    other = {**IDENTITY, "code": {"toy.f": {"digest": "ab", "text": "other"}}, "versions": {"jax": "2"}}
    assert fingerprint(Toy(), identity=other) == fingerprint(Toy(), identity=IDENTITY)
    changed = {**IDENTITY, "code": {"toy.f": {"digest": "cd", "text": "def f(): ..."}}}
    assert fingerprint(Toy(), identity=changed) != fingerprint(Toy(), identity=IDENTITY)


def test_differences_name_each_entry():
    old = {"config": {"lr": 0.1, "n": 1}, "source": "a\nb\nc", "seed": 0}
    new = {"config": {"lr": 0.2, "n": 1}, "source": "a\nx\nc", "seed": 0, "kind": "run"}
    assert differences(old, new) == [
        "config.lr: 0.1 -> 0.2",
        "source: line 2: 'b' -> 'x'",
        "kind: 'absent' -> 'run'",
    ]


def test_differences_of_code_are_by_digest_and_told_by_line():
    old = {"f": {"digest": "1", "text": "def f():\n    a\n    b"}, "g": {"digest": "2", "text": "g"}}
    new = {
        "f": {"digest": "3", "text": "def f():\n    a\n    c"},
        "g": {"digest": "2", "text": "other layout"},
    }
    assert differences({"code": old}, {"code": new}) == ["code.f: line 3: 'b' -> 'c'"]
    assert differences({"code": {"f": old["f"]}}, {}) == ["code.f: 'def f():\\n    a\\n    b' -> 'absent'"]
    assert differences({"a": {"b": 1}}, {"a": {}}) == ["a.b: 1 -> 'absent'"]
    assert differences({"a": {}}, {"a": 1}) == ["a: {} -> 1"]
