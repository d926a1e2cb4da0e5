"""`fdl reproduce`: a folder's experiments run anew, their verdicts recorded, the page of all written."""

import ast
import dataclasses
import json
import traceback
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import tyro
from rich.console import Console

from fdl.cli import reports
from fdl.cli.commands import swept
from fdl.cli.exit_codes import BAD_INPUT, DISK
from fdl.cli.flags import parse_options
from fdl.cli.list_command import question
from fdl.cli.options import ExecutorOptions, SweepOptions
from fdl.cli.recording import judged_row, other_seeds, program_mark, recorded_row, row_id
from fdl.experiment_file import ExperimentFile, criteria, load_file
from fdl.report.claims_html import claims_html
from fdl.report.claims_page import About, claims_page
from fdl.report.effects import effects_figure, figure_svg
from fdl.report.judged_table import judged_table
from fdl.report.terminal import PLAIN
from fdl.stats.recorded import Row, corrected, flipped
from fdl.storage import folder, write_atomically
from fdl.sweeps import stored
from fdl.text import hint, named
from fdl.train.runtime import prepare

RESULTS, PAGE = "results.json", "README.md"
"""What is written beside the experiments."""
_KINDS = {"cpu": "rows", "accel": "accel"}
"""Where in the record a tier's rows are."""
_DOWNLOADS = ("fdl/data/readers/download.py",)


@dataclasses.dataclass
class ReproduceOptions(ExecutorOptions):
    """`fdl reproduce`."""

    ids: tyro.conf.Positional[tuple[str, ...]] = ()
    """rows, each by its id, that of a claim or its file's name without .py (default: all with claims)"""
    folder: Path = Path("experiments")
    """the folder of the experiments"""
    tier: typing.Literal["cpu", "accel"] = "cpu"
    """what to run: the files' SWEEP (cpu), or their ACCEL, of the source's own size (accel)"""
    seed_offset: int = 0
    """added to every seed of the sweeps: then verdicts are compared with the recorded ones"""
    html: bool = False
    """run nothing, and write what is recorded as one HTML page, experiments.html in the work folder"""
    work: str = "runs"
    """where the runs are, in NAME/FINGERPRINT, also gs://BUCKET/NAME or s3://..."""


class ChosenRow(NamedTuple):
    """A row to run: its file's path, and the file; or why it cannot be run, and with which exit code."""

    path: Path
    file: ExperimentFile | None
    why: str = ""
    code: int = 0


def execute(words: Sequence[str]) -> int:
    """Runs the command on the words after its name; returns the exit code: 0, or that of the first row that
    failed.

    Raises:
      ValueError: no such folder or row, or a page there that is not of this command.
    """
    options = parse_options("fdl reproduce", ReproduceOptions, words)
    results = read_results(options.folder)
    if options.html:
        return _write_html(options, results)
    chosen = chosen_rows(options.folder, options.ids)
    if options.executor != "local":
        jax.config.update("jax_platforms", "cpu")  # the devices are the workers'
    prepare(None)
    console, code, files = Console(), 0, {}
    for one in chosen:
        ran = one.file and _row(one.file, options, results, files, console)
        came, why = ran or (one.code, one.why)
        if why:
            console.print(f"{one.path.stem}: {why}", **PLAIN)
        code = code or came
    # At the end, so that rows do not find each other's tables as changes that are not committed: one that is
    # finished is only judged again by the next command, where this one is stopped.
    for path, content in files.items():
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, content)
    write_results_page(options.folder, results)
    console.print(f"page: {options.folder / PAGE}", **PLAIN)
    return code


def _write_html(options: ReproduceOptions, results: dict[str, Any]) -> int:
    """The page of what is recorded."""
    if options.ids or options.seed_offset:
        raise ValueError("--html writes the page of all rows that are recorded, and takes no rows or seeds")
    about, place = about_of(options.folder), options.folder
    sources = {name: (place / f"{name}.py").read_text(encoding="utf-8") for name in about}
    drawn = {
        name: place / "figures" / f"{name}.svg" for name, row in results["rows"].items() if row["figure"]
    }
    figures = {name: path.read_bytes() for name, path in drawn.items() if path.is_file()}
    page = folder(options.work) / f"{place.resolve().name}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(page, claims_html(results, about, sources, figures, name=place.resolve().name).encode())
    Console().print(f"page: {page}", **PLAIN)
    return 0


def chosen_rows(place: Path, ids: Sequence[str]) -> list[ChosenRow]:
    """The rows of a folder that ids name; without ids all files that claim something.

    Raises:
      ValueError: there is no such folder, or no row of that id.
    """
    if not place.is_dir():
        raise ValueError(f"{place} is not a folder; name the one that holds the experiments by --folder")
    found: list[ChosenRow] = []
    known: set[str] = set()
    for path in sorted(place.glob("*.py")):
        if question(path) is None:
            continue
        one, names = _chosen(path)
        known |= names
        if (names & set(ids)) if ids else (one.code or "claim" not in one.why):
            found.append(one)
    if missing := [name for name in ids if name not in known]:
        raise ValueError(f"{place} has no row {missing[0]!r}; {hint(missing[0], sorted(known))}")
    return found


def _chosen(path: Path) -> tuple[ChosenRow, set[str]]:
    try:
        file = load_file(path)
    except (ValueError, OSError) as error:
        return ChosenRow(path, None, f"failed: {error}", BAD_INPUT), {path.stem}
    names = {file.name, row_id(file), *file.asked} - {"claim"}
    if file.claim is None:
        return ChosenRow(path, None, "not run: it has no claim"), names
    return ChosenRow(path, file), names


def _row(
    file: ExperimentFile,
    options: ReproduceOptions,
    results: dict[str, Any],
    files: dict[Path, bytes],
    console: Console,
) -> tuple[int, str]:
    """Runs a row, records it in `results`, and puts what is to be written beside it into `files`; the exit
    code and, where there is something to tell, what."""
    if options.tier == "accel":
        file = file._replace(sweep=file.accel, figure=None)
    if file.sweep is None:
        what = "no ACCEL" if options.tier == "accel" else f"no SWEEP; python {file.path} runs it"
        return 0, f"not run: it has {what}"
    before = results[_KINDS[options.tier]].get(file.name)
    if options.seed_offset and before is None:
        return BAD_INPUT, "not run: nothing is recorded to compare with; leave out --seed-offset first"
    if options.seed_offset and before["criteria"] != criteria(file):
        return BAD_INPUT, "not run: it asks something else than is recorded; leave out --seed-offset first"
    try:
        return _recorded(file, options, results, files, console)
    except Exception as error:  # the other rows are run all the same
        raised = [frame.filename.replace("\\", "/") for frame in traceback.extract_tb(error.__traceback__)]
        if any(name.endswith(_DOWNLOADS) for name in raised):
            return 0, f"not run: its data is not there ({named(error)})"
        return BAD_INPUT if isinstance(error, ValueError) else DISK, f"failed: {named(error)}"


def _recorded(
    file: ExperimentFile,
    options: ReproduceOptions,
    results: dict[str, Any],
    files: dict[Path, bytes],
    console: Console,
) -> tuple[int, str]:
    claim, own = file.claim, file.sweep
    assert own is not None and claim is not None
    trials = [one._replace(seed=one.seed + options.seed_offset) for one in own.trials]
    space = dataclasses.replace(own, trials=tuple(trials))
    file = file._replace(sweep=space)
    directory = folder(options.work) / file.name / program_mark(file, space)
    names = [field.name for field in dataclasses.fields(ExecutorOptions)]
    flags = SweepOptions(**{name: getattr(options, name) for name in names})
    code = swept(file, flags, space, directory, reports.made(["sweep", str(file.path)]), console)
    result = stored(file.experiment, space, workdir=directory, scheduler=file.scheduler)
    before = results[_KINDS[options.tier]].get(file.name)
    verdict = judged_row(file, result, directory)
    row = recorded_row(file, result, directory, verdict, before)
    if options.seed_offset:
        before["other_seeds"][str(options.seed_offset)] = other_seeds(row)
        said = {key: claim["verdict"] for key, claim in row["claims"].items()}
        changed = flipped(before, said)
        told = [f"{key} unstable: {said[key]} for {before['claims'][key]['verdict']}" for key in changed]
        return code, "; ".join(told) or "every verdict the same with other seeds"
    figure, name = file.figure(result) if file.figure else effects_figure(row["claims"]), file.name
    name += "-accel" * (options.tier == "accel")
    files[options.folder / "results" / f"{name}.csv"] = judged_table(result, claim).encode()
    if figure is not None:
        files[options.folder / "figures" / f"{name}.svg"] = figure_svg(figure)
    results[_KINDS[options.tier]][file.name] = {**row, "figure": figure is not None}
    return code, ""


def read_results(place: Path) -> dict[str, Any]:
    """What is recorded of a folder's experiments: `rows`, `accel` (those of the source's own size), and
    what was `told` by hand.

    Raises:
      ValueError: the record is damaged, or the folder has a page that this command did not write.
    """
    path, empty = place / RESULTS, {"rows": {}, "accel": {}, "told": {}}
    if path.is_file():
        try:
            return {**empty, **json.loads(path.read_text(encoding="utf-8"))}
        except ValueError as error:
            raise ValueError(f"{path} cannot be read ({error}); take it back from git") from None
    if (place / PAGE).exists():
        raise ValueError(f"{place / PAGE} was not written by fdl reproduce, which would replace it; move it")
    return empty


def write_results_page(place: Path, results: dict[str, Any]) -> None:
    """Writes what is recorded, p-values adjusted for all of it, and the page."""
    for kind in _KINDS.values():
        rows: dict[str, Row] = results[kind]
        corrected(rows.values())
        results[kind] = dict(sorted(rows.items()))
    text = json.dumps(results, indent=1, ensure_ascii=False)
    write_atomically(place / RESULTS, f"{text}\n".encode())
    write_atomically(place / PAGE, claims_page(results, about_of(place)).encode())


def about_of(place: Path) -> dict[str, About]:
    """What the experiments of a folder say of themselves, by file's name, without running them."""
    found = {}
    for path in sorted(place.glob("*.py")):
        if question(path) is not None:
            module = ast.parse(path.read_bytes())
            first, _, rest = (ast.get_docstring(module) or path.stem).partition("\n")
            assigned = {
                ast.unparse(t) for one in module.body if isinstance(one, ast.Assign) for t in one.targets
            }
            found[path.stem] = About(first, rest.strip(), "ACCEL" in assigned)
    return found
