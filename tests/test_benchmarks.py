"""Benchmarks do run; what they say is not judged."""

import importlib
import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from fdl import models

FOLDER = Path(__file__).parents[1] / "experiments" / "benchmarks"
SCALING = FOLDER / "scaling.py"


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "kinds"), [("population", set()), ("data jit", {"all-reduce"})])
def test_scaling_compiles_a_step(strategy, kinds):
    command = [sys.executable, str(SCALING), "--one", strategy, "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"weak", "strong"}
    for one in found.values():
        assert {each["kind"] for each in one["collectives"]["each"]} == kinds
        assert one["cost"]["matrix"] > 1e9


@pytest.fixture
def part(monkeypatch):
    """Imports a file of the benchmarks, as they import each other."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


SMALL = {
    "input": {"BATCH": 8, "READS": 2, "STEPS": 1, "ROUNDS": 1, "FILES": 16},
    "models": {"ROUNDS": 1},
    "overhead": {"STEPS": 8, "ROUNDS": 1, "ROWS": 100},
    "sweep_speed": {"EPOCHS": 1, "ROUNDS": 1, "TORCH_NETS": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sizes"), SMALL.items(), ids=SMALL)
def test_a_benchmark_runs(part, plans, monkeypatch, capsys, name, sizes):
    pytest.importorskip("torch", reason="what fdl is compared with")
    module = part(name)
    for constant, value in sizes.items():
        monkeypatch.setattr(module, constant, value)
    if name == "models":  # the others take minutes to compile
        monkeypatch.setattr(module, "cases", lambda found=module.cases: itertools.islice(found(), 1))
    module.main()
    assert re.search(r"ratio|times", capsys.readouterr().out)


def test_an_exponent_is_that_of_a_power_law_and_the_plot_is_straight(part):
    growth = part("growth")
    seconds = {str(size): [0.01 * size**1.5, 0.02 * size**1.5] for size in (1, 4, 16)}
    line = growth.exponent("size", seconds, 1.4)
    assert line.value == pytest.approx(1.5) and not line.met
    bars = [
        row.count("█") for row in growth.plot({size: one[0] for size, one in seconds.items()}).split("\n")
    ]
    assert bars[2] - bars[1] == pytest.approx(bars[1] - bars[0], abs=1) and bars[0] > 0


@pytest.mark.slow
def test_growth_is_measured(part, plans, monkeypatch, capsys):
    growth = part("growth")
    small = {"STEPS": (2, 4), "MEMBERS": (1, 2), "WIDTHS": (4, 8), "ROWS": (10, 20), "ARMS": (2, 3)}
    for name, value in {**small, "MEGABYTES": (1, 2), "ROUNDS": 1}.items():
        monkeypatch.setattr(growth, name, value)
    monkeypatch.setattr(sys, "argv", ["growth.py"])
    growth.main()
    assert capsys.readouterr().out.count("exponent") == 6


def test_a_search_is_timed_to_the_loss_that_both_came_to(part):
    speed = part("search_speed")
    fdl = [(2.0, 0.5), (2.0, 0.25), (4.0, 0.125)]
    peer = [(1.0, 0.75), (10.0, 0.375), (40.0, 0.25), (60.0, 0.5)]
    ours, theirs, ratio, first, whole = speed.lines([(peer, fdl), (fdl, peer)])
    assert (ours.value, theirs.value, ratio.value) == (2.0, 40.0, 20.0)
    assert ratio.met and first.value == 2 / 40 and whole.value == 60 / 4
    assert not speed.lines([(fdl, peer), (peer, fdl)])[2].met


@pytest.mark.slow
def test_a_search_against_optuna(part, plans, monkeypatch, capsys):
    for package in ("torch", "optuna"):
        pytest.importorskip(package, reason="what fdl is compared with")
    speed = part("search_speed")
    for name, value in {"EPOCHS": 1, "TRIALS": 4, "POPULATION": 2, "ROUNDS": 1}.items():
        monkeypatch.setattr(speed, name, value)
    speed.main()
    assert "fdl over Optuna and PyTorch" in capsys.readouterr().out


@pytest.mark.slow
def test_sweeps_of_many_sizes(part, plans, monkeypatch, capsys):
    scaling = part("sweep_scaling")
    monkeypatch.setattr(scaling.importlib.util, "find_spec", lambda name: None)
    for name, value in {"EPOCHS": 1, "ROUNDS": 1, "COUNTS": (1, 4)}.items():
        monkeypatch.setattr(scaling, name, value)
    assert [line.name for line in scaling.members()] == ["1 members", "4 members"]
    assert "Ray Tune is left out: not installed are torch, ray" in capsys.readouterr().out


@pytest.mark.slow
def test_the_bookkeeping_of_many_arms(part, plans, monkeypatch):
    scaling = part("sweep_scaling")
    monkeypatch.setattr(scaling, "ARMS", 4)
    *stages, whole, memory = scaling.bookkeeping()
    assert whole.value == pytest.approx(sum(line.value for line in stages)) and len(stages) == 4
    assert 50 < memory.value < 10_000  # megabytes


@pytest.mark.slow
def test_sweeps_by_processes(part, plans, monkeypatch):
    scaling = part("sweep_scaling")
    for name, value in {"ROUNDS": 1, "COUNTS": (1, 4)}.items():
        monkeypatch.setattr(scaling, name, value)
    monkeypatch.setattr(scaling.os, "sched_getaffinity", lambda _: {0})
    assert [line.name for line in scaling.processes()] == ["1 processes"]


@pytest.mark.slow
def test_the_plan_that_is_chosen_against_the_others(part, plans, monkeypatch):
    scaling = part("sweep_scaling")
    for name, value in {"ROUNDS": 1, "PACKED": 2, "LONG": 10, "SECONDS": 1e-3}.items():
        monkeypatch.setattr(scaling, name, value)
    few = {"MLP": scaling.nets()["MLP"]}
    monkeypatch.setattr(scaling, "nets", lambda: few)
    *each, ratio = scaling.packing()
    chosen = ratio.note.partition("chosen: ")[2].partition(" (")[0]
    times = {line.name: line.value for line in each}
    assert ratio.target == ("≥", 0.95)
    assert ratio.value == pytest.approx(min(times.values()) / times[f"MLP: {chosen}"])


def test_a_part_that_fails_is_told_and_the_others_run(part, tmp_path, capsys):
    gpu, line = part("gpu"), part("gpu_lines").Line
    parts = {"bad": lambda: 1 / 0, "good": lambda: [line("speed", 2.0, "times", target=("≥", 3))]}
    assert gpu.measure(parts, {"machine": "none"}, tmp_path / "found.json") == 1
    assert "good (0 s)" in capsys.readouterr().out
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["parts"]["bad"]["failure"] == "ZeroDivisionError: division by zero"
    assert [(one["value"], one["met"]) for one in found["parts"]["good"]["lines"]] == [(2.0, False)]
    assert gpu.measure({"good": parts["good"]}, {}, None) == 0


def test_goals_are_judged(part):
    line = part("gpu_lines").Line
    goals = [(1.0, "≤", True), (1.5, "≤", False), (1.0, "≥", True), (0.5, "≥", False), (math.nan, "≥", False)]
    for value, sign, met in goals:
        assert line("x", value, "", target=(sign, 1.0)).met is met
    assert line("x", 1.0, "").met is None


def test_differences_are_found(part):
    exact = part("gpu_exact")
    before, here = {"a": np.zeros(3), "b": np.ones(2)}, {"a": np.full(3, 2.0), "b": np.ones(2)}
    assert exact.difference(before, here, here) == 0
    assert exact.difference(before, here, {"a": np.full(3, 2.0), "b": np.array([1, 1.5])}) == 0.25
    assert math.isnan(exact.difference(before, here, {"a": np.array([2, math.nan, 2]), "b": np.ones(2)}))
    one = {"x": np.array([0.0, math.nan]), "y": np.arange(3)}
    assert exact.differing(one, {"x": np.array([0.0, math.nan]), "y": np.arange(3)}) == 0
    assert exact.differing(one, {"x": np.array([-0.0, math.nan]), "z": np.arange(3)}) == 3


def test_mfu_only_where_the_peak_is_known(part):
    utilisation = part("gpu_lines").utilisation
    assert utilisation("x", 989 * 10**9, 2e-3, "cpu") == []
    assert [one.value for one in utilisation("x", 989 * 10**9, 2e-3, "NVIDIA H100 80GB HBM3")] == [50.0]


def test_a_checkpoint_is_timed(part, tmp_path):
    exact = part("gpu_exact")
    blocked, called, on_disk, _ = exact.checkpoint(tmp_path, 4_000_000, rounds=1)
    assert 0 < called.value <= on_disk.value and blocked.value < on_disk.value
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="give another --folder"):
        exact.checkpoint(tmp_path, 10**18)


@pytest.mark.slow
def test_steps_agree_with_those_of_the_same_device(part):
    lines = part("gpu_exact").correctness(jax.devices("cpu")[-1], batch=2)
    assert len(lines) == 8 and all(line.met and line.value == 0 for line in lines)


@pytest.mark.slow
def test_the_bound_is_above_what_order_changes_and_below_what_narrower_products_do(part):
    exact = part("gpu_exact")
    cpu, key = jax.devices("cpu")[0], jax.random.key(0)
    cases = exact.nets(32)
    for name in ("MLP 64-256-256-10", "ResNet-8"):
        learner, rows = cases[name]
        state = jax.jit(learner.init)(key)
        narrow = state._replace(
            params=jax.tree.map(lambda leaf: jax.lax.reduce_precision(leaf, 8, 10), state.params)
        )
        turned = {column: values[::-1] for column, values in rows.items()}
        here, other, less = (
            exact.stepped(learner, given, batch, key, cpu)[0]
            for given, batch in ((state, rows), (state, turned), (narrow, rows))
        )
        change = lambda after, before: jax.tree.map(np.subtract, after, before)  # noqa: E731
        none = jax.tree.map(np.zeros_like, here)
        assert 0 < exact.difference(state.params, here, other) < exact.BOUND
        off = exact.difference(none, change(here, state.params), change(less, narrow.params))
        assert off > exact.BOUND


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(part, tmp_path, plans):
    (line,) = part("gpu_exact").resume(tmp_path, steps=20)
    assert line.met and "of 116 arrays" in line.note


@pytest.mark.slow
def test_many_nets_against_torch(part):
    pytest.importorskip("torch")
    population = part("gpu_population")
    nets = population.Nets(rates=(1e-3, 1e-2), seeds=2, epochs=10, alone=1)
    lines = {line.name: line for line in population.population(nets, "cpu", rounds=1)}
    accuracies = [line.value for name, line in lines.items() if name.endswith("accuracy")]
    assert len(accuracies) == 3 and min(accuracies) > 93  # all of them learn
    assert lines["fdl: speed"].note.startswith("4 nets of 340 steps")


@pytest.mark.slow
def test_nets_in_bfloat16_against_torch(part):
    pytest.importorskip("torch")
    speed = part("gpu_speed")
    sizes = speed.Sizes(64, length=16, width=32, layers=2, heads=4, rows=2)
    lines = speed.gpt(sizes, "cpu", kernel="xla", rounds=1, steps=1)
    lines += speed.resnet(speed.Images(width=8, side=16, rows=8), "cpu", rounds=1, steps=1)
    assert [line.name for line in lines if line.unit == "times"] == [
        "fdl over torch.compile",
        "fdl, attention by xla over torch.compile",
        "fdl over torch.compile",
    ]
    assert all(0 < line.value < math.inf for line in lines)
    assert not [line for line in lines if "MFU" in line.unit]


def test_peers_have_as_many_parameters(part):
    pytest.importorskip("torch")
    speed = part("gpu_speed")
    sizes = speed.Sizes(64, length=16, width=32, layers=2, heads=4, rows=2)
    ours = jax.eval_shape(speed.gpt_learner(sizes).init, jax.random.key(0)).params
    count = sum(leaf.size for leaf in jax.tree.leaves(ours))
    assert sum(leaf.numel() for leaf in speed.torch_gpt(sizes).parameters()) == count
    net = models.resnet18(10, small=True)
    ours = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(ours))
    assert sum(leaf.numel() for leaf in speed.torch_resnet(64).parameters()) == count


@pytest.mark.medium
def test_attention_by_a_kernel_is_measured(part, monkeypatch):
    attention = part("gpu_attention")
    few = ("causal, shared keys", "causal, padding")
    cases = {name: case for name, case in attention.cases(40).items() if name in few}
    monkeypatch.setattr(attention, "cases", lambda length: cases)
    lines = attention.attention(40, "xla")
    assert len(lines) == 2 and all(line.met and line.value > 1e-3 for line in lines)
    monkeypatch.setattr(models, "fused_attend", lambda *given, implementation, **told: models.attend(*given))
    assert not any(line.met for line in attention.attention(40, "xla"))


def test_an_onnx_file_is_timed_by_onnxruntime(part, tmp_path):
    pytest.importorskip("onnxruntime")
    helper = pytest.importorskip("onnx").helper
    x, y = (helper.make_tensor_value_info(name, 1, ["N", 4]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["y"])], "exp", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    told = {"inputs": {"x": {"shape": ["N", 4], "dtype": "float32"}}}
    (tmp_path / "model.json").write_text(json.dumps(told))
    (said,) = part("latency").loaded(tmp_path)()
    np.testing.assert_array_equal(said, np.ones((1, 4)))


def test_what_is_exported_is_timed_by_turns(part, monkeypatch, tmp_path):
    latency = part("latency")
    monkeypatch.setattr(latency, "ROUNDS", 3)
    monkeypatch.setattr(latency, "CALLS", 2)
    rows = {"x": jax.ShapeDtypeStruct((*jax.export.symbolic_shape("N"), 4), jnp.float32)}
    program = jax.export.export(jax.jit(lambda rows: {"sum": rows["x"].sum(1)}))(rows).serialize()
    for name in ("000", "001"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.stablehlo").write_bytes(program)
        told = {"inputs": {"x": {"shape": ["N", 4], "dtype": "float32"}}}
        (tmp_path / name / "model.json").write_text(json.dumps(told))
    asked = latency.loaded(tmp_path / "000")()
    np.testing.assert_array_equal(asked["sum"], [0.0])
    found = latency.timed(tmp_path)
    assert [one["bytes"] for one in found] == [len(program)] * 2
    for one in found:
        low, high = one["quartiles"]
        assert 0 < low <= one["microseconds"] <= high
