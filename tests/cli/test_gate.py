"""What a user gives wrong is one line and exit code 2, before anything is compiled or written."""

from pathlib import Path

import pytest

from fdl.cli import main
from fdl.train import autotune

HEAD = '"""Q?"""\nimport fdl, jax, jax.numpy as jnp\nfrom tests.toy import Config, experiment\n'
SWEEP = "SWEEP = fdl.grid(Config(steps=4), lr=(0.01, 0.05), seeds=5)\n"
COMPARED = "    return fdl.compare(result, metric='test/loss', arms='lr', better='lower')"
CLAIM = f"{SWEEP}def claim(result):\n"
CONFIG = "import fdl, tests.toy\n@fdl.config\nclass Config:\n    {}\ndef experiment(config):\n" + (
    "    return tests.toy.experiment(tests.toy.Config(steps=4), every=2)\n"
)

FILES = {
    "a claim about another metric": (
        CLAIM + COMPARED.replace("/loss", "/los") + ".verdict",
        "'test/los'; there are",
    ),
    "a claim about another field": (
        CLAIM + COMPARED.replace("'lr'", "'rate'") + ".verdict",
        "no field 'rate'",
    ),
    "a claim about another arm": (CLAIM + "    result.where(lr=3)", "no run has lr=3"),
    "a claim that returns no verdict": (CLAIM + COMPARED, "a Comparisons; expected a verdict"),
    "a claim that returns nothing": (CLAIM + "    pass", "a NoneType; expected a verdict"),
    "a claim that fails": (
        CLAIM + "    return result.frame['test/los']",
        "fails at line 6 of file.py: KeyError",
    ),
    "CLAIMS that are none": (SWEEP + "CLAIMS = 3", "CLAIMS: claims are 3; expected one fdl.Claim"),
    "CLAIMS and claim": (
        CLAIM + "    pass\nCLAIMS = (fdl.Claim('a', '', claim),)",
        "both claim and CLAIMS; make the function one of the CLAIMS",
    ),
    "a claim of CLAIMS about another metric": (
        CLAIM.replace("claim", "criterion") + COMPARED.replace("/loss", "/los") + ".verdict\n"
        "CLAIMS = (fdl.Claim('a', '', criterion),)",
        "'test/los'; there are",
    ),
    "a claim that is no function": (SWEEP + "claim = 3", "claim is 3; expected a function"),
    "a lambda in SWEEP": (
        "SWEEP = fdl.grid(Config(), link=(lambda x: x,))",
        "SWEEP: field 'link': <function <lambda> at",
    ),
    "FRONT that is none": (
        SWEEP + "FRONT = ['test/loss']",
        "FRONT is ['test/loss']; expected two metrics or more",
    ),
    "FRONT without a side": (
        SWEEP + "FRONT = {'test/loss': 'lower', 'test/size': 'less'}",
        "FRONT: better='less' is neither 'higher' nor 'lower'",
    ),
    "FRONT of another metric": (
        SWEEP + "FRONT = {'test/loss': 'lower', 'test/los': 'lower'}",
        "FRONT: no metric 'test/los'; there are",
    ),
    "SCHEDULER that is none": (
        SWEEP + "SCHEDULER = 3",
        "SCHEDULER is a int; expected fdl.successive_halving",
    ),
    "a scheduler on test": (
        SWEEP + "SCHEDULER = fdl.asha(metric='test/loss', better='lower', first=2)",
        "the scheduler's metric is 'test/loss': what chooses may not judge",
    ),
    "SWEEP that is a list": ("SWEEP = [Config()]", "SWEEP: the sweep is a list; expected an fdl.Sweep"),
    "SWEEP of something else": ("SWEEP = fdl.sweeps.Sweep((fdl.Trial('a', 3, 0),))", "a trial's config is 3"),
    "SWEEP without a trial": ("SWEEP = fdl.sweeps.Sweep(())", "has no trials"),
    "a name that is not there": ("x = y", "fails at line 4 of file.py: NameError: name 'y'"),
    "a module that is not there": ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    "a file that exits": ("raise SystemExit(3)", "fails at line 4 of file.py: SystemExit: 3; expected an"),
    "experiment that is none": ("experiment = 3\n" + SWEEP, "experiment is 3; expected a function"),
    "experiment that returns nothing": (
        SWEEP + "def experiment(config): pass",
        "experiment(config) is None; expected an Experiment",
    ),
    "experiment that fails": (
        SWEEP + "def experiment(config): return config.rate",
        "fails at line 5 of file.py: AttributeError: 'Config' object has no attribute 'rate'",
    ),
    "experiment without argument": (SWEEP + "def experiment(): pass", "takes 0 positional arguments"),
    "steps as a float": (
        SWEEP + "toy = experiment\ndef experiment(config): return toy(config)._replace(steps=5.0)",
        "steps is 5.0 (float)",
    ),
    "a wrong state": (
        SWEEP + "toy = experiment\ndef experiment(config):\n    one = toy(config)\n"
        "    step = lambda s, b, k: (s['weights'], {'loss': 0.0})\n"
        "    return one._replace(learner=one.learner._replace(step=step))",
        "state['momentum'] is nothing, expected float32[5]",
    ),
}
CONFIGS = {
    "a name of a column": ("seed: int = 0", "cannot be called 'seed'"),
    "a name of a failure's column": ("metric: str = 'loss'", "cannot be called 'metric'"),
    "a name of an argument": ("seeds: int = 0", "cannot be called 'seeds'"),
    "a bad annotation": ("lr: 'flaot' = 0.1", "annotation of Config cannot be read"),
    "no annotation": ("lr = 0.1", "Config.lr has no type"),
    "a list": ("widths: list[int] = [1]", "expected a tuple, as fields are hashed"),
    "no default": ("lr: float", "'lr' has no default"),
    "a huge number": ("count: int = 10**20", "int of 64 bits"),
    "a default of another type": ("lr: float = 'fast'", "Config.lr is 'fast'"),
}
WORDS = {
    "a work directory that is a file": (["run", "file.py", "--workdir", "file.py"], "file.py is a file"),
    "a work directory in a file": (["run", "file.py", "--workdir", "file.py/a/b"], "file.py is a file"),
    "a name too long": (["run", "file.py", "--workdir", "x" * 300], "too long a name for a folder"),
    "seconds that are not": (["run", "file.py", "--checkpoint-seconds", "nan"], "--checkpoint-seconds"),
    "a huge seed": (["run", "file.py", "--seed", str(2**32)], "4294967296"),
    "a huge number of steps": (["run", "file.py", "--steps", str(2**31)], "steps is 2147483648"),
    "a rate that is none": (["run", "file.py", "--lr", "1e39"], "float32"),
    "a grid without values": (["sweep", "file.py", "--grid.lr"], "--grid.lr has no values"),
}


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder; gives the line that it ends with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(autotune, "compile_program", lambda *_: pytest.fail("something is compiled"))

    def run(text: str, words: list[str]) -> str:
        Path("file.py").write_text(text)
        assert main(words) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("error: ") and "\n" not in error and len(error) < 700, error
        assert [path for path in tmp_path.iterdir() if path.name != "__pycache__"] == [tmp_path / "file.py"]
        return error

    return run


@pytest.mark.medium
@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_wrong(case, refused):
    text, expected = FILES[case]
    assert expected in refused(HEAD + text + "\n", ["sweep", "file.py"])


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_that_is_wrong(case, refused):
    text, expected = CONFIGS[case]
    assert expected in refused(CONFIG.format(text), ["run", "file.py"])


@pytest.mark.parametrize("case", WORDS)
def test_words_that_are_wrong(case, refused):
    words, expected = WORDS[case]
    assert expected in refused(HEAD + SWEEP, words)


def test_a_work_directory_that_is_a_link_to_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("file.py").write_text(HEAD + SWEEP)
    Path("link").symlink_to("absent/folder")
    assert main(["run", "file.py", "--workdir", "link"]) == 2
    assert capsys.readouterr().err == (
        "error: link is a link to nothing; expected a folder, or a name that is not taken\n"
    )


@pytest.mark.parametrize("body", [
    "x = huge()", "def experiment(config):\n    return huge()", "def claim(result):\n    return huge()",
])  # fmt: skip
def test_too_little_memory_is_a_line(body, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    huge = "import numpy as np\nhuge = lambda: np.ones((10**7, 10**7))\n"
    Path("file.py").write_text(HEAD + SWEEP + huge + body + "\n")
    assert main(["sweep", "file.py"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: the memory does not suffice: Unable to allocate 728. TiB"), shown
    assert shown.count("\n") == 1


def test_a_plan_is_refused_as_the_sweep_is(refused):
    text, expected = FILES["a claim about another metric"]
    assert expected in refused(HEAD + text + "\n", ["plan", "file.py"])


@pytest.mark.medium
@pytest.mark.parametrize(("body", "code", "expected"), [
    ("assert result.frame['test/loss'].max() < -1", 2, "fails at line 6 of file.py: AssertionError\n"),
    ("raise SystemExit(3)", 2, "fails at line 6 of file.py: SystemExit: 3; expected an error that says why"),
    ("open('absent.csv')", 1, "No such file or directory: 'absent.csv'"),
])  # fmt: skip
def test_a_claim_that_only_numbers_decide_is_not_refused_beforehand(
    body, code, expected, tmp_path, monkeypatch, capsys
):
    """It fails on the made-up numbers and on the true ones; what was trained is reported all the same."""
    monkeypatch.chdir(tmp_path)
    text = HEAD + CLAIM.replace("(0.01, 0.05), seeds=5", "(0.05,), seeds=1")
    Path("file.py").write_text(f"{text}    {body}\n")
    assert main(["sweep", "file.py"]) == code
    out, error = capsys.readouterr()
    assert expected in error and error.count("\n") == 1 and "test/loss" in out
    assert ("fails on each of 32 made-up results" in out) == ("assert" not in body)
    assert list(tmp_path.glob("runs/file/*/report.html"))
