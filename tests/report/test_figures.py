"""Figures against NumPy on the tidy frame."""

import dataclasses
import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.stats
from matplotlib.collections import FillBetweenPolyCollection, PathCollection

from fdl import formats
from fdl.report import figures, style
from fdl.report.alt_text import of_curves, of_distribution
from fdl.result import Result
from tests.report.examples import crossed, example, lost, many, single

METRIC = "test/accuracy"
RATES = {f"lr={lr}": {"lr": lr} for lr in (0.1, 0.01, 0.001)}


def finished(result: Result, arm: str) -> np.ndarray:
    """`METRIC` of the arm's runs that did not fail, `[seeds, evaluations]`."""
    frame = result.frame[(result.frame["arm"] == arm) & (result.frame["status"] != "failed")]
    return frame.pivot_table(index="seed", columns="step", values=METRIC).to_numpy()


def test_curves_are_means_with_t_intervals():
    result = crossed()
    figure = figures.learning_curves(result, METRIC)
    assert [axis.get_title() or axis.get_title("left") for axis in figure.axes] == [
        "depth = 4",
        "depth = 16",
        "depth = 64",
    ]
    for axis, depth in zip(figure.axes, (4, 16, 64), strict=True):
        bands = [each for each in axis.collections if isinstance(each, FillBetweenPolyCollection)]
        for line, band, skip in zip(axis.lines, bands, (False, True), strict=True):
            values = finished(result, f"depth={depth} skip={skip}")
            margin = scipy.stats.sem(values) * scipy.stats.t.ppf(0.975, len(values) - 1)
            np.testing.assert_array_equal(line.get_xdata(), [10, 20, 30, 40])
            np.testing.assert_allclose(np.asarray(line.get_ydata()), values.mean(0))
            ends = np.asarray(band.get_paths()[0].vertices)
            for index, step in enumerate((10, 20, 30, 40)):
                heights = ends[ends[:, 0] == step, 1]
                expected = values.mean(0)[index] + margin[index] * np.array([-1, 1])
                np.testing.assert_allclose([heights.min(), heights.max()], expected)


def test_arms_differ_in_colour_and_dashes():
    figure = figures.learning_curves(example(RATES, seeds=3), METRIC)
    (axis,) = figure.axes
    assert len({line.get_color() for line in axis.lines}) == 3
    assert len({str(line._dash_pattern) for line in axis.lines}) == 3  # pyright: ignore[reportAttributeAccessIssue]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["0.1", "0.01", "0.001"]
    assert legend.get_title().get_text() == "lr"
    for line, key in zip(axis.lines, legend.get_lines(), strict=True):
        assert line.get_color() == key.get_color()


@pytest.mark.medium
def test_many_arms_have_a_panel_each_over_all_others():
    figure = figures.learning_curves(many(), METRIC)
    assert [axis.get_title("left").replace("\n", " ") for axis in figure.axes] == [
        f"full - part {i}" for i in range(20)
    ]
    for index, axis in enumerate(figure.axes):
        behind, front = axis.lines
        assert behind.get_color() == style.FAINT
        assert (
            np.isnan(np.asarray(behind.get_ydata(), float)).sum() == 20
        )  # a curve with a gap after it, each
        np.testing.assert_allclose(
            np.asarray(front.get_ydata()), finished(many(), f"full - part {index}").mean(0)
        )


def test_one_evaluation_is_a_mark():
    figure = figures.learning_curves(example(RATES, seeds=3, evaluations=1), METRIC)
    assert all(line.get_marker() == "o" for line in figure.axes[0].lines)


@pytest.mark.parametrize(("factor", "scale"), [(1.0, "linear"), (1e5, "log")])
def test_values_over_decades_are_on_a_logarithmic_scale(factor: float, scale: str):
    result = example(RATES, seeds=3)
    first = result.frame["arm"] == "lr=0.1"
    scaled = result.frame[METRIC].where(~first, result.frame[METRIC] * factor)
    result = dataclasses.replace(result, frame=result.frame.assign(**{METRIC: scaled}))
    assert figures.learning_curves(result, METRIC).axes[0].get_yscale() == scale
    assert figures.distribution(result, METRIC).axes[0].get_xscale() == scale


@pytest.mark.parametrize("arms", [3, 100])
def test_a_logarithmic_scale_has_numbers_for_labels(arms: int):
    result = example({f"lr={i}": {"lr": i} for i in range(arms)}, seeds=3)
    first = result.frame["arm"] == "lr=1"
    scaled = result.frame[METRIC].where(~first, result.frame[METRIC] * 1e-6)
    result = dataclasses.replace(result, frame=result.frame.assign(**{METRIC: scaled}))
    for figure, side in (
        (figures.learning_curves(result, METRIC), "y"),
        (figures.distribution(result, METRIC), "x"),
    ):
        figure.canvas.draw()
        labels = [text.get_text() for text in getattr(figure.axes[0], f"get_{side}ticklabels")()]
        assert labels and all(float(label.replace("−", "-")) > 0 for label in labels)


@pytest.mark.medium
def test_a_figure_of_many_arms_costs_what_one_of_few_does():
    """Of more than 24 arms only the highest and the lowest have a curve and a row of their own."""
    for count in (30, 300):
        values = np.random.default_rng(count).permutation(count) / count
        result = example({f"lr={i}": {"lr": i, "depth": i % 7} for i in range(count)}, seeds=2)
        fixed = result.frame["arm"].map(dict(zip(dict.fromkeys(result.frame["arm"]), values, strict=True)))
        result = dataclasses.replace(result, frame=result.frame.assign(**{METRIC: fixed}))
        order = [f"lr={i}" for i in np.argsort(-values)]
        curves, ends = figures.learning_curves(result, METRIC), figures.distribution(result, METRIC)
        assert [len(axis.lines) for axis in curves.axes] == [8]
        assert [text.get_text() for text in curves.legends[0].get_texts()] == order[:4] + order[-4:]
        assert curves.legends[0].get_title().get_text() == f"highest and lowest of {count} arms"
        rows = [label.get_text() for label in ends.axes[0].get_yticklabels()]
        assert rows == order[:12] + order[-12:]
        assert f"24 highest and lowest of {count} arms" in ends.axes[0].get_xlabel()
        last = [float(np.asarray(line.get_ydata())[-1]) for line in curves.axes[0].lines]
        np.testing.assert_allclose(last, sorted(values, reverse=True)[:4] + sorted(values, reverse=True)[-4:])


def test_infinite_values_are_left_out():
    result = example(RATES, seeds=3)
    frame = result.frame.copy()
    frame.loc[frame["seed"] == 1, METRIC] = np.inf
    result = dataclasses.replace(result, frame=frame)
    for figure in (figures.learning_curves(result, METRIC), figures.distribution(result, METRIC)):
        figure.savefig(io.BytesIO())
        assert np.all(np.isfinite(figure.axes[0].axis()))


def test_what_a_figure_shows_is_told_in_words():
    result = example(RATES, seeds=3)
    table = result.table().set_index("arm")
    curves, ends = (words(result, METRIC) for words in (of_curves, of_distribution))
    assert "4 evaluations to step 40" in curves and "3 runs" in ends
    for arm, row in table.iterrows():
        assert f"{arm}: {formats.estimate(row[METRIC], row[f'{METRIC} ±'])}" in curves
        values = finished(result, str(arm))[:, -1]
        shown = [formats.number(value) for value in (np.median(values), values.min(), values.max())]
        assert f"{arm}: {shown[0]} ({shown[1]} to {shown[2]}, 3 runs)" in ends
    assert "; 8 arms lie between." in of_curves(many(), METRIC)


def test_a_distribution_shows_every_seed():
    result = crossed()
    (axis,) = figures.distribution(result, METRIC).axes
    arms = [label.get_text() for label in axis.get_yticklabels()]
    assert arms == list(dict.fromkeys(result.frame["arm"]))
    points = [each for each in axis.collections if isinstance(each, PathCollection)]
    for place, (arm, scatter) in enumerate(zip(arms, points, strict=True)):
        offsets = np.asarray(scatter.get_offsets())
        np.testing.assert_allclose(np.sort(offsets[:, 0]), np.sort(finished(result, arm)[:, -1]))
        assert np.all(np.abs(offsets[:, 1] - place) < 0.5)


@pytest.mark.parametrize("names", [("_private", "plain"), ("$x$", "$\\oops$"), ("{a}", "%s")])
@pytest.mark.parametrize("seeds", [1, 3])
def test_names_are_drawn_as_they_are(names: tuple[str, ...], seeds: int):
    result = example({name: {"kind": name} for name in names}, seeds=seeds)
    curves, ends = figures.learning_curves(result, METRIC), figures.distribution(result, METRIC)
    assert tuple(text.get_text() for text in curves.legends[0].get_texts()) == names
    assert tuple(label.get_text() for label in ends.axes[0].get_yticklabels()) == names
    for figure in (curves, ends):
        figure.savefig(io.BytesIO())


def test_what_is_drawn():
    drawn = [(each.metric, each.kind) for each in figures.draw(crossed())]
    kinds = ("curves", "distribution")
    assert drawn == [(metric, kind) for metric in ("test/accuracy", "test/loss") for kind in kinds]
    assert [each.kind for each in figures.draw(single())] == ["curves", "curves"]
    assert figures.draw(lost()) == []


def test_drawing_leaves_no_trace():
    settings, state = dict(matplotlib.rcParams), str(np.random.get_state())
    figures.draw(crossed())
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == settings
    assert str(np.random.get_state()) == state


@pytest.mark.parametrize("draw", [figures.learning_curves, figures.distribution])
def test_an_unknown_metric_is_named(draw):
    with pytest.raises(ValueError, match=r"no metric 'test/loos'; there are: .*test/loss"):
        draw(crossed(), "test/loos")
