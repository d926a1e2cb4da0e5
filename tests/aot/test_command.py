"""`fdl plan --topology`: what it refuses, what it prints of what the compiler made, and its search."""

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdl.aot import batch_search, command, worker
from fdl.aot.batch_search import Try, largest
from fdl.aot.chips import GIB
from fdl.aot.collectives import Collective, Collectives
from fdl.aot.compiled import Memory, Refusal
from fdl.aot.estimate import Estimate
from fdl.aot.flops import Cost
from fdl.aot.roofline import Roofline
from fdl.aot.worker import Request, compiled
from fdl.cli import main
from fdl.parallel.plan import Plan

FILE = '''"""Does a larger step learn faster?"""

import fdl
from fdl import data, models, tasks
import optax


@fdl.config
class Config:
    lr: float = fdl.traced(0.1, low=0.0)
    batch_size: int = fdl.static(64, low=1)
    width: int = 32
    remat: bool = False


def experiment(config):
    model = models.MLP(widths=(config.width,), outputs=10)
    return tasks.classification(
        model, data.digits(), optax.sgd(config.lr), steps=3600, batch_size=config.batch_size
    )


SWEEP = fdl.grid(Config(), lr=(0.1, 0.2), seeds=4)
'''


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "steps.py"
    path.write_text(FILE)
    (tmp_path / "toys.py").write_text("from tests.toy import Config, experiment\n")
    monkeypatch.chdir(tmp_path)
    return path


def foresight(*, held: int = GIB, available: int = 16 * GIB, seconds: float = 1e-3) -> Estimate:
    """Of a program that needs `held` bytes of those that are available."""
    memory = Memory(held, held, held, 0, 0, held)
    fits = held <= available
    return Estimate(
        memory=memory if fits else None,
        evaluation=None,
        refusal=None if fits else Refusal(held, available),
        collectives=Collectives((Collective("all-reduce", False, 3, 2**20, 1.5 * 2**20),) if fits else ()),
        cost=Cost(2 * 10**12, 10**9, 5),
        roofline=Roofline(seconds / 2, 0.0, seconds, 0.0, 0.5),
        moved=2**30,
        expected=Roofline(seconds, 2 * seconds, seconds, 0.0, 0.25) if fits else None,
        compile_seconds=1.0,
    )


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Request]]:
    """Puts a function in the place of compiling; gives the requests that it gets."""

    def put(answer: Callable[[Request], Any]) -> list[Request]:
        asked: list[Request] = []

        def stub(request: Request) -> Any:
            asked.append(request)
            return answer(request)

        for module in (command, batch_search):
            monkeypatch.setattr(module, "compiled", stub)
        monkeypatch.setattr(command, "check_compiler", lambda: None)
        return asked

    return put


BAD = {
    "no such chip": ("steps.py --topology v9:2x2", ["v9", "v5e", "tpu7x"]),
    "accelerator type": ("steps.py --topology v5litepod-16", ["did you mean v5e:4x4"]),
    "no such axis": ("steps.py --topology v5e:2x2 --mesh date=4", ["date", "fsdp"]),
    "too many devices": ("steps.py --topology v5e:2x2 --mesh data=8", ["8", "4"]),
    "not all devices": ("steps.py --topology v5e:2x2 --mesh data=3", ["data=3", "3", "4"]),
    "rows do not divide": ("steps.py --topology v5e:16x16 --mesh data=256", ["64", "256"]),
    "pmap with fsdp": ("steps.py --topology v5e:2x2 --mesh fsdp=4 --strategy pmap", ["pmap"]),
    "other slices": ("steps.py --topology v5e:2x2 --slices 2 --mesh data=4x2", ["data=4x2", "4", "2"]),
    "slices, of one": ("steps.py --topology v5e:2x4 --mesh data=2x4", ["data=2x4", "spans 2 slices", "1"]),
    "slices of v3": ("steps.py --topology v3:2x2 --slices 2", ["--slices", "v3"]),
    "price": ("steps.py --topology v5e:2x2 --price 0", ["--price"]),
    "fit alone": ("steps.py --fit", ["--fit", "--topology"]),
    "no field for the batch": ("toys.py --topology v5e:2x2 --mesh population=4 --fit", ["batch_size"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_anything_compiles(file, compiler, capsys, case):
    words, expected = BAD[case]
    asked = compiler(lambda request: foresight())
    assert main(["plan", *words.split()]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "\n" not in error, error
    assert all(word in error for word in expected), error
    assert not asked


def test_without_a_compiler_the_extra_is_named(file, monkeypatch, capsys):
    monkeypatch.setattr("fdl.aot.topology.importlib.util.find_spec", lambda name: None)
    assert main(["plan", "steps.py", "--topology", "v5e:2x2"]) == 2
    assert "pip install fdl[tpu]" in capsys.readouterr().err


@pytest.mark.medium
def test_hours_and_money_of_a_sweep(file, compiler, capsys):
    asked = compiler(lambda request: foresight(seconds=0.5))
    words = ["--topology", "v5e:2x2", "--slices", "2", "--mesh", "data=4", "--members", "4", "--price", "3"]
    assert main(["plan", "steps.py", *words, "--json"]) == 0
    # 8 runs of an hour's half each, 4 at a time: an hour of 2 slices of 4 chips.
    whole = json.loads(capsys.readouterr().out)
    (program,) = whole["programs"]
    assert program["seconds"] == 3600 and program["chip_hours"] == 8 and program["money"] == 24
    assert whole["chip_hours"] == 8 and whole["money"] == 24
    assert whole["expected_chip_hours"] == 16 and whole["expected_money"] == 48
    assert program["expected_seconds"] == 7200 and program["expected_money"] == 48
    assert program["fits"] and program["held"] == GIB and program["limit"] == "links"
    (request,) = asked
    assert request.plan == Plan(4, "vmap", "scan", 2, data=4) and request.slices == 2


@pytest.mark.parametrize(
    "mesh, axis, spans",
    [("data=4", "population", ()), ("data=8", "data", ()), ("data=4,fsdp=2x1", "fsdp", (1, 1, 2, 1)),
     ("data=2x2", "data", (1, 2, 1, 1))],
)  # fmt: skip
def test_a_person_is_told_which_axes_span_slices(mesh, axis, spans, file, compiler, capsys):
    asked = compiler(lambda request: foresight())
    some = ["--topology", "v5e:2x2", "--slices", "2", "--mesh", mesh, "--members", "4"]
    assert main(["plan", "steps.py", *some, "--json"]) == 0
    out, told = capsys.readouterr()
    assert f"2 slices, spanned by {axis} over 2\n" in told
    assert json.loads(out)["programs"][0]["spanned"] == {axis: 2}
    assert asked[0].plan.spans == spans and asked[0].plan.devices == 8


def test_the_search_keeps_what_spans_slices(file, compiler, capsys):
    asked = compiler(lambda request: foresight(held=request.config.batch_size, available=2048))
    words = ["--topology", "v5e:2x2", "--slices", "2", "--mesh", "data=4,fsdp=2x1", "--fit"]
    assert main(["plan", "steps.py", *words, "--seeds", "1"]) == 0
    assert {request.plan.spans for request in asked} == {(1, 1, 2, 1)}
    assert "--mesh data=4,fsdp=2x1 --batch-size 2048" in " ".join(capsys.readouterr().out.split())


def test_what_a_person_is_told(file, compiler, capsys):
    compiler(lambda request: foresight())
    assert main(["plan", "steps.py", "--topology", "v5e:2x2", "--price", "1.2"]) == 0
    out = capsys.readouterr().out
    for words in (
        "8 runs of 3,600 steps",
        "4 devices",
        "fits: 1.00 GiB of 15.8 GiB a chip",
        "1.00 GiB donated",
        "3 all-reduce of 1.00 MiB",
        "2 TFLOP",
        "at least 1.00 ms (compute 500 µs, links 1.00 ms): MFU at most 50%",
        "chip-hours",
        "a step should take 2.00 ms (memory, MFU 25%), training 7.2 s, 0.008 chip-hours",
        "if products reach 61% of the peak, as in a large model's training on v5e, and the 1.00 GiB that the",
        "8 runs: expected 0.008 chip-hours, costing 0.0096; at least 0.004 chip-hours, costing 0.0048 at 1.2",
        "lower bound",
    ):
        assert words in out, (words, out)


def test_fewer_members_where_they_do_not_fit_together(file, compiler, capsys):
    asked = compiler(lambda request: foresight(held=request.plan.members * 5 * GIB))
    assert main(["plan", "steps.py", "--topology", "v5e:1x1", "--json"]) == 0
    (program,) = json.loads(capsys.readouterr().out)["programs"]
    assert [request.plan.members for request in asked] == [8, 3]
    assert program["seconds"] == pytest.approx(3.6 * 3)  # 8 runs, 3 at a time


def test_a_program_that_does_not_fit_and_a_crash_are_said(file, compiler, capsys):
    compiler(lambda request: foresight(held=28 * GIB))
    assert main(["plan", "steps.py", "--topology", "v5e:1x1", "--seeds", "1", "--members", "1"]) == 1
    assert "DOES NOT FIT: the training needs at least 28.0 GiB a chip, of 15.8 GiB" in capsys.readouterr().out
    compiler(lambda request: "the compiler crashed (SIGSEGV)")
    assert main(["plan", "steps.py", "--topology", "v5e:1x1"]) == 1
    assert "CANNOT BE COMPILED: the compiler crashed (SIGSEGV)" in capsys.readouterr().out


def test_what_does_not_fit_costs_nothing(file, compiler, capsys):
    compiler(lambda request: foresight(held=28 * GIB))
    words = ["--topology", "v5e:1x1", "--members", "1", "--price", "3"]
    assert main(["plan", "steps.py", *words, "--json"]) == 1
    captured = capsys.readouterr()
    assert "0 runs: at least 0 chip-hours, costing 0 at 3 each, without program 1" in captured.err
    assert json.loads(captured.out)["money"] == 0


def test_a_file_without_a_sweep_is_one_run(file, compiler, capsys):
    asked = compiler(lambda request: foresight())
    words = ["--topology", "v5e:2x2", "--mesh", "population=4", "--noise", "0.5"]
    assert main(["plan", "toys.py", *words]) == 0
    assert [request.config.noise for request in asked] == [0.5]
    assert main(["plan", "toys.py", *words, "--seeds", "3", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["programs"][0]["trials"] == 3
    assert "3 of 4 groups of devices have nothing to do" in captured.out


def test_rows_spread_where_there_are_fewer_runs_than_devices(file, compiler):
    asked = compiler(lambda request: foresight())
    assert main(["plan", "steps.py", "--topology", "v5e:4x8"]) == 0
    assert asked[0].plan == Plan(8, "vmap", "scan", 8, data=4)


@pytest.mark.parametrize("death", ["SIGSEGV", "SIGABRT"])
def test_a_crash_of_the_compiling_process_is_an_answer(file, monkeypatch, death):
    kill = f"import os, signal\nos.kill(os.getpid(), signal.{death})\n"
    (file.parent / "sitecustomize.py").write_text(kill)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(file.parent), os.environ.get("PYTHONPATH", "")]))
    config = worker.load_file(file).config()
    request = Request(file, config, Plan(1, "vmap", "scan"), "v5e:2x2", 1, False)
    assert compiled(request) == f"the compiler crashed ({death})"


def linear(fixed: float, row: float, available: int) -> Callable[[int], Try]:
    """A program that needs a fixed memory and some for each row."""
    return lambda rows: Try(
        rows, foresight(held=int(1000 * (fixed + row * rows)), available=1000 * available)
    )


@pytest.mark.parametrize("first", [1, 8, 1024])
@pytest.mark.parametrize(
    ("fixed", "row", "expected"), [(0, 1, 64), (50, 1, 32), (99, 1, 1), (0, 0.11, 512), (90, 0.009, 1024)]
)
def test_the_largest_batch_is_found_in_few_tries(fixed, row, expected, first):
    tries: list[int] = []

    def attempt(rows: int) -> Try:
        tries.append(rows)
        return linear(fixed, row, 100)(rows)

    best = largest(attempt, 100_000, first)
    assert best is not None and best.rows == expected
    assert 2 * expected in tries and len(tries) == len(set(tries)) <= 5


def test_a_batch_that_nothing_holds_and_what_cannot_be_compiled():
    assert largest(linear(200, 1, 100), 100_000, 8) is None
    assert largest(lambda rows: Try(rows, "no"), 100_000, 8) is None

    def up_to_16(rows: int) -> Try:
        return linear(0, 1, 100)(rows) if rows <= 16 else Try(rows, "no such batch")

    best = largest(up_to_16, 100_000, 1)
    assert best is not None and best.rows == 16


def test_the_search_prefers_the_least_time_of_a_row(file, compiler, capsys):
    def answer(request: Request) -> Estimate:
        rows = request.config.batch_size / 4
        once = 0.5e-3 if request.plan.fsdp > 1 else 1e-3
        held = rows * (100 if not request.config.remat else 50)
        seconds = once * (1 + rows) * (1.5 if request.config.remat else 1)
        return foresight(held=int(held), available=3300, seconds=seconds)

    compiler(answer)
    assert main(["plan", "steps.py", "--topology", "v5e:2x2", "--fit", "--seeds", "1", "--json"]) == 0
    captured = capsys.readouterr()
    (settings,) = json.loads(captured.out)["programs"]
    found = {(one["mesh"], one["remat"]): one for one in settings}
    assert set(found) == {
        (mesh, remat) for mesh in ("data=4", "data=2,fsdp=2", "fsdp=4") for remat in (False, True)
    }
    assert {one["rows"] for (_, remat), one in found.items() if remat} == {64}
    assert [key for key, one in found.items() if one["cheapest"]] == [("data=2,fsdp=2", False)]
    assert "--mesh data=2,fsdp=2 --batch-size 128 --no-remat" in captured.err


@pytest.mark.medium
def test_the_search_begins_with_any_batch_and_names_all_flags(file, compiler, capsys):
    compiler(lambda request: foresight(held=request.config.batch_size, available=2048))
    words = ["--topology", "v5e:16x16", "--fit", "--strategy", "shard_map", "--price", "2"]
    assert main(["plan", "steps.py", *words]) == 0  # the file's 64 rows do not divide over 256 chips
    out = " ".join(capsys.readouterr().out.split())
    assert "--mesh data=256 --batch-size 2048 --strategy shard_map --no-remat" in out
    # Two milliseconds of 256 chips for 2048 rows, at 2 an hour.
    assert "expected 0.139 for a million rows" in out


@pytest.mark.parametrize(
    ("topology", "words"), [("v5e:1x2", "expected"), ("v3:1x1", "least")], ids=["v5e", "v3"]
)
def test_what_is_ranked_is_optimised_and_of_an_unknown_chip_by_its_bound(
    file, compiler, capsys, topology, words
):
    def answer(request: Request) -> Estimate:  # the optimised program needs more
        found = foresight(held=request.config.batch_size * (1 if request.quick else 3), available=1024)
        return found if words == "expected" else found._replace(expected=None)

    asked = compiler(answer)
    assert main(["plan", "steps.py", "--topology", topology, "--fit", "--quick", "--seeds", "1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert f"by the {words} time of a row: --mesh data=2 --batch-size 256" in out
    assert "512 rows a device, little optimised: fits" in out
    last = [(one.config.batch_size, one.quick) for one in asked if not one.config.remat][-3:]
    assert last == [(1024, False), (512, False), (256, False)]


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed: fdl[tpu]")
@pytest.mark.tpu_compile
def test_the_compiler_itself_says_what_fits(file, capsys):
    words = ["plan", "steps.py", "--topology", "v5e:2x2", "--mesh", "data=4", "--quick", "--json"]
    assert main([*words, "--width", "4096"]) == 0
    captured = capsys.readouterr()
    (program,) = json.loads(captured.out)["programs"]
    weights = 4 * (64 * 4096 + 4096 + 4096 * 10 + 10)
    assert program["fits"] and 8 * weights < program["held"] < 15 * GIB  # eight members
    assert "all-reduce" in captured.err and "MFU at most" in captured.err
    assert main([*words, "--width", "60000000", "--members", "1"]) == 1
    captured = capsys.readouterr()
    (program,) = json.loads(captured.out)["programs"]
    assert not program["fits"] and program["held"] > program["available"] > 15 * GIB
    assert "DOES NOT FIT: the training needs" in captured.err
