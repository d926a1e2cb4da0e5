"""Synthesised digits: through a stand-in for espeak-ng, and through espeak-ng where it is installed."""

import json
import shutil
import sys

import numpy as np
import pytest

from fdl.data.datasets.speech import synthesised_digits

WORDS = "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"
# Writes a wave that holds what it was asked for, and notes how it was called.
STAND_IN = """#!{python}
import json, sys, wave
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps(arguments) + "\\n")
voice, file, word = arguments[1], arguments[7], arguments[8]
speed, pitch = int(arguments[3]), int(arguments[5])
if voice == "unknown":
    sys.exit("Error: The specified espeak-ng voice\\ndoes not exist.")
if voice == "silent":
    sys.exit()
samples = [{words!r}.index(word), speed, pitch, len(voice)]
with wave.open(file, "wb") as out:
    out.setparams((1, 2, 22050, 0, "NONE", "NONE"))
    content = b"".join(sample.to_bytes(2, "little") for sample in samples)
    out.writeframes(content[:-2] if voice == "short" else content)
if voice == "cut":
    with open(file, "r+b") as out:
        out.truncate(48)
"""


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Puts the stand-in on the path; gives the list of its calls."""
    program, log = tmp_path / "espeak-ng", tmp_path / "log"
    program.write_text(STAND_IN.format(python=sys.executable, log=str(log), words=WORDS))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return lambda: [json.loads(line) for line in log.read_text().splitlines()]


def parts(splits):
    return [getattr(splits, name) for name in ("train", "validation", "test")]


def together(splits):
    """All rows of the three parts by name."""
    first, *others = parts(splits)
    return {name: np.concatenate([first[name], *(part[name] for part in others)]) for name in first}


@pytest.mark.medium
def test_every_digit_in_every_voice_speed_and_pitch(calls):
    found = synthesised_digits(voices=("en", "short"), speeds=(150,), pitches=(10, 40), length=5)
    rows = together(found)
    assert [len(part["y"]) for part in parts(found)] == [24, 8, 8]
    assert rows["x"].dtype == np.int16 and rows["x"].shape == (40, 5)
    spoken = {tuple(x) for x in rows["x"].tolist()}
    expected = {(y, 150, pitch, last, 0) for y in range(10) for pitch in (10, 40) for last in (2, 0)}
    assert spoken == expected
    np.testing.assert_array_equal(rows["y"], rows["x"][:, 0])
    np.testing.assert_array_equal(rows["voice"], rows["x"][:, 3] == 0)
    np.testing.assert_array_equal(rows["length"], np.where(rows["voice"] == 1, 3, 4))
    assert found.classes == WORDS
    assert found.prepare is not None
    test = parts(found)[2]
    np.testing.assert_array_equal(found.prepare(test)["x"] * 32768, test["x"])
    assert len(calls()) == 40 and calls()[0][:7] == ["-v", "en", "-s", "150", "-p", "10", "-w"]


@pytest.mark.parametrize(
    ("voice", "message"),
    [
        ("unknown", r"'zero' in voice 'unknown' \(status 1: Error: The .* voice does not exist\.\)"),
        ("silent", r"'zero' in voice 'silent' \(status 0: no message\)"),
        ("cut", r"word\.wav: byte 36: the chunk b'data' says it has 8 bytes, but 4 are left"),
    ],
)
def test_a_failure_is_named_and_leaves_nothing(calls, tmp_path, monkeypatch, voice, message):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "work"))
    (tmp_path / "work").mkdir()
    with pytest.raises(ValueError, match=message) as caught:
        synthesised_digits(voices=(voice,), speeds=(150,), pitches=(50,))
    assert "\n" not in str(caught.value)
    assert len(calls()) == 1 and not list((tmp_path / "work").iterdir())


def test_a_program_that_never_ends_is_left(calls, tmp_path, monkeypatch):
    monkeypatch.setattr("fdl.data.datasets.speech._PATIENCE", 0.3)
    (tmp_path / "espeak-ng").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    with pytest.raises(OSError, match=r"did not say 'zero' in 0\.3 s"):
        synthesised_digits(voices=("en",), speeds=(150,), pitches=(50,))


def test_no_voices(calls):
    with pytest.raises(ValueError, match=r"voices is .*; expected at least one value"):
        synthesised_digits(voices=())


def test_without_the_program(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="espeak-ng is not installed; install it"):
        synthesised_digits()


def test_espeak_ng():
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs the program espeak-ng")
    rows = together(synthesised_digits(voices=("en-us", "en-gb"), speeds=(160,), pitches=(50,)))
    assert rows["x"].shape == (20, 22050) and (rows["length"] > 4000).all()
    assert all(np.abs(x.astype(float)).max() > 1000 for x in rows["x"])
    assert len({x.tobytes() for x in rows["x"]}) == 20
