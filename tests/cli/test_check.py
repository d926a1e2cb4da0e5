"""`fdl check`: the model card of a run of images, in the terminal, in its file and on the page."""

import dataclasses
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.metrics import accuracy_score, roc_auc_score

import fdl
from fdl.cli import main
from fdl.report.costs import costs
from fdl.report.model_card import CARD, NotChecked, card_tables, read_card
from fdl.trained.checks_logits import energy_check
from fdl.trained.rows_said import classify_of, said_of

FILE = '''"""Is it a one?"""

import numpy as np
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    lr: float = 0.1


def part(rows):
    keep = slice(None, 240)
    noise = np.random.default_rng(0).random(len(rows["y"][keep])) < 0.15
    x = np.asarray(rows["x"][keep], np.float32)
    return {"x": x, "y": ((rows["y"][keep] == 1) ^ noise).astype(np.int32)}


def experiment(config: Config) -> fdl.Experiment:
    splits = data.digit_images()
    test = part(splits.test)
    test["half"] = np.arange(len(test["y"])) % 2
    splits = data.Splits(part(splits.train), part(splits.validation), test, splits.prepare)
    return tasks.classification(models.MLP((), 2), splits, optax.sgd(config.lr), steps=60)
'''
OTHER = '''"""What is its value?"""

import numpy as np
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    lr: float = 0.1


def experiment(config: Config) -> fdl.Experiment:
    rows = {"x": np.ones((8, 2), np.float32), "y": np.ones(8, np.float32)}
    return tasks.regression(models.MLP((), 1), data.Splits(rows, rows, rows), optax.sgd(config.lr), steps=2)
'''


TABLE = '''"""Who is admitted?"""

import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    lr: float = 0.1


def experiment(config: Config) -> fdl.Experiment:
    splits = data.table("people.csv", target="admitted", keep=["sex"])
    return tasks.classification(models.MLP((), 2), splits, optax.sgd(config.lr), steps=50)
'''


TEXTS = '''"""Does it learn texts by heart?"""

import numpy as np
import optax

import fdl
from fdl import data, models, tasks


@fdl.config
class Config:
    lr: float = 0.01


def experiment(config: Config) -> fdl.Experiment:
    x = np.load("canaries.npz")["x"]
    rows = {"x": x, "y": np.roll(x, -1, axis=1)}
    model = models.gpt2(20, length=8, width=32, layers=1, heads=2)
    return tasks.language_modelling(
        model, data.Splits(rows, rows, rows), optax.adam(config.lr), steps=150, batch_size=12
    )
'''


ENERGIES = ("energy of predicting", "energy of training", "CO2 of training")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with two runs, one of which was checked."""
    folder = tmp_path_factory.mktemp("checked")
    for name, text in (("one", FILE), ("value", OTHER)):
        (folder / f"{name}.py").write_text(text)
        assert main(["run", str(folder / f"{name}.py"), "--workdir", str(folder / name)]) == 0
    inputs = fdl.load(folder / "one").run().experiment.inputs
    assert inputs is not None
    shape = inputs.row["x"]
    np.savez(folder / "grey.npz", x=np.full((50, *shape.shape), 7, shape.dtype))
    words = [
        "--group",
        "half",
        "--other",
        str(folder / "grey.npz"),
        "--rows",
        "60",
        "--watts",
        "50",
        "--carbon",
        "400",
    ]
    assert main(["check", str(folder / "one"), *words]) == 0
    return folder


@pytest.fixture(scope="module")
def card(place):
    return read_card(place / "one")


@pytest.mark.medium
def test_numbers_are_those_of_the_run_and_lie_in_their_intervals(place, card):
    run = fdl.load(place / "one").run()
    found = {(one.name, one.of): one for one in card.checked}
    assert found["accuracy", ""].value == pytest.approx(run.evaluate("test")["accuracy"], abs=1e-6)
    assert found["accuracy", ""].rows == 240 and found["accuracy, PGD", "within 0.0314"].rows == 60
    arrays = run.experiment.evaluation["test"].arrays
    said, half = run.predict(arrays["x"])["label"], arrays["half"]
    for group in (0, 1):
        expected = accuracy_score(arrays["y"][half == group], said[half == group])
        assert found["accuracy", f"half={group}"].value == pytest.approx(expected)
    rates = [said[half == group].mean() for group in (0, 1)]
    assert found["demographic parity diff.", "half"].value == pytest.approx(abs(rates[0] - rates[1]))
    for one in card.checked:
        inside = one.low is None or one.low <= one.value <= one.high
        assert inside and (one.rows is not None or one.name in (*ENERGIES, "parameters", "FLOPs")), one
    pixels = run.variables["params"]["Dense_0"]["kernel"].size
    assert found["parameters", ""].value == pixels + 2 and found["FLOPs", "a row"].value >= 2 * pixels


@pytest.mark.medium
def test_energy_of_logits_tells_rows_apart_as_computed_from_the_weights(place, card):
    run = fdl.load(place / "one").run()
    (found,) = [one for one in card.checked if one.name == "out-of-distribution detection by energy"]
    weights = jax.tree.map(np.asarray, run.variables["params"]["Dense_0"])
    inputs = run.experiment.inputs
    assert inputs and inputs.prepare
    scores = []
    for x in (run.experiment.evaluation["test"].arrays["x"], np.load(place / "grey.npz")["x"]):
        rows = np.asarray(inputs.prepare({"x": x})["x"]).reshape(len(x), -1)
        scores.append(logsumexp(rows @ weights["kernel"] + weights["bias"], axis=1))
    expected = roc_auc_score(np.repeat([1, 0], [240, 50]), np.concatenate(scores))
    assert found.value == pytest.approx(expected, abs=1e-3) and found.rows == 290


@pytest.mark.medium
def test_what_are_no_logits_have_no_energy(place):
    run = fdl.load(place / "one").run()
    said = said_of(run, "test", classify_of(run))
    predict = run.experiment.learner.predict
    assert predict
    squared = lambda state, batch: {"probability": predict(state, batch)["probability"] ** 2}  # noqa: E731
    learner = run.experiment.learner._replace(predict=squared)
    other = dataclasses.replace(run, experiment=run.experiment._replace(learner=learner))
    found = energy_check(other, said, np.load(place / "grey.npz")["x"])
    assert isinstance(found, NotChecked) and "no logits" in found.reason


@pytest.mark.medium
def test_energy_of_training_is_device_time_times_what_is_said_of_it(place, card):
    found = {one.name: one for one in card.checked if one.name in ENERGIES}
    spent = costs(fdl.load(place / "one"))
    assert spent
    seconds = spent.whole.total
    assert found["energy of training"].value == pytest.approx(50 * seconds)
    assert found["CO2 of training"].value == pytest.approx(50 * seconds * 400 / 3600)  # mg: g/kWh is mg/Wh
    assert all("estimated" in found[name].how for name in ENERGIES[1:])


@pytest.mark.medium
def test_what_is_worse_is_not_better(card):
    found = {(one.name, one.of): one.value for one in card.checked}
    at = "within 0.0314"
    attacked = [found[f"accuracy, {name}", at] for name in ("FGSM", "PGD", "queries")]
    assert (
        found["accuracy, all attacks", at] <= min(attacked) <= found["accuracy, rows attacked", "unchanged"]
    )
    certified = [found["certified accuracy", f"radius > {radius}"] for radius in ("0", "0.25", "0.5")]
    assert certified == sorted(certified, reverse=True)
    assert {one.of for one in card.checked if one.name == "accuracy, contrast"} == {
        f"severity {severity}" for severity in range(1, 6)
    }


@pytest.mark.medium
def test_what_was_not_checked_is_named_with_the_reason_and_no_number(card):
    gone = {one.name: one.reason for one in card.not_checked}
    assert "language models" in gone["exposure of canaries"]
    assert not {one.name for one in card.checked} & gone.keys()
    assert "out-of-distribution detection" not in gone
    assert all(isinstance(one, NotChecked) and one.reason for one in card.not_checked)


@pytest.mark.medium
def test_the_page_has_the_card_once_and_keeps_it(place, card):
    page = place / "one" / "report.html"
    text = page.read_text()
    cells = [cell for _, columns in card_tables(card) for column in columns for cell in column.cells if cell]
    assert text.count("<h2>Model card</h2>") == 1 and "severity 5" in text
    assert not [cell for cell in cells if cell.replace("'", "&#x27;").replace(">", "&gt;") not in text]
    before, after = re.split("<!-- model card -->.*<!-- end of model card -->", text, flags=re.DOTALL)
    assert "<h2>Results</h2>" in before and after.rstrip().endswith("</html>")
    again = ["run", str(place / "one.py"), "--workdir", str(place / "one")]
    assert main(again) == 0  # it is finished: the page is made again
    assert page.read_text().count("<h2>Model card</h2>") == 1
    page.write_text("<html></html>")
    assert main(["check", str(place / "one")]) == 2  # before anything is checked
    page.write_text(text)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("run", "words", "message"),
    [
        ("value", [], "fdl check is for classifiers, .* this run says prediction"),
        ("one", ["--split", "dev"], "the experiment has no split 'dev'"),
        ("one", ["--group", "age"], "--group age: the rows have no such column; there are half"),
        ("one", ["--other", "none.npz"], "there is no none.npz"),
        ("one", ["--canaries", "none.npz"], "there is no none.npz"),
        ("one", ["--epsilon", "0"], "epsilon is 0.0; expected above 0"),
        ("one", ["--rows", "0"], "rows is 0; expected at least 1"),
        ("one", ["--watts", "0"], "--watts is 0; expected a number above 0"),
        ("one", ["--carbon", "400"], "--carbon is of a kilowatt-hour, .* give both"),
        ("nowhere", [], "nowhere"),
    ],
)
def test_what_cannot_be_checked_is_one_line(place, run, words, message, capsys):
    assert main(["check", str(place / run), *words]) == 2
    said = capsys.readouterr().err.strip()
    assert re.search(message, said) and said.startswith("error: ") and "\n" not in said


@pytest.mark.medium
@pytest.mark.filterwarnings("ignore:the column 'sex' is read by nothing")
def test_a_column_that_a_table_keeps_is_a_group(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    score, sex = random.normal(size=200), random.choice(["f", "m"], 200)
    admitted = np.where(score + 2 * (sex == "m") > 1, "yes", "no")
    rows = [f"{a:.3f},{b},{c}" for a, b, c in zip(score, sex, admitted, strict=True)]
    Path("people.csv").write_text("\n".join(["score,sex,admitted", *rows]) + "\n")
    Path("people.py").write_text(TABLE)
    assert main(["run", "people.py", "--workdir", "run"]) == 0
    assert main(["check", "run", "--group", "sex", "--rows", "20"]) == 0
    card, run = read_card(Path("run")), fdl.load("run").run()
    assert card and run.experiment.inputs
    found = {(one.name, one.of): one for one in card.checked}
    arrays = run.experiment.evaluation["test"].arrays
    assert run.experiment.inputs.row["x"].shape == (1,)  # the score alone
    right = run.predict(arrays["x"])["label"] == arrays["y"]
    for group in (0, 1):
        one = found["accuracy", f"sex={group}"]
        assert one.rows == (arrays["sex"] == group).sum()
        assert one.value == pytest.approx(right[arrays["sex"] == group].mean())


@pytest.mark.medium
def test_canaries_that_were_learned_are_told_from_other_texts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    texts = np.random.default_rng(0).integers(0, 20, (76, 8)).astype(np.int32)
    np.savez("canaries.npz", x=texts[:12], others=texts[12:])
    np.savez("short.npz", x=texts[:12, :4], others=texts[12:])
    Path("texts.py").write_text(TEXTS)
    assert main(["run", "texts.py", "--workdir", "run"]) == 0
    assert main(["check", "run", "--canaries", "canaries.npz"]) == 0
    card = read_card(Path("run"))
    assert card
    found = {one.name: one for one in card.checked}
    for one in card.checked:
        assert one.low is None or one.high is None or one.low <= one.value <= one.high
    likely = fdl.load("run").run().predict({"x": texts})["log_probability"]
    own, rest = likely[:12], likely[12:]
    expected = (own[:, None] > rest).mean()
    assert found["canaries: AUC of the loss"].value == pytest.approx(expected) and expected > 0.95
    bits = np.log2(65 / (1 + (rest >= own[:, None]).sum(axis=1)))
    assert found["mean exposure of canaries"].value == pytest.approx(bits.mean(), rel=1e-5)
    assert found["canaries likelier than all others"].value == (own > rest.max()).mean()
    capsys.readouterr()
    assert main(["check", "run", "--canaries", "short.npz"]) == 2
    assert "expected tokens [K, T] and [R, T] of one length" in capsys.readouterr().err


@pytest.mark.medium
def test_a_damaged_card_is_refused(place):
    kept = (place / "one" / CARD).read_text()
    (place / "one" / CARD).write_text(json.dumps({"about": {}}))
    with pytest.raises(ValueError, match="is no model card"):
        read_card(place / "one")
    (place / "one" / CARD).write_text(kept)
    assert read_card(place / "value") is None
