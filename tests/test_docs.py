"""The documents: the tutorial runs, links lead somewhere, names can be imported, options are there."""

import ast
import contextlib
import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import fdl
from fdl import tasks
from fdl.cli import COMMANDS, main
from fdl.experiment_file import load_file

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tpu").glob("*.md"))
    if path.is_file()
)
FENCE = re.compile(r"^ *```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page: its language, the file that it is to be written to, its text."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; one within a list is indented there."""
    found = (match.groups("") for match in FENCE.finditer(page.read_text()))
    return [Block(language, title, textwrap.dedent(text)) for language, title, text in found]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


@pytest.mark.slow
def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.syspath_prepend(str(tmp_path))
    shown, names = "", {"__name__": "tutorial"}
    for block in blocks(ROOT / "docs/tutorial.md"):
        if block.title:
            Path(block.title).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, "tutorial.md", "exec"), names)
            _forget(tmp_path)
        elif block.language == "bash":
            _shell(block.text)
            shown = capfd.readouterr().out
        elif block.language == "text":
            assert _contains(shown, block.text), f"{block.text}\nis not in\n{shown}"


def _shell(text: str) -> None:
    """Runs commands as a shell does that stops at the first error; plain ones of fdl in this process, where
    JAX is there already and what was compiled is kept."""
    lines = text.strip().splitlines()
    if all(line.startswith("fdl ") and not set(line) & set("&|;\\$'\"") for line in lines):
        for line in lines:
            assert main(line.split()[1:]) == 0, line
    else:
        subprocess.run(["bash", "-euc", text], check=True, timeout=300)


def _forget(folder: Path) -> None:
    """Lets files of a folder that were imported be loaded by a command, as in a process of its own."""
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
            del sys.modules[name]


def _contains(output: str, shown: str) -> bool:
    """Whether each line of `shown` begins a part of the output, in this order; `...` stands for anything."""
    place = 0
    for line in shown.strip().splitlines():
        words = r"\s+".join(re.escape(word).replace(r"\.\.\.", ".*?") for word in line.split())
        if not (found := re.compile(words).search(output, place)):
            return False
        place = found.end()
    return True


@pytest.mark.medium
@pytest.mark.parametrize("page", ["howto/compress.md"])
def test_the_examples_of_a_page_run_as_they_are_printed(page):
    text = "".join(block.text for block in blocks(ROOT / "docs" / page) if block.language == "pycon")
    told, runner = [], doctest.DocTestRunner()
    runner.run(doctest.DocTestParser().get_doctest(text, {}, page, page, 0), out=told.append)
    assert runner.tries > 5 and not runner.failures, "".join(told)


def test_a_part_that_is_not_shown_is_missed():
    assert _contains("a 1\nb 22\nc", "a\nb 2...")
    assert not _contains("a 1\nb 22\nc", "b\na")


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub and MkDocs name them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"`", "", text).lower()).strip().replace(" ", "-") for text in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page}: {link}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page}: {link}"


PARTS = "analysis|data|inspection|losses|metrics|models|optim|pretrained|stats|tasks|train"


def names_in(page: Path) -> Iterator[str]:
    """What a page names in backticks: `fdl.x.y`, `data.x`, `tasks.x(...)`."""
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        if named := re.match(rf"(?:fdl|{PARTS})(?:\.(?!NAME)[a-zA-Z_]\w*)+", code):
            yield named[0] if named[0].startswith("fdl.") else f"fdl.{named[0]}"


def import_name(name: str) -> Any:
    """The module or the attribute of one that a dotted name stands for.

    Raises:
      AttributeError: it is not there.
    """
    parts = name.split(".")
    value = importlib.import_module(parts[0])
    for place, part in enumerate(parts[1:], 2):
        with contextlib.suppress(ModuleNotFoundError):
            if not hasattr(value, part):
                importlib.import_module(".".join(parts[:place]))
        value = getattr(value, part)
    return value


def found(name: str) -> bool:
    try:
        import_name(name)
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_of_fdl_can_be_imported(page):
    stale = [name for name in names_in(page) if not found(name)]
    assert not stale, page


def test_a_name_that_is_not_there_is_found_out():
    assert found("fdl.tasks.classification") and found("fdl.train.runtime.make_room")
    assert not found("fdl.tasks.proximal") and not found("fdl.every")


def calls(page: Path) -> Iterator[ast.Call]:
    """The calls in a page's blocks of Python, which must be Python."""
    for block in blocks(page):
        if block.language == "python":
            yield from (node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_function_in_a_block_takes_the_options_that_it_gets(page):
    for call in calls(page):
        name = ast.unparse(call.func)
        if not re.fullmatch(rf"fdl\.[\w.]+|(?:{PARTS})\.[\w.]+", name):
            continue
        value = import_name(name if name.startswith("fdl.") else f"fdl.{name}")
        given = {word.arg: None for word in call.keywords if word.arg}
        rest = [None for one in call.args if not isinstance(one, ast.Starred)]
        inspect.signature(value).bind_partial(*rest, **given)


def test_the_experiment_in_the_readme_keeps_the_contract(tmp_path):
    block = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    (tmp_path / "whole.py").write_text(block.text)
    file = load_file(tmp_path / "whole.py")
    assert fdl.check(file.experiment(file.config()))
    assert file.sweep is not None and file.claim is not None
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_command_is_in_the_table_of_commands():
    page = (ROOT / "docs/commands.md").read_text()
    assert not [name for name in COMMANDS if f"| `fdl {name} " not in page and f"| `fdl {name}`" not in page]


def test_every_task_is_in_the_table_of_models_and_tasks():
    made = [
        n
        for n in dir(tasks)
        if getattr(getattr(tasks, n), "__annotations__", {}).get("return") is fdl.Experiment
    ]
    assert len(made) > 20
    for page in ("README.md", "docs/models.md"):
        text = (ROOT / page).read_text()
        assert not [name for name in made if f"`{name}`" not in text and name != "experiment_over"], page


FILE = re.compile(r"`((?:fdl|tests|docs|tpu|experiments|\.ci)/[\w./\-*]+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_exists(page):
    for name in FILE.findall(prose(page)):
        assert list(ROOT.glob(name.replace("NAME", "*"))), f"{page}: {name}"
