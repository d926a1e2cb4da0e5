"""`fdl check`: a trained classifier's model card."""

import dataclasses
import typing
from collections.abc import Sequence

import jax
import tyro
from rich.console import Console
from rich.text import Text

from fdl.aot.flops import cost_of
from fdl.cli.flags import parse_options
from fdl.cli.predict_command import with_changes_told
from fdl.data.readers.npz import read_npz
from fdl.report.model_card import (
    CARD,
    HEADS,
    Checked,
    ModelCard,
    NotChecked,
    card_tables,
    page_with_room,
    write_card,
)
from fdl.report.terminal import PLAIN, fitted_table
from fdl.storage import Folder, folder, kind_of, path_of
from fdl.train.runtime import prepare
from fdl.trained import TrainedRun, load, model_card
from fdl.trained.checks_canaries import canary_card
from fdl.trained.checks_energy import training_energy
from fdl.trained.rows_said import classify_of


@dataclasses.dataclass
class CheckOptions:
    """`fdl check`."""

    directory: tyro.conf.Positional[str]
    """the directory of a run or a sweep, as runs/first/0123456789abcdef"""
    split: str = "test"
    """whose rows it is checked on"""
    group: tuple[str, ...] = ()
    """columns of these rows whose values are groups, as `--group sex age`; x[3] is a number of x"""
    other: str | None = None
    """rows unlike those of the training, an .npz file with x, to see whether they are told apart"""
    canaries: str | None = None
    """of a language model, of which nothing else is checked: an .npz file with x, texts that were put into
    its training to see whether it remembers them, and others, texts drawn likewise that were not"""
    epsilon: float = 8 / 255
    """how far attacks change a number, as a share of its range"""
    sigma: float = 0.25
    """the noise of randomised smoothing, likewise"""
    rows: int = 500
    """of so many rows, drawn at random, attacks, noise and corruptions are checked"""
    watts: float | None = None
    """what one device draws while it trains, for an estimate of the energy of training"""
    carbon: float | None = None
    """grams of CO2 equivalents for a kilowatt-hour of your grid, likewise of CO2"""
    arm: str | None = None
    """its arm; it may be left out where there is one"""
    seed: int | None = None
    """its seed; likewise"""
    state: str = "result"
    """which state: result (the best, where the experiment keeps it, else the last), last or best"""
    experiment: str | None = None
    """a file to take for the experiment's, or stored (default: the file that trained it, as it is today)"""


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code.

    Raises:
      ValueError: no such run, one that is no classifier, or a split, column or file that is not there.
      OSError: a file cannot be read or written.
    """
    options = parse_options("fdl check", CheckOptions, words)
    prepare()
    if options.other is not None and not kind_of(path_of(options.other)):
        raise ValueError(f"there is no {options.other}; expected an .npz file of rows, with x")
    other = None if options.other is None else read_npz(path_of(options.other))
    place = folder(options.directory)
    loaded = load(options.directory)
    run = with_changes_told(
        lambda: loaded.run(
            options.arm,
            options.seed,
            state=typing.cast(typing.Any, options.state),
            experiment=options.experiment,
        )
    )
    page_with_room(place)
    if options.canaries is not None:
        return _written(_canaries(run, options.canaries), place)
    energy = training_energy(loaded, run.arm, watts=options.watts, carbon=options.carbon)
    card = model_card(
        run,
        split=options.split,
        groups=options.group,
        other=other,
        epsilon=options.epsilon,
        sigma=options.sigma,
        rows=options.rows,
    )
    more = [*energy, _operations(run, options.split)]
    card = card._replace(
        checked=(*card.checked, *(one for one in more if isinstance(one, Checked))),
        not_checked=(*card.not_checked, *(one for one in more if isinstance(one, NotChecked))),
    )
    return _written(card, place)


def _canaries(run: TrainedRun, path: str) -> ModelCard:
    if not kind_of(path_of(path)):
        raise ValueError(f"there is no {path}; expected an .npz file of texts, with x and others")
    texts = read_npz(path_of(path), "x", "others")
    return canary_card(run, canaries=texts["x"], others=texts["others"])


def _written(card: ModelCard, place: Folder) -> int:
    on_page = write_card(card, place)
    _show(card, Console())
    where = place / "report.html" if on_page else f"{place / CARD} (there is no report.html beside it)"
    Console().print(f"model card: {where}", **PLAIN)
    return 0


def _operations(run: TrainedRun, split: str) -> Checked:
    source = run.experiment.evaluation[split]
    batch = jax.eval_shape(source.batch, source.arrays, 0, jax.random.key(0))
    one = jax.tree.map(lambda form: jax.ShapeDtypeStruct((1, *form.shape[1:]), form.dtype), batch["x"])
    cost = cost_of(classify_of(run), run.state, one)
    how = "counted from the program"
    how += f"; without {', '.join(cost.uncounted)}" if cost.uncounted else ""
    return Checked("FLOPs", "a row", float(cost.flops), None, None, None, how)


def _show(card: ModelCard, console: Console) -> None:
    about = ", ".join(f"{name.lower()} {value}" for name, value in card.about.items())
    console.print(Text(f"Model card: {about}", style="bold"), soft_wrap=True)
    for heading, columns in card_tables(card):
        console.print(Text(f"\n{heading}", style="dim"))
        console.print(fitted_table(console, columns, [column.name for column in columns]))
    console.print(Text(HEADS, style="dim"))
