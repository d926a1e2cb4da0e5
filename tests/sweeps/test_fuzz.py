"""The small files of a work directory, damaged at random: the right result, or one line and nothing lost."""

import hashlib
import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fdl.cli.exit_codes import _ours
from fdl.parallel.plan import Plan
from fdl.sweeps import grid, stored, sweep
from fdl.train import Progress, Saving, autotune, seal
from tests.toy import Config, experiment
from tests.train.test_checkpoint import Stop
from tests.train.test_damage import DAMAGE

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_program")]
CASES = 60
SPACE = grid(Config(steps=20), lr=(0.01, 0.05), seeds=2)


def swept(directory: Path, **more: Any) -> pd.DataFrame:
    return sweep(build, SPACE, workdir=directory, members=2, saving=Saving(steps=6), **more).frame


def build(config: Config) -> Any:
    return experiment(config, every=5)


@pytest.fixture
def one_plan(monkeypatch):
    """Every unit runs in the same way, so that results are the same to the last bit."""
    monkeypatch.setattr(autotune, "candidates", lambda *_, **__: [Plan(2, "vmap", "scan")])
    monkeypatch.setattr(seal, "WAITS", (0.0,))


def interrupted(directory: Path) -> None:
    """One unit finished, and one with checkpoints."""

    def crash(done: int, total: int, live: int) -> None:
        if done >= 0.9 * total:
            raise Stop

    with pytest.raises(Stop):
        swept(directory, progress=Progress(step=crash))
    assert len(list(directory.glob("units/*/done.json"))) == 1
    assert len(list(directory.glob("units/*/checkpoints/*/checksums.json"))) == 4


def text_of(value: Any, dice: random.Random) -> Any:
    """JSON data with one entry, at any depth, left out or changed."""
    if isinstance(value, dict) and value:
        name = dice.choice(sorted(value))
        if dice.random() < 0.3:
            return {key: one for key, one in value.items() if key != name}
        return {**value, name: text_of(value[name], dice)}
    if isinstance(value, list) and value:
        place = dice.randrange(len(value))
        return [*value[:place], text_of(value[place], dice), *value[place + 1 :]]
    return dice.choice([None, 0, -1, 10**20, 0.5, float("nan"), "", "x", [], {}, True])


def harmed(path: Path, dice: random.Random, others: list[Path]) -> str:
    """Damages a file in one of many ways; which."""
    content = path.read_bytes()
    place = dice.randrange(len(content) + 1)
    how = dice.choice(["cut", "flip", "zeros", "more", "text", "gone", "other", "folder", "changed", "lines"])
    if how == "gone" or (how == "changed" and path.suffix != ".json"):
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "changed":
        path.write_text(json.dumps(text_of(json.loads(content), dice)))
    elif how == "flip" and content:
        place = min(place, len(content) - 1)
        path.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << dice.randrange(8)]) + content[place + 1 :]
        )
    else:
        lines = content.splitlines(keepends=True)
        dice.shuffle(lines)
        path.write_bytes({
            "cut": content[:place],
            "flip": b"1",
            "zeros": content[:place] + bytes(len(content) - place),
            "more": content + dice.randbytes(dice.randrange(1, 30)),
            "text": dice.choice(DAMAGE).encode("latin1"),
            "other": dice.choice(others).read_bytes(),
            "lines": b"".join(lines),
        }[how])  # fmt: skip
    return how


def contents(directory: Path) -> Counter:
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")
    return Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def test_damage_gives_the_right_result_or_one_line_and_loses_nothing(tmp_path, plans, one_plan):
    interrupted(tmp_path / "interrupted")
    whole = swept(tmp_path / "whole")
    ended: Counter = Counter()
    for number in range(CASES):
        dice, here = random.Random(number), tmp_path / "here"
        shutil.copytree(tmp_path / "interrupted", here)
        files = sorted(path for path in here.rglob("*") if path.is_file() and path.name != ".lock")
        small = [path for path in files if path.suffix in (".json", ".jsonl")]
        path = dice.choice(small if dice.random() < 0.8 else files)
        how = harmed(path, dice, [one for one in files if one.suffix == path.suffix])
        case = f"case {number}: {path.relative_to(here)} ({how})"
        # Another unit may have been trained to its end before the damaged one's turn came.
        concerned = next((unit for unit in here.glob("units/*") if unit in path.parents), here)
        before = contents(concerned)
        try:
            frame = swept(here)
        except (ValueError, OSError) as error:
            assert isinstance(error, OSError) or _ours(error, []), case
            assert "\n" not in str(error) and len(str(error)) < 2000, case
            assert not before - contents(here), f"{case}: lost"
            ended[type(error).__name__] += 1
        except Exception as error:
            raise AssertionError(case) from error
        else:
            pd.testing.assert_frame_equal(frame, whole, check_exact=True, obj=case)
            pd.testing.assert_frame_equal(stored(build, SPACE, workdir=here).frame, whole, check_exact=True)
            ended["right"] += 1
        shutil.rmtree(here)
    assert ended["right"] > CASES / 4 and ended["ValueError"] > CASES / 10, ended
