"""Runs whose data and file are not there any more predict what they predicted while they were."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from PIL import Image

import fdl
from fdl import data, models, tasks
from fdl.train.stored_prediction import prediction_of, store_prediction, stored_prediction

TABLE = "grams,colour,day,kind\n" + "".join(
    f"{'' if i == 4 else 100 + 10 * (i % 2) + i % 5},{['red', 'green'][i % 2]},2020-0{1 + i % 9}-11,{i % 3}\n"
    for i in range(30)
)
NEW = "day,grams,colour\n2021-05-03,,red\n2020-01-01,104,blue\n2019-12-31,150.5,green\n"


def table(folder: Path, **more: Any) -> data.Splits:
    return data.table(folder / "in.csv", target="kind", missing="impute", dates={"day": "%Y-%m-%d"}, **more)


def write_table(folder: Path) -> Path:
    (folder / "in.csv").write_text(TABLE)
    (folder / "new.csv").write_text(NEW)
    return folder / "new.csv"


def write_images(folder: Path) -> Path:
    for name in ("a", "b", "c"):
        (folder / "in" / name).mkdir(parents=True)
        for n in range(4):
            Image.fromarray(np.full((9, 7, 3), 20 * n + ord(name), np.uint8)).save(
                folder / "in" / name / f"{n}.png"
            )
    shutil.copytree(folder / "in" / "a", folder / "new")
    return folder / "new"


def write_text(folder: Path) -> Path:
    (folder / "in.txt").write_text("to be or not to be, " * 20)
    (folder / "new.txt").write_text("not to be or to")
    return folder / "new.txt"


@fdl.config
class Config:
    scale: float = fdl.traced(1.0)


SOURCES: dict[str, tuple[Any, Any]] = {
    "table": (write_table, table),
    "images": (write_images, lambda folder: data.image_folder(folder / "in", size=4, workers=1)),
    "text": (write_text, lambda folder: data.text(folder / "in.txt", length=5, validation=0.2, test=0.2)),
}


def trained(folder: Path, splits: Any) -> Any:
    """Two seeds of a linear model whose predictions read the config's traced field, trained for a step."""

    def experiment(config: Config) -> fdl.Experiment:
        made = tasks.classification(models.MLP((), 12), splits(folder), optax.sgd(0.1), steps=1, batch_size=2)
        said = made.learner.predict
        assert said is not None
        scaled = lambda state, batch: {**said(state, batch), "scaled": batch["x"] * config.scale}  # noqa: E731
        return made._replace(learner=made.learner._replace(predict=scaled))

    fdl.sweep(experiment, fdl.grid(Config(), scale=(0.5, 2.0), seeds=2), workdir=folder / "work")
    return experiment


def labelled_text(folder: Path) -> data.Splits:
    """A text's windows, each to be told by its first token: rows like those that new texts become."""
    splits = SOURCES["text"][1](folder)
    one = lambda part: {**part, "y": part["y"][:, 0]}  # noqa: E731
    whole = splits._replace(**{name: one(getattr(splits, name)) for name in ("train", "validation", "test")})
    return whole._replace(prepare=lambda batch: {**batch, "x": batch["x"] / 3.0})


def of_inputs(run: Any) -> tuple[Any, tuple[str, ...]]:
    return run.experiment.inputs.read, run.experiment.inputs.classes


@pytest.mark.medium
@pytest.mark.parametrize("name", SOURCES)
def test_what_the_data_was_needed_for_is_kept_with_the_run(tmp_path, name):
    write, splits = SOURCES[name]
    new = write(tmp_path)
    experiment = trained(tmp_path, labelled_text if name == "text" else splits)
    whole = fdl.load(tmp_path / "work").run("scale=2", 1, experiment=experiment)
    read, classes = of_inputs(whole)
    wanted = whole.predict(read(new))
    together = fdl.load(tmp_path / "work").ensemble("scale=2", experiment=experiment)
    both = together.predict(read(new))
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name} elsewhere"))
    for gone in ("in.csv", "in.txt", "in"):
        if (moved / gone).exists():
            (moved / gone).rename(moved / f"gone {gone}")
    with pytest.warns(UserWarning, match="predicts by the program that was stored with the run"):
        run = fdl.load(moved / "work").run("scale=2", 1)
        alone = fdl.load(moved / "work").ensemble("scale=2")
    again, same_classes = of_inputs(run)
    rows = again(moved / new.name)
    for said, expected in ((run.predict(rows), wanted), (alone.predict(rows), both)):
        assert set(said) == set(expected)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), dict(said), dict(expected)
        )
    assert same_classes == classes
    assert (run.config.scale, run.step, run.changed) == (2.0, 1, ())
    jax.tree.map(np.testing.assert_array_equal, dict(run.variables), jax.device_get(dict(whole.variables)))
    with pytest.raises(ValueError, match=r"to measure 'test' needs the data: .* give experiment="):
        run.evaluate("test")


def by_hand(predict: Any) -> Any:
    rows = {"x": np.arange(6, dtype=np.float32).reshape(3, 2), "y": np.ones(3, np.float32)}
    splits = data.Splits(rows, rows, rows)

    def experiment(config: Config) -> fdl.Experiment:
        del config
        made = tasks.adaline(splits, steps=1, rate=0.1)
        return made._replace(learner=made.learner._replace(predict=predict))

    return experiment


def shaped(state: Any, batch: Any) -> Any:
    """Fails for a number of rows that is not known."""
    del state
    return {"prediction": batch["x"].sum(axis=1) + np.zeros(int(batch["x"].shape[0]))}


def called(state: Any, batch: Any) -> Any:
    del state
    form = jax.ShapeDtypeStruct((batch["x"].shape[0],), np.float32)
    return {"prediction": jax.pure_callback(lambda x: np.asarray(x).sum(axis=1), form, batch["x"])}


def kept(folder: Path, experiment: Any) -> Any:
    store_prediction(folder, lambda: prediction_of(experiment, Config(), experiment(Config())))
    return stored_prediction(folder)


def test_a_program_of_so_many_rows_takes_any_number(tmp_path):
    call = kept(tmp_path, by_hand(shaped)).call
    for count in (1, 64, 130):
        x = np.arange(2.0 * count, dtype=np.float32).reshape(count, 2)
        said = jax.jit(lambda x: call({}, {}, {"x": x}))(x)["prediction"]
        np.testing.assert_allclose(said, x.sum(axis=1))


def test_why_there_is_no_program_is_said_in_a_line_and_damage_is_found(tmp_path):
    (tmp_path / "called").mkdir()
    with pytest.raises(
        ValueError, match=r"no program of its predictions could be stored: .*callback"
    ) as said:
        kept(tmp_path / "called", by_hand(called))
    assert "\n" not in str(said.value)
    kept(tmp_path, by_hand(shaped))
    told, program = (tmp_path / f"prediction.{ending}" for ending in ("json", "stablehlo"))
    program.write_bytes(program.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"prediction.stablehlo is damaged or gone"):
        stored_prediction(tmp_path)
    told.write_text(json.dumps(json.loads(told.read_text()) | {"batch": 3}))
    with pytest.raises(ValueError, match=r"prediction.json is damaged"):
        stored_prediction(tmp_path)
    told.unlink()
    with pytest.raises(ValueError, match="has no program of predictions"):
        stored_prediction(tmp_path)


@pytest.mark.parametrize("converters", [{}, {"grams": lambda cell: float(cell or 0)}])
def test_functions_of_the_experiments_own_are_not_kept(tmp_path, converters):
    write_table(tmp_path)

    def experiment(config: Config) -> fdl.Experiment:
        del config
        splits = table(tmp_path, converters=converters)
        return tasks.classification(models.MLP((), 3), splits, optax.sgd(0.1), steps=1)

    assert (kept(tmp_path, experiment).read is None) == bool(converters)
