"""What a sweep's directory holds, damaged or written by half: right again, or one line."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fdl.parallel.plan import Plan
from fdl.sweeps import decided, grid, stored, sweep
from fdl.train import Progress, Saving, autotune, history
from fdl.train.folder import write_json
from tests.toy import Config, experiment
from tests.train.test_damage import DAMAGE

pytestmark = pytest.mark.usefixtures("one_program")
SPACE = grid(Config(), lr=(0.01, 0.05), seeds=2)
OFTEN = Saving(steps=15)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Two units of two runs each."""
    directory = tmp_path_factory.mktemp("finished")
    sweep(experiment, SPACE, workdir=directory, members=2, saving=OFTEN)
    return directory


@pytest.fixture
def here(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "here"))


def units(directory: Path) -> list[Path]:
    return sorted(path.parent for path in directory.glob("units/*/unit.json"))


def again(directory: Path) -> tuple[pd.DataFrame, list[str]]:
    lines: list[str] = []
    progress = Progress(say=lines.append)
    return sweep(experiment, SPACE, workdir=directory, saving=OFTEN, progress=progress).frame, lines


@pytest.mark.medium
@pytest.mark.parametrize("harm", [lambda text: text[:-7], lambda text: text[:-40] + b"\0" * 40])
def test_a_row_of_a_finished_unit_that_is_gone_is_said_and_measured_again(finished, here, harm):
    whole = stored(experiment, SPACE, workdir=finished).frame
    path = units(here)[0] / "metrics.jsonl"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(
        ValueError, match=r"metrics.jsonl has 7 rows of the 8 that were measured; the command"
    ):
        stored(experiment, SPACE, workdir=here)
    frame, lines = again(here)
    pd.testing.assert_frame_equal(frame, whole, check_exact=True)
    assert any("has 7 rows of the 8" in line for line in lines)
    assert any("going on from step 30" in line for line in lines), lines
    pd.testing.assert_frame_equal(stored(experiment, SPACE, workdir=here).frame, whole, check_exact=True)


@pytest.mark.medium
@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_end_is_said_and_made_again(finished, here, text):
    (units(here)[1] / "done.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"done\.json is (damaged|not JSON)"):
        stored(experiment, SPACE, workdir=here)
    frame, lines = again(here)
    whole = stored(experiment, SPACE, workdir=finished)
    pd.testing.assert_frame_equal(frame, whole.frame, check_exact=True)
    assert sum("done.json is " in line for line in lines) == 1
    one, other = whole.meta["programs"], stored(experiment, SPACE, workdir=here).meta["programs"]
    assert [u["train_seconds"] for u in one] == [u["train_seconds"] for u in other], "it is what it took then"


@pytest.mark.medium
@pytest.mark.parametrize("text", DAMAGE)
def test_a_damaged_unit_is_one_line_and_mended_as_it_says(finished, here, text):
    unit = units(here)[1]
    (unit / "unit.json").write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"unit\.json is .*move that folder away") as raised:
        again(here)
    assert "\n" not in str(raised.value)
    unit.rename(here / "aside")
    pd.testing.assert_frame_equal(
        again(here)[0], stored(experiment, SPACE, workdir=finished).frame, check_exact=True
    )


@pytest.mark.medium
def test_a_sweep_killed_between_the_writing_of_two_units_goes_on_as_it_was_decided(
    finished, tmp_path, monkeypatch
):
    written, real = [], decided.write_sealed

    def killed(path: Path, data: dict, *, of: str = "") -> None:
        if path.name == "unit.json" and len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        real(path, data, of=of)

    monkeypatch.setattr(decided, "write_sealed", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(experiment, SPACE, workdir=tmp_path, members=2, saving=OFTEN)
    assert len(units(tmp_path)) == 1
    monkeypatch.undo()
    sweep(experiment, SPACE, workdir=tmp_path, members=1, saving=OFTEN)  # other units, if it were decided now
    assert [path.name for path in units(tmp_path)] == [path.name for path in units(finished)]
    for one, other in zip(units(tmp_path), units(finished), strict=True):
        plans = [json.loads((unit / "unit.json").read_text())["plan"] for unit in (one, other)]
        assert plans[0] == plans[1]
    assert not (tmp_path / "units" / "decided.json").exists()


@pytest.mark.medium
def test_versions_and_device_of_a_result_are_those_that_trained_it(here, monkeypatch):
    real = stored(experiment, SPACE, workdir=here).meta
    now = history.here()
    newer = {"versions": {**now["versions"], "jax": "9"}, "device": "new"}
    monkeypatch.setattr(history, "here", lambda _: newer)
    assert {k: stored(experiment, SPACE, workdir=here).meta[k] for k in ("versions", "device")} == {
        k: real[k] for k in ("versions", "device")
    }
    wider = sweep(experiment, SPACE.with_seeds(3), workdir=here).meta
    assert (
        wider["versions"]["jax"]
        == f"{now['versions']['jax']} (steps 1 to 40 of 4 runs), 9 (steps 1 to 40 of 2 runs)"
    )
    assert wider["device"] == f"{now['device']} (steps 1 to 40 of 4 runs), new (steps 1 to 40 of 2 runs)"


CACHES = {
    "invalid": lambda known: "{",
    "not UTF-8": lambda known: "\xff",
    "a list": lambda known: "[1]",
    "nothing": lambda known: "null",
    "no reason": lambda known: json.dumps({"plan": known["plan"], "seconds": 1.0}),
    "a number as reason": lambda known: json.dumps({**known, "reason": 3}),
    "no member": lambda known: json.dumps({**known, "plan": {**known["plan"], "members": 0}}),
    "half a member": lambda known: json.dumps({**known, "plan": {**known["plan"], "members": 0.5}}),
    "more members": lambda known: json.dumps({**known, "plan": {**known["plan"], "members": 64}}),
    "64 devices": lambda known: json.dumps({**known, "plan": {**known["plan"], "population": 64}}),
    "too short": lambda known: json.dumps({**known, "plan": {"members": 2, "across": "map"}}),
    "too long": lambda known: json.dumps({**known, "plan": {**known["plan"], "rows": 1}}),
    "no loop": lambda known: json.dumps({**known, "plan": {**known["plan"], "loop": "no"}}),
    "no time": lambda known: json.dumps({**known, "seconds": "soon"}),
}


@pytest.mark.parametrize("harm", CACHES)
def test_a_plan_that_was_remembered_wrongly_is_said_once_and_measured_again(tmp_path, harm):
    plans = [Plan(4, "vmap", "scan"), Plan(4, "vmap", "scan", 2)]
    path = tmp_path / "plan.json"
    lines: list[str] = []
    plan = plans[1]._replace(members=2)
    for known_as in (list(plan), plan._asdict()):  # as earlier versions did, and as this one does
        write_json(path, {"plan": known_as, "reason": "fastest", "seconds": 1.0})
        known = autotune._remembered(path, plans, lines.append)
        assert known and known.plan == plan and not lines
    path.write_bytes(CACHES[harm](json.loads(path.read_text())).encode("latin1"))
    assert autotune._remembered(path, plans, lines.append) is None
    assert len(lines) == (harm != "nothing") and all("measuring again" in line for line in lines)


@pytest.mark.medium
def test_a_damaged_plan_stops_no_run(plans):
    space = grid(Config(steps=5), seeds=2)
    first = sweep(experiment, space).frame
    (path,) = (plans / "plans").iterdir()
    path.write_text("[1]")
    lines: list[str] = []
    again = sweep(experiment, space, progress=Progress(say=lines.append)).frame
    assert sum("measuring again" in line for line in lines) == 1
    assert json.loads(path.read_text())["plan"]
    pd.testing.assert_frame_equal(first, again)
