"""No data set is forgotten: by `fdl data`, by the tests of every source, or by TAB."""

import inspect

import jax

from fdl import data
from fdl.data import synthetic
from fdl.data.datasets.catalog import DATA_SETS
from fdl.data.datasets.data_set import Origin
from tests.data import every

ELSEWHERE = {
    "mnist": "datasets/test_published.py: its files are downloaded",
    "fashion_mnist": "datasets/test_published.py: its files are downloaded",
    "cifar10": "datasets/test_published.py: its files are downloaded",
    "cifar100": "datasets/test_published.py: its files are downloaded",
    "tiny_shakespeare_file": "datasets/test_published.py: a file, which `text` reads",
    "spoken_digits": "datasets/test_spoken_digits.py: its file is downloaded",
    "synthesised_digits": "datasets/test_speech.py: needs a synthesiser",
    "photos": "datasets/test_pictures.py: no rows of one shape; photo_patches has them",
    "scan_simple": "datasets/test_grammar.py: rows are made as by scan_length",
    "scan_jump": "datasets/test_grammar.py: rows are made as by scan_length",
    "scan_turn_left": "datasets/test_grammar.py: rows are made as by scan_length",
    "numbers_by_length": "datasets/test_number_names.py: rows are made as by numbers",
}
"""Data sets that tests/data/every.py leaves out, and why."""


def exported():
    """The public functions that make data, by name."""
    found = {**vars(data), **vars(synthetic)}
    rooms = ("fdl.data.datasets.", "fdl.data.synthetic.")
    return {
        name: value
        for name, value in found.items()
        if inspect.isfunction(value) and value.__module__.startswith(rooms) and not name.startswith("_")
    }


def required(function):
    return [n for n, one in inspect.signature(function).parameters.items() if one.default is one.empty]


def test_the_catalogue_has_every_data_set_that_needs_no_choice():
    free = {name for name, function in exported().items() if required(function) in ([], ["key"])}
    assert {one.function.__name__ for one in DATA_SETS} == free
    assert len({one.name for one in DATA_SETS}) == len(DATA_SETS)
    for one in DATA_SETS:
        assert (required(one.function) == ["key"]) == (one.origin is Origin.ENDLESS), one.name
        published = one.origin is Origin.PUBLISHED
        assert bool(one.licence) == bool(one.files) == bool(one.places) == bool(one.get) == published, (
            one.name
        )


def test_every_data_set_is_tested_as_a_source():
    tested = {*every.DATA_SETS, *every.samples()}
    makes_rows = {
        name
        for name, function in exported().items()
        if required(function)[:1] == ["key"]
        and inspect.signature(function).return_annotation == dict[str, jax.Array]
    }
    wanted = {one.function.__name__ for one in DATA_SETS} | makes_rows
    assert not tested & set(ELSEWHERE)
    assert tested | set(ELSEWHERE) == wanted | {"truth_table"}


def test_tab_shows_what_users_call():
    for package, modules in ((data, {"synthetic"}), (synthetic, set())):
        listed = {name: getattr(package, name) for name in dir(package)}
        assert {name for name, value in listed.items() if inspect.ismodule(value)} == modules
        assert not [name for name in listed if name.startswith("_")]
        source = inspect.getsource(package)
        assert set(listed) == {line.split()[-1] for line in source.splitlines() if " as " in line} - {
            "_ModuleType"
        }
