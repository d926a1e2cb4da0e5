"""Every exported statistic has a test against a reference, in the file that is named here."""

import ast
import inspect
from pathlib import Path

from fdl import stats

TESTED = {
    "all_of": "test_compare",
    "compare": "test_compare",
    "compare_rates": "test_rates",
    "confidence_sequence": "test_betting",
    "detectable": "test_power",
    "difference_in_differences": "test_interaction",
    "factorial_effects": "test_effects",
    "holm": "test_inference",
    "interval": "test_inference",
    "judge_claims": "test_claims",
    "metrics_as_arms": "test_measures",
    "pairs_needed": "test_power",
    "sign_flip": "test_inference",
    "success_rate": "test_rates",
    "two_sided_power": "test_power",
}


def test_every_exported_statistic_is_in_the_list():
    values = {name: getattr(stats, name) for name in dir(stats)}
    assert {n for n, v in values.items() if callable(v) and not inspect.isclass(v)} == TESTED.keys()


def test_each_is_called_in_its_file():
    for name, file in TESTED.items():
        nodes = ast.walk(ast.parse((Path(__file__).parent / f"{file}.py").read_text()))
        called = {
            node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert name in called, f"{file} calls no {name}"
