"""What pairs the runs of two arms: seeds, the values of a field, or nothing."""

from typing import Any

import numpy as np
import pytest

from fdl.cells import identities
from fdl.stats import arms as arms_module
from fdl.stats import compare
from tests.stats.results import BASE, METRIC, NOISE, arms, gap, make, run


def blocks(values: dict[bool, np.ndarray]) -> Any:
    """A result with these values `[blocks, seeds]`, the blocks told by lr."""
    return make(
        [
            run(skip, seed, value, lr=0.1 * (block + 1), arm=f"skip={skip} lr={block}")
            for skip, by_block in values.items()
            for block, by_seed in enumerate(by_block)
            for seed, value in enumerate(by_seed)
        ]
    )


def test_a_value_of_a_field_is_a_pair_of_means_over_seeds() -> None:
    base = BASE[:, None] + np.array([[-0.3, 0.0, 0.3]])
    arm = base + 0.1 + NOISE[:, None] + np.array([[0.2, 0.0, -0.2]])
    found = compare(blocks({False: base, True: arm}), metric=METRIC, arms="skip", by="lr")
    reference = compare(
        arms({False: base.mean(axis=1), True: arm.mean(axis=1)}), metric=METRIC, arms="skip"
    ).comparisons[0]
    (one,) = found.comparisons
    for name in ("n", "dropped", "difference", "low", "high", "p", "arm_mean"):
        assert getattr(one, name) == pytest.approx(getattr(reference, name)), name
    assert one.status == reference.status == "SUPPORTED"
    assert "8 pairs, each a value of lr" in found.verdict.sentence
    assert "8 values of lr can miss a collapse" in found.verdict.sentence


def test_a_seed_that_one_arm_lacks_in_a_block_is_left_out_of_both() -> None:
    base = np.tile(BASE[:6, None], 3)
    result = blocks({False: base, True: base + 0.1 + NOISE[:6, None]})
    frame = result.frame
    there = (frame["lr"] == 0.1) & (frame["seed"] == 2)
    lost, wild = there & frame["skip"].astype(bool), there & ~frame["skip"].astype(bool)
    frame = frame.assign(**{METRIC: frame[METRIC].where(~wild, 77.0)})[~lost]
    less = type(result)(frame, result.fields, result.failures, {})
    differences = [
        compare(one, metric=METRIC, arms="skip", by="lr").comparisons[0].difference for one in (result, less)
    ]
    assert differences[0] == pytest.approx(differences[1])


def test_unpaired_runs_are_put_side_by_side_in_the_order_of_their_seeds() -> None:
    paired = gap(0.1)
    frame = paired.frame.assign(seed=paired.frame["seed"] + 100 * paired.frame["skip"].astype(int))
    moved = type(paired)(frame, paired.fields, paired.failures, {})
    found = compare(moved, metric=METRIC, arms="skip", by=None)
    assert found.comparisons[0][:17] == compare(paired, metric=METRIC, arms="skip").comparisons[0][:17]
    assert "8 unpaired runs of either arm" in found.verdict.sentence
    assert compare(moved, metric=METRIC, arms="skip").comparisons[0].n == 0


def test_the_larger_of_two_unpaired_arms_is_cut_and_it_is_said() -> None:
    found = compare(arms({False: BASE, True: (BASE + 0.1 + NOISE)[:6]}), metric=METRIC, arms="skip", by=None)
    assert (found.comparisons[0].n, found.comparisons[0].dropped) == (6, 2)
    assert "2 runs are left out, as the other arm has fewer" in found.verdict.sentence


@pytest.mark.parametrize("by", ["skip", "arm", "depth"])
def test_what_pairs_nothing_is_refused(by: str) -> None:
    with pytest.raises(ValueError, match=f"by='{by}' pairs no runs"):
        compare(gap(0.1), metric=METRIC, arms="skip", by=by)


def test_bets_go_by_seeds() -> None:
    with pytest.raises(ValueError, match="by='seed'"):
        compare(gap(0.1), metric=METRIC, arms="skip", by="lr", anytime=True)


def test_runs_are_looked_at_as_often_however_many_arms_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def counted(column: Any) -> Any:
        looked.append(len(column))
        return identities(column)

    monkeypatch.setattr(arms_module, "identities", counted)
    often = []
    for count in (2, 20):
        looked.clear()
        compare(arms({arm: BASE[:5] + NOISE[:5] * arm for arm in range(count)}), metric=METRIC, arms="skip")
        often.append(sum(looked) / (5 * count))
    assert often[0] == often[1]
