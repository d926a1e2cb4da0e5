"""`--wandb`: every row once, whatever was killed between, and nothing is sent; read back from W&B's files."""

import importlib.machinery
import importlib.util
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fdl
from fdl.cli import main
from fdl.cli.wandb_runs import WandbRuns, check_wandb, mode, whole_records
from tests.cli.test_tensorboard import ARMS, until
from tests.report.examples import METRICS, example

wandb = pytest.importorskip("wandb")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Files in a folder of the test's own, and no word of WANDB_MODE."""
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")


@pytest.fixture
def directory(tmp_path):
    place = tmp_path / "runs" / "0123"
    place.mkdir(parents=True)
    return place


def records(path: Path) -> list[Any]:
    """What a file holds as far as it is whole, as messages of W&B."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    return [Record.FromString(data) for data in whole_records(path.read_bytes())]


def files(root: Path, *, torn: Collection[Path] = ()) -> list[Path]:
    """All files but those that were torn before, once W&B's own process has written their ends."""
    found = sorted(root.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: (path not in torn, path))
    for path in found[len(torn) :]:
        end = time.monotonic() + 5.0
        while time.monotonic() < end and not any(
            one.WhichOneof("record_type") == "exit" for one in records(path)
        ):
            time.sleep(0.02)
    return found


def told(root: Path, *, torn: Collection[Path] = ()) -> dict[str, dict[str, Any]]:
    """Of every run by its title: its config, its rows as often as they are there, how it ended, its ids."""
    found: dict[str, dict[str, Any]] = {}
    for path in files(root, torn=torn):
        there = {kind: [] for kind in ("run", "history", "summary", "exit")}
        for record in records(path):
            kind = record.WhichOneof("record_type")
            there.setdefault(kind, []).append(getattr(record, kind))
        (run,) = there["run"]
        one = found.setdefault(run.display_name, {"rows": [], "ids": set(), "exits": [], "ended": None})
        one["ids"].add(run.run_id)
        one |= {"project": run.project, "config": values(run.config.update)}
        for history in there["history"]:
            row = values(history.item)
            one["rows"] += [(key, row["_step"], value) for key, value in row.items() if key[0] != "_"]
        one["exits"] += [end.exit_code for end in there["exit"]]
        for summary in there["summary"]:
            one["ended"] = values(summary.update).get("status", one["ended"])
    return found


def values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


@pytest.mark.medium
def test_every_row_is_there_once_after_kills(directory, tmp_path):
    result = example(ARMS, seeds=2)
    result.frame.loc[0, METRICS[0]] = np.nan
    running = until(result, 30)
    running.frame["status"] = "running"
    first = WandbRuns("project", directory)
    first.write(until(running, 10))
    first.write(running)
    first.close()
    torn = files(tmp_path)
    for path in torn:  # a kill in the midst of what follows step 20
        log = path.read_bytes()
        path.write_bytes(log[: len(log) * 2 // 3])
    # What goes on has a checkpoint of step 20, and measures 30 once more.
    second = WandbRuns("project", directory)
    second.write(until(running, 20))
    second.write(running)
    second.write(result)
    before = files(tmp_path, torn=torn)
    WandbRuns("project", directory).write(result)
    assert files(tmp_path, torn=torn) == before and len(before) == 8, "all is there"
    found = told(tmp_path, torn=torn)
    assert len(found) == 4 and len({name for one in found.values() for name in one["ids"]}) == 4
    for (arm, seed), run in result.frame.groupby(["arm", "seed"], sort=False):
        one = found[f"{arm} seed={seed}"]
        expected = [
            (metric, row["step"], row[metric])
            for metric in METRICS
            for row in run.to_dict("records")
            if not np.isnan(row[metric])
        ]
        assert sorted(one["rows"]) == sorted(expected)
        assert one["config"].items() >= {"arm": arm, "seed": seed, **ARMS[arm]}.items()
        assert (one["project"], one["ended"], one["exits"][-1]) == ("project", "finished", 0)


@pytest.mark.medium
def test_a_sweep_has_its_runs_in_wandb_and_nothing_is_sent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = '"""Q?"""\nimport fdl\nfrom tests.toy import Config, experiment\n'
    (tmp_path / "file.py").write_text(text + "SWEEP = fdl.grid(Config(steps=20), lr=(0.0, 0.05), seeds=2)\n")
    words = ["sweep", "file.py", "--workdir", "here", "--json", "--wandb", "toy"]
    assert main(words) == 0
    first, frame = told(tmp_path), fdl.load("here").frame
    assert len(first) == 4 and {len(one["rows"]) for one in first.values()} == {
        2 * len(frame.filter(like="/").columns)
    }
    assert {one["ended"] for one in first.values()} == {"finished"}
    assert main(words) == 0 and told(tmp_path) == first
    assert wandb.env.error_reporting_enabled() is False


@pytest.mark.parametrize(
    ("said", "expected"),
    [(None, "offline"), ("", "offline"), ("run", "offline"), ("dryrun", "offline"), ("shared", "offline"),
     ("online", "online"), ("disabled", "disabled")],
)  # fmt: skip
def test_only_who_says_online_is_online(said, expected, monkeypatch):
    if said is not None:
        monkeypatch.setenv("WANDB_MODE", said)
    assert mode() == expected


def test_what_cannot_be_is_refused(monkeypatch):
    for project in ("", "a/b", "x" * 129):
        with pytest.raises(ValueError, match="expected a project's name"):
            check_wandb(project)
    folder = importlib.machinery.ModuleSpec("wandb", None)
    for absent in (None, folder):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, absent=absent: absent)
        with pytest.raises(ValueError, match=r"needs the extra 'wandb': pip install fdl\[wandb\]"):
            check_wandb("project")


def test_records_longer_than_a_block_are_whole_and_a_torn_one_ends_it(tmp_path, directory):
    long = example({"x" * 100_000: {"lr": 0.1}}, seeds=1)
    WandbRuns("project", directory).write(until(long, 10))
    (path,) = files(tmp_path)
    log = path.read_bytes()
    there = list(whole_records(log))
    assert max(map(len, there)) > 100_000 and len(there) > 3
    assert list(whole_records(log[:-1])) == there[:-1]
    assert list(whole_records(log[:50_000])) == there[: [len(one) > 1000 for one in there].index(True)]
