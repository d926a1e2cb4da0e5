"""What directories hold: as a result, from their files alone, and as runs that can be used."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd

from fdl.arguments import checked
from fdl.cells import identities, listed
from fdl.experiment import Experiment
from fdl.result import Result
from fdl.storage import Folder, folder
from fdl.sweeps.loading import check_comparable, opened_directory
from fdl.sweeps.stored_runs import ConfigKey, StoredRun, shown_arm
from fdl.trained.ensemble import Ensemble
from fdl.trained.origin import NotHere, Recovered, from_stored, recovered
from fdl.trained.run import TrainedRun
from fdl.trained.states import Which, loaded_arrays, loaded_state, variables_in

Given = Callable[[Any], Experiment] | Path | str | None
"""The experiment that a run is to be used with, see `Loaded.run`."""


@dataclasses.dataclass(frozen=True)
class Loaded(Result):
    """A result whose runs can be used: what `where`, `best` and `+` give can too.

    Attributes:
      places: where each run is stored, by its config, or the arm whose config a scheduler changed, and seed.
    """

    places: Mapping[tuple[ConfigKey, int], StoredRun] = dataclasses.field(default_factory=dict, repr=False)

    def __add__(self, other: Result) -> Result:
        """The runs of both, see `fdl.Result`; those of a result that was not loaded cannot be used."""
        joined = super().__add__(other)
        if not isinstance(joined, Loaded) or not isinstance(other, Loaded):
            return joined
        return dataclasses.replace(joined, places={**other.places, **self.places})

    def run(
        self,
        arm: str | None = None,
        seed: int | None = None,
        *,
        state: Which = "result",
        experiment: Given = None,
    ) -> TrainedRun:
        """One of the runs, to be used: `run(arm="lr=0.001", seed=3).predict(x)`.

        It is read from the newest checkpoint of its folder, whatever machine and devices it was trained on.
        What of the experiment changed since is a warning, and `TrainedRun.changed`. An arm that a scheduler
        changed has the config with which its last steps were made; `lineages` tells what came before.

        Args:
          arm: its arm; it may be left out where there is one.
          seed: its seed; likewise.
          state: `"result"`, the best state where the experiment keeps it, else the last; or `"last"` or
            `"best"`.
          experiment: what it is an experiment of: None is the file that trained it, as it is today, and where
            that or its data is not here, the program of predictions that was stored, which is a warning;
            `"stored"` runs the source that was stored with it; or the place of a file, or a function
            whose parameter is annotated with the config's class, as runs of `fdl.sweep` need it.

        Raises:
          ValueError: none or several such runs, a run that failed or that a scheduler stopped, a state that
            is not kept, a damaged checkpoint, or an experiment that is not there or has another state.
          OSError: a file cannot be read.
        """
        row = self._one(arm, seed)
        return self._used(row, state, self._origin(row, experiment))

    def ensemble(
        self, arm: str | None = None, *, state: Which = "result", experiment: Given = None
    ) -> Ensemble:
        """All runs of an arm that did not fail, one a seed, which predict in one program; arguments and
        errors as of `run`."""
        runs = self._matching(arm, None)
        if len(arms := runs["arm"].unique()) > 1:
            raise ValueError(f"an ensemble is of one arm; there are {listed(identities(arms))}: give arm=")
        failed = set(self.failures[self.failures["arm"] == arms[0]]["seed"])
        alive = [row for _, row in runs.iterrows() if row["seed"] not in failed]
        if not alive:
            raise ValueError(f"all runs of {arms[0]!r} failed; expected one that did not")
        if any(self._place(row).config != self._place(alive[0]).config for row in alive):
            raise ValueError(
                f"a scheduler changes {arms[0]!r}, and not all of its runs are that far, but an ensemble is "
                "of one config; look again later, or take one seed by run(...)"
            )
        origin = self._origin(alive[0], experiment)
        return Ensemble(tuple(self._used(row, state, origin) for row in alive))

    def variables(
        self, arm: str | None = None, seed: int | None = None, *, state: Which = "result"
    ) -> dict[str, Any]:
        """The model's collections of one of the runs, without its experiment and its data: NumPy arrays,
        `{"params": ...}` with those beside them, as `"batch_stats"`; of `fdl.tasks.with_ema` the average.

        They are those that were trained. An optimizer that judges by others (`fdl.optim.evaluation_params`)
        is known to `run(...).variables` alone.

        Raises:
          ValueError: as `run`; or a state that is not one of learning by gradients.
          OSError: a file cannot be read.
        """
        return variables_in(loaded_arrays(self.stored_run(arm, seed), state))

    def stored_run(self, arm: str | None = None, seed: int | None = None) -> StoredRun:
        """Where one of the runs is stored; errors as of `run`."""
        return self._place(self._one(arm, seed))

    def _matching(self, arm: str | None, seed: int | None) -> pd.DataFrame:
        if arm is not None and arm in self.stopped:
            raise ValueError(
                f"the scheduler stopped {arm} at step {self.stopped[arm]:,}, so it has no result; expected "
                "an arm that came to its end"
            )
        runs = self.runs()
        runs = runs[~runs["arm"].isin(list(self.stopped))]
        for name, value in (("arm", arm), ("seed", seed)):
            there = runs[name]
            runs = runs if value is None else runs[there == value]
            if not len(runs):
                raise ValueError(f"no run has {name}={value!r}; there are: {listed(identities(there))}")
        return runs

    def _one(self, arm: str | None, seed: int | None) -> pd.Series:
        runs = self._matching(arm, seed)
        if len(runs) > 1:
            name = "arm" if runs["arm"].nunique() > 1 else "seed"
            raise ValueError(f"{len(runs)} runs are meant; give {name}=, of {listed(identities(runs[name]))}")
        return runs.iloc[0]

    def _place(self, row: pd.Series) -> StoredRun:
        arm = str(row["arm"])
        config = shown_arm(arm) if arm in self.lineages else tuple(identities(row[list(self.fields)]))
        key = config, int(row["seed"])
        if key not in self.places:
            raise ValueError(f"{row['arm']} seed {row['seed']} is of a result that was not loaded from files")
        return self.places[key]

    def _origin(self, row: pd.Series, experiment: Given) -> Recovered:
        place = self._place(row)
        try:
            origin = recovered(place, experiment)
        except NotHere as absent:
            if experiment is not None:
                raise
            origin = from_stored(place, absent)
            what = f"{absent}. Until then it predicts by the program that was stored with the run"
            warnings.warn(what, stacklevel=3)
        if origin.changed:
            what = "; ".join(origin.changed)
            warnings.warn(f"{place.directory} was trained by another experiment: {what}", stacklevel=3)
        return origin

    def _used(self, row: pd.Series, state: Which, origin: Recovered) -> TrainedRun:
        arm, seed = str(row["arm"]), int(row["seed"])
        rows = self.frame[(self.frame["arm"] == arm) & (self.frame["seed"] == seed)]
        status = "failed" if not len(rows) else str(rows["status"].iloc[-1])
        if status == "failed":
            raise ValueError(f"{arm} seed {seed} failed: a required metric was not finite; take another run")
        place = self._place(row)
        ended = int(rows["step"].iloc[-1]) if status == "stopped" else None
        whole = None if origin.missing else origin.experiment
        found, step = loaded_state(place, whole, state, ended=ended)
        if step is None:
            step = int(rows[rows["best"].astype(bool)]["step"].iloc[-1])
        made = arm, seed, origin.config, step, status, origin.experiment, found
        return TrainedRun(*made, origin.changed, origin.diff, origin.file, origin.missing)


@checked
def load(directory: str | Folder, *more: str | Folder) -> Loaded:
    """The result that work directories hold, also of a sweep that is still running: every run that has been
    evaluated, whichever command trained it.

    Runs are sorted by their fields' values. An arm is called as it was when it was trained; where one name
    stands for several configs, with the fields in which they differ. What a scheduler led is as `fdl.sweep`
    gives it; an arm that it stopped has a curve, and no run to be used. Of a search all runs are loaded,
    those by which a config was chosen and those that judge it, which is warned of.

    Args:
      directory: of a run or a sweep, as `runs/first/0123456789abcdef`; local or in a bucket. Where it holds
        several schedules, or one beside runs without a scheduler, one of these, as `DIRECTORY/schedules/NAME`
        or `DIRECTORY/units`.
      more: others, whose results are joined as by `+`.

    Raises:
      ValueError: it is no work directory, nothing is measured there yet, it holds several schedules, or a
        file is damaged; or directories that cannot be compared: of experiments that evaluate on other data,
        or that mean something else and have runs of the same config.
      OSError: a file cannot be read.

    Example:
      >>> import tempfile
      >>> import fdl, numpy as np
      >>> from fdl import data, tasks
      >>> @fdl.config
      ... class Config:
      ...     rate: float = 1.0
      ...
      >>> rows = {"x": np.eye(4, dtype=np.float32), "y": np.array([1, -1, 1, -1], np.float32)}
      >>> splits = data.Splits(rows, rows, rows)
      >>> def experiment(config: Config) -> fdl.Experiment:
      ...     return tasks.perceptron(splits, steps=4, rate=config.rate)
      ...
      >>> directory = tempfile.mkdtemp()
      >>> result = fdl.sweep(experiment, fdl.grid(Config(), rate=(0.1, 1.0), seeds=2), workdir=directory)
      >>> loaded = fdl.load(directory)
      >>> loaded.frame.equals(result.frame)
      True
      >>> run = loaded.run(arm="rate=1", seed=0, experiment=experiment)
      >>> run.config.rate, run.predict(np.eye(4))["label"].tolist(), run.evaluate("test")["accuracy"]
      (1.0, [-1, -1, -1, -1], 0.5)
    """
    places = [folder(place) for place in (directory, *more)]
    first, *others = [opened_directory(place) for place in places]
    for place in places:
        if (place / "searches").exists():
            # Of the chosen config the best of many draws is among its runs, so a mean over all flatters it.
            told = (
                f"{place} is of a search: among a config's runs are those by which it was chosen; its report"
            )
            warnings.warn(f"{told} judges by others", stacklevel=3)
    for other in others:
        check_comparable(first, other)
    loaded: Result = Loaded(**vars(first.result), places=first.runs)
    for one in others:
        loaded += Loaded(**vars(one.result), places=one.runs)
    return cast(Loaded, loaded)
