"""What was damaged, what cannot be read, and what came from somewhere else: found, said, and nothing lost."""

import json
import re
import shutil
from pathlib import Path

import jax
import pytest

from fdl.train import Progress, fit, folder, history, rows_file, seal
from fdl.train.seal import SEAL
from tests.toy import Config, experiment
from tests.train.test_checkpoint import OFTEN, Stop, crash_at, data_files, rows_in, steps_in
from tests.train.test_run import KEY, same


@pytest.fixture(scope="module")
def undisturbed():
    return fit(experiment(Config()), KEY)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """A run of 40 steps that crashed after the checkpoints of steps 21 and 28."""
    directory = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(Stop):
        fit(experiment(Config()), KEY, directory=directory, saving=OFTEN, progress=crash_at(30))
    assert steps_in(directory) == [21, 28] and [row["step"] for row in rows_in(directory)] == [10, 20]
    return directory


@pytest.fixture
def here(interrupted, tmp_path) -> Path:
    return Path(shutil.copytree(interrupted, tmp_path / "here"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def no_seal_and_a_flipped_bit(directory: Path) -> None:
    (directory / "checkpoints" / "28" / SEAL).unlink()
    flip(max(data_files(directory, 28), key=lambda path: path.stat().st_size))


def another_step(directory: Path) -> None:
    (directory / "checkpoints" / "28").rename(directory / "checkpoints" / "39")


def changed_seal(text: str):
    return lambda directory: (directory / "checkpoints" / "28" / SEAL).write_text(text)


def a_second_more(directory: Path) -> None:
    path = directory / "checkpoints" / "28" / SEAL
    path.write_text(path.read_text().replace('"seconds": ', '"seconds": 1'))


@pytest.mark.medium
@pytest.mark.parametrize(
    ("harm", "words", "step"),
    [
        (no_seal_and_a_flipped_bit, "/28: has no checksums.json", 21),
        (another_step, "/39: is that of step 28", 21),
        (changed_seal("null"), "/28: .*is damaged", 21),
        (changed_seal('{"files": {}}'), "/28: .*is damaged", 21),
        (changed_seal("{"), "/28: .*is not JSON", 21),
        (a_second_more, "/28: .*is damaged", 21),
    ],
)
def test_a_checkpoint_that_is_not_what_was_saved_is_said_and_the_one_before_is_used(
    here, undisturbed, harm, words, step
):
    harm(here)
    lines: list[str] = []
    resumed = fit(
        experiment(Config()), KEY, directory=here, saving=OFTEN, progress=Progress(say=lines.append)
    )
    said, again = lines
    assert again.startswith(f"went on from step {step}: ")
    assert said.startswith("damaged checkpoint") and said.endswith(f"going on from step {step}")
    assert re.search(words, said)
    same(resumed.state, undisturbed.state)
    assert resumed.rows == undisturbed.rows
    assert len(list((here / "damaged").iterdir())) == 1, "nothing is deleted"


@pytest.mark.medium
def test_a_run_killed_before_its_first_seal_begins_anew(here, undisturbed):
    for step in (21, 28):
        (here / "checkpoints" / str(step) / SEAL).unlink()
    resumed = fit(experiment(Config()), KEY, directory=here, saving=OFTEN)
    same(resumed.state, undisturbed.state)
    assert resumed.rows == undisturbed.rows and len(list((here / "damaged").iterdir())) == 2


@pytest.mark.medium
def test_rows_that_a_checkpoint_stands_for_and_that_are_gone_are_measured_again_or_refused(
    interrupted, tmp_path, undisturbed
):
    finished = tmp_path / "finished"
    fit(experiment(Config()), KEY, directory=finished, saving=OFTEN)
    assert steps_in(finished) == [35, 40]
    path = finished / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    lines: list[str] = []
    again = fit(
        experiment(Config()), KEY, directory=finished, saving=OFTEN, progress=Progress(say=lines.append)
    )
    assert "metrics.jsonl has 3 rows of the 4 that were measured" in lines[0] and "from step 35" in lines[0]
    assert again.rows == undisturbed.rows
    same(again.state, undisturbed.state)
    path.write_bytes(b"\0" * 100 + path.read_bytes())
    with pytest.raises(ValueError, match=r"has 3 rows of the 4 that were measured.*or move .* alone away"):
        fit(experiment(Config()), KEY, directory=finished, saving=OFTEN)


def test_a_line_that_is_no_row_is_said_where_it_stands_for_none(here, undisturbed):
    with (here / "metrics.jsonl").open("ab") as file:
        file.write(b'\xff\xfe{"step": 25}\n{"member": 0, "st')
    lines: list[str] = []
    resumed = fit(
        experiment(Config()), KEY, directory=here, saving=OFTEN, progress=Progress(say=lines.append)
    )
    fault, again = lines
    assert "line 3 of" in fault and "is no row" in fault and again.startswith("went on from step 28: ")
    assert (
        resumed.rows
        == undisturbed.rows
        == [{k: v for k, v in row.items() if k != "member"} for row in rows_in(here)]
    )


@pytest.mark.medium
@pytest.mark.parametrize("fails", [2, 100], ids=["for a moment", "for good"])
def test_a_checkpoint_that_cannot_be_read_is_not_damaged(here, undisturbed, monkeypatch, fails):
    real, left = seal._crc32, [fails]

    def failing(path: Path) -> int:
        if left[0]:
            left[0] -= 1
            raise OSError(5, "Input/output error", str(path))
        return real(path)

    monkeypatch.setattr(seal, "_crc32", failing)
    monkeypatch.setattr(seal, "WAITS", (0.0, 0.0, 0.0))
    before = sorted(path.relative_to(here) for path in here.rglob("*"))
    if fails > 3:
        with pytest.raises(OSError, match=r"cannot read .*/28: .*Input/output error"):
            fit(experiment(Config()), KEY, directory=here, saving=OFTEN)
        assert sorted(path.relative_to(here) for path in here.rglob("*")) == before
        return
    lines: list[str] = []
    resumed = fit(
        experiment(Config()), KEY, directory=here, saving=OFTEN, progress=Progress(say=lines.append)
    )
    same(resumed.state, undisturbed.state)
    (again,) = lines
    assert again.startswith("went on from step 28: ") and not (here / "damaged").exists()


def test_a_run_by_an_fdl_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setattr(history, "_NAMES", ("fdl that is not there", "jax"))
    assert history.here()["versions"]["fdl that is not there"] == "not installed"
    assert history.here()["versions"]["jax"] == jax.__version__


def test_who_trained_which_steps_is_known_and_a_change_is_said(here, monkeypatch):
    now = history.here()
    newer = {**now, "versions": {**now["versions"], "jaxlib": "9.9"}, "day": "2099-12-31", "command": "late"}
    monkeypatch.setattr(history, "here", lambda: newer)
    lines: list[str] = []
    fit(experiment(Config()), KEY, directory=here, saving=OFTEN, progress=Progress(lines.append))
    other, again = lines
    assert f"from step 28 on with other versions (jaxlib: '{now['versions']['jaxlib']}' -> '9.9')" in other
    assert again.startswith("went on from step 28: ")
    about = json.loads((here / "checkpoints" / "40" / SEAL).read_text())["about"]
    assert [(part["from"], part["to"], part["versions"]["jaxlib"]) for part in about["parts"]] == [
        (0, 28, now["versions"]["jaxlib"]),
        (28, 40, "9.9"),
    ]
    other = [{"from": 0, "to": 40, **now}]
    told = history.told([(3, about["parts"]), (1, other)])
    was = now["versions"]["jaxlib"]
    assert told["versions"]["jaxlib"] == (
        f"{was} (steps 1 to 28 of 3 runs; steps 1 to 40 of 1 run), 9.9 (steps 29 to 40 of 3 runs)"
    )
    assert told["versions"]["jax"] == now["versions"]["jax"] and told["device"] == now["device"]
    first = f"{now['day']}, by {now['command']}"
    assert told["trained"] == (
        f"{first} (steps 1 to 28 of 3 runs; steps 1 to 40 of 1 run), "
        "2099-12-31, by late (steps 29 to 40 of 3 runs)"
    )
    earlier = [{name: part[name] for name in ("from", "to", "versions", "device")} for part in other]
    assert history.told([(1, earlier)])["trained"] == "unknown"


DAMAGE = ["", "\0" * 9, "{", "null", "[1]", "{}", '"text"', "\xff", '{"lr": 1}', '{"lr": 1, "digest": "0"}']


@pytest.mark.parametrize("text", DAMAGE)
def test_an_identity_that_is_damaged_is_one_line(tmp_path, text):
    folder.claim(tmp_path, {"lr": 1})
    (tmp_path / "identity.json").write_bytes(text.encode("latin1"))
    with pytest.raises(
        ValueError, match=r"identity\.json is (damaged|not JSON).*move the folder away"
    ) as raised:
        folder.claim(tmp_path, {"lr": 1})
    assert "\n" not in str(raised.value)
    assert (tmp_path / "identity.json").read_bytes() == text.encode("latin1")


def test_a_folder_in_the_place_of_an_identity_is_one_line(tmp_path):
    (tmp_path / "identity.json").mkdir()
    with pytest.raises(ValueError, match=r"identity\.json is a folder.*move the folder away"):
        folder.claim(tmp_path, {"lr": 1})


def test_of_two_commands_at_once_on_a_new_directory_the_one_that_has_the_lock_says_what_it_holds(tmp_path):
    place = tmp_path / "new"
    with folder.held(place, {"lr": 1}):
        with pytest.raises(ValueError, match="in use"), folder.held(place, {"lr": 2}):
            pass
        assert folder.identity_in(place) == {"lr": 1}
    other = tmp_path / "other"
    with folder._lock(other), pytest.raises(ValueError, match="in use"), folder.held(other, {"lr": 1}):
        pass
    assert folder.identity_in(other) is None


def test_a_lock_is_of_the_folder_that_is_there(tmp_path, monkeypatch):
    """The folder was moved aside between the opening of its lock and the locking."""
    place, real, moved = tmp_path / "here", folder.fcntl.flock, []

    def flock(lock, how):
        if not moved:
            moved.append(place.rename(tmp_path / "here.1"))
        real(lock, how)

    monkeypatch.setattr(folder.fcntl, "flock", flock)
    with folder.held(place, {"lr": 1}):
        assert (place / ".lock").exists() and folder.identity_in(place) == {"lr": 1}


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\n", b"{}\n", b'{"member": 0.5, "step": 1}\n', b"\xff\n", b"[" * 5000 + b"\n"]
)
def test_what_is_no_row_is_no_row(tmp_path, content):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"member": 0, "step": 1}\n' + content + b'{"member": 1, "step": 1}\n{"memb')
    reading = rows_file.read(path)
    assert [row["member"] for row in reading.rows] == [0, 1] and len(reading.faults) == bool(content)
