"""`fdl predict`: what a trained run says of new data."""

import dataclasses
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fdl.cli.flags import parse_options
from fdl.cli.options import Switch
from fdl.data.readers.npz import read_npz
from fdl.data.splits import Rows
from fdl.experiment import Inputs
from fdl.storage import Folder, kind_of, path_of
from fdl.text import counted
from fdl.train.runtime import prepare
from fdl.trained import Loaded, load
from fdl.trained.ensemble import Ensemble
from fdl.trained.run import TrainedRun
from fdl.trained.table import check_ending, write_predictions

Model = TypeVar("Model", TrainedRun, Ensemble)
USAGE = "expected fdl predict DIRECTORY INPUT -o OUT, as fdl predict runs/first/0123456789abcdef new.csv"


@dataclasses.dataclass
class PredictOptions:
    """`fdl predict DIRECTORY INPUT`: INPUT is a table, a folder of images or a text, like the data that the
    run was trained on; or an .npz file of arrays by name, as the data set has them."""

    out: str = "predictions.csv"
    """the file to write: .csv, .parquet, or .npz for arrays of any shape"""
    arm: str | None = None
    """the arm whose run predicts, where there are several"""
    seed: int | None = None
    """the seed of the run, where there are several"""
    ensemble: Switch = False
    """all seeds of the arm together: their mean, and their spread"""
    state: str = "result"
    """which state: result (the best, where the experiment keeps it, else the last), last or best"""
    experiment: str | None = None
    """the experiment's file, where it is not where it was; or "stored" to run the source in the directory"""


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code."""
    if {"-h", "--help"} & set(words):
        parse_options("fdl predict DIRECTORY INPUT", PredictOptions, ["--help"])
    if len(words) < 2 or any(word.startswith("-") for word in words[:2]):
        raise ValueError(f"fdl predict got {' '.join(words)!r}; {USAGE}")
    flags = ["--out" if word == "-o" else word for word in words[2:]]
    options = parse_options("fdl predict DIRECTORY INPUT", PredictOptions, flags)
    check_ending(Path(options.out))
    source = path_of(words[1])
    if not kind_of(source):
        raise ValueError(f"there is no {source}; expected data like that of the training")
    prepare()
    model = _model(load(words[0]), options)
    first = model.runs[0] if isinstance(model, Ensemble) else model
    inputs = first.experiment.inputs or Inputs({})
    rows = _read(source, inputs)
    outputs = model.predict(rows)
    names = [rows.where(n) for n in range(rows.size)] if isinstance(rows, Rows) else None
    write_predictions(Path(options.out), outputs, inputs.classes, names)
    print(f"{options.out}: {counted(len(next(iter(outputs.values()))), 'input')}, by {_who(model)}")
    return 0


def _model(loaded: Loaded, options: PredictOptions) -> TrainedRun | Ensemble:
    which: Any = {"state": options.state, "experiment": options.experiment}
    if options.ensemble and options.seed is not None:
        raise ValueError(f"--ensemble is of all seeds, and --seed is {options.seed}; leave one of them out")
    if options.ensemble:
        return with_changes_told(lambda: loaded.ensemble(options.arm, **which))
    return with_changes_told(lambda: loaded.run(options.arm, options.seed, **which))


def with_changes_told(made: Callable[[], Model]) -> Model:
    """What is loaded; on stderr what of its experiment is not as it was when it was trained."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        model = made()
    for one in said:
        if issubclass(one.category, UserWarning):  # not what a library says of itself
            print(f"warning: {one.message}", file=sys.stderr)
    first = model.runs[0] if isinstance(model, Ensemble) else model
    if first.diff:
        print(f"the experiment's file is not as it was stored:\n{first.diff}", file=sys.stderr)
    return model


def _read(source: Folder, inputs: Inputs) -> Any:
    """The rows of a file or folder, as the data set has them."""
    if source.name.lower().endswith(".npz"):
        return read_npz(source)
    if inputs.read is None:
        raise ValueError(
            f"{source} cannot be read as the training's data was: that is known of fdl.data.table, "
            "image_folder and text where x was not changed after reading and, without the experiment's file, "
            "no function of its own reads it; give the arrays as .npz"
        )
    return inputs.read(source)


def _who(model: TrainedRun | Ensemble) -> str:
    if isinstance(model, Ensemble):
        return f"{counted(len(model.runs), 'run')} of {model.runs[0].arm}"
    return f"{model.arm} seed {model.seed} after {counted(model.step, 'step')}"
