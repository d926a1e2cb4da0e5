"""What code reaches in ways that its names do not show: a changed number is another run all the same."""

import pytest

from fdl.experiment_file import load_file
from fdl.serialization import essence
from fdl.train.folder import check_same
from fdl.train.identity import of_program, of_structure

FILE = """\"\"\"Is it the same?\"\"\"
import collections, dataclasses, enum, typing
import flax.linen as nn, jax, jax.numpy as jnp, numpy as np, optax
import fdl
from fdl.experiment import Experiment, Learner, Source
from fdl.metrics import Mean
{top}
@fdl.config
class Config:
    width: int = 3
{field}
def experiment(config):
    init = lambda key: jnp.ones(config.width)
    step = lambda state, batch, key: (state * ({value}), {{"loss": jnp.sum(state)}})
    evaluate = lambda state, batch, key: {{"loss": Mean(jnp.sum(state), jnp.float32(1))}}
    source = Source({{"x": np.ones(1, np.float32)}}, lambda data, step, key: data, 1)
    return Experiment(Learner(init, step, evaluate), source, {{"test": source}}, 3, 3)
"""
CASES = {
    "an optimizer": (
        "LR = {n}\nOPTIMIZER = optax.sgd(LR)",
        "",
        "OPTIMIZER.update(1.0, OPTIMIZER.init(1.0))[0]",
    ),
    "an optimizer in an if": ("if True: OPT = optax.sgd({n})", "", "OPT.update(1.0, OPT.init(1.0))[0]"),
    "a tuple taken apart": ("OPT, _ = optax.sgd({n}), 1", "", "OPT.update(1.0, OPT.init(1.0))[0]"),
    "a container that is changed": ("T = {{'k': {n}}}", "", "(T.setdefault('z', 1), T['k'])[1]"),
    "what a container begins with": ("N = {n}\nT = dict(k=N)", "", "(T.setdefault('z', 1), T['k'])[1]"),
    "an enum of a field": ("class M(enum.Enum):\n    A = {n}", "    m: M = M.A", "config.m.value"),
    "a transformed class": (
        "class I(nn.Module):\n    def __call__(self, x): return x * {n}\nV = nn.remat(I)",
        "",
        "V().apply({{}}, 1.0)",
    ),
    "the order of a dictionary": ("D = dict([('a', {n}), ('b', 0.75)][::{sign}])", "", "list(D.values())[0]"),
    "a name with underscores": ("__SCALE__ = {n}", "", "__SCALE__"),
    "a class variable of the config": ("", "    Z: typing.ClassVar[float] = {n}", "config.Z"),
    "a special method of the config": ("", "    def __getitem__(self, i): return {n}", "config[0]"),
    "an attribute set from outside": ("class C: pass\nC.w = ({n},)", "", "C.w[0]"),
    "a subclass of dict": ("class T(dict):\n    def of(self): return {n}\nD = T()", "", "D.of()"),
    "a default factory": ("D = collections.defaultdict(lambda: {n})", "", "D['z']"),
    "a class made by a function": (
        "def mk(k):\n    class A:\n        def __init__(self): self.s = k\n    return A\nA = mk({n})",
        "",
        "A().s",
    ),
    "a dataclass made by a call": ("D = dataclasses.make_dataclass('D', [('k', float, {n})])", "", "D().k"),
    "an attribute that is no field": (
        "@dataclasses.dataclass\nclass A:\n    k: int = 1\na = A()\na.z = {n}",
        "",
        "a.z",
    ),
    "a masked array": ("K = np.ma.array([{n}, 0.25], mask=[0, 1])", "", "K.sum()"),
    "an object with an update": ("class T:\n    def update(self): return {n}\nt = T()", "", "t.update()"),
    "a registry of subclasses": (
        "class B:\n    subs = []\n    def __init_subclass__(cls): B.subs.append(cls)\n"
        "class A(B):\n    def f(self): return {n}",
        "",
        "B.subs[0]().f()",
    ),
    "a private state": (
        "class T:\n    def __init__(self, k): self.k = k\n    def __getstate__(self): return 1\nt = T({n})",
        "",
        "t.k",
    ),
    "defaults set from outside": (
        "class A:\n    def __init__(self, k=1.0): self.k = k\nA.__init__.__defaults__ = ({n},)",
        "",
        "A().k",
    ),
    "a weak type": ("K = jnp.asarray(2 if {n} > 0.4 else 2, {dtype})", "", "(K * jnp.int8(1)).astype(float)"),
}


def identities(path, case, number, sign, dtype):
    top, field, value = CASES[case]
    filled = (text.format(n=number, sign=sign, dtype=dtype) for text in (top, field, value))
    path.write_text(FILE.format(**dict(zip(("top", "field", "value"), filled, strict=True))))
    file = load_file(path)
    program = of_program(file.experiment, file.config)
    return program, of_structure(file.experiment, file.config(), seen=program["seen"])


def same(folder, one, other) -> bool:
    """As a directory decides it: by the fingerprint, and by what is recorded beside it."""
    if essence(one) != essence(other):
        return False
    try:
        check_same(folder, one[1], other[1])
    except ValueError as error:
        assert "lowers it to another program" in str(error)
        return False
    return True


@pytest.mark.medium
@pytest.mark.parametrize("case", CASES)
def test_a_number_that_changed_is_another_run(tmp_path, case):
    path = tmp_path / "hidden.py"
    first = identities(path, case, 0.5, 1, "None")
    assert same(tmp_path, first, identities(path, case, 0.5, 1, "None"))
    assert not same(tmp_path, first, identities(path, case, 0.25, -1, "jnp.int32"))


def test_a_program_by_other_versions_is_not_compared(tmp_path):
    path = tmp_path / "hidden.py"
    first = identities(path, "a private state", 0.5, 1, "None")
    other = identities(path, "a private state", 0.25, 1, "None")
    other[1]["lowered"]["by"] = "those of another day"
    check_same(tmp_path, first[1], other[1])
