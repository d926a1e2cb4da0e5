"""`fdl doctor` as a command, and as the first step of those that train."""

import jax
import pytest

from fdl.cli import beginning, commands, main
from fdl.doctor.examination import UNFIT


@pytest.mark.parametrize(("words", "said"), [
    (["--slices", "2"], "--slices is 2 without --topology; add it, as --topology v5e:4x4"),
    (["--topology", "v5e:4x5"], "--topology v5e:4x5: hosts have 2x2 chips"),
    (["--topology", "v3:2x2", "--slices", "2"], "no program spans slices of v3"),
    (["--workdir", " "], "--workdir is ' '; expected a folder, or leave it out"),
    (["--workdir", "gcs://a/b"], "gcs://a/b is no place to write to; expected gs://BUCKET/NAME"),
    (["--mesh", "data=2"], "--mesh"),
    (["file.py"], "file.py"),
    (["--process-id", "0"], "several processes need all of"),
])  # fmt: skip
def test_bad_input_is_one_line(words, said, capsys):
    assert main(["doctor", *words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_devices_that_are_not_as_asked(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor", "--topology", "v6e:4x4"]) == 1
    out, error = capsys.readouterr()
    assert error.startswith(
        f"{UNFIT}the devices are {len(jax.devices())} of cpu; expected 16 of v6e, as v6e:4x4"
    )
    assert "speed not judged: CPU devices share cores" in out and "right on all devices" in out


@pytest.mark.parametrize(("words", "begins"), [([], True), (["--no-doctor"], False)])
def test_it_is_the_first_step_on_a_slice_unless_it_is_skipped(words, begins, monkeypatch, tmp_path):
    began = []
    monkeypatch.setattr(beginning, "on_slice", lambda: True)
    monkeypatch.setattr(beginning, "check_machine", lambda place, _: began.append(place))

    def trains(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "sweep", trains)
    command = ["run", "tests/parallel/hosts_experiment.py", "--workdir", str(tmp_path / "x"), *words]
    assert main(command) == 75
    assert began == ([str(tmp_path / "x")] if begins else [])
