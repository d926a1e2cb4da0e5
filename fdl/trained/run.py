"""A trained run: its config, its state, what it predicts and how it measures."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from fdl.experiment import Experiment, State
from fdl.tasks.gradient import State as GradientState
from fdl.tasks.gradient import variables
from fdl.train.prediction import says
from fdl.trained.measuring import measured
from fdl.trained.predicting import Outputs, in_batches, rows_of_inputs
from fdl.trained.states import variables_in


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run that was trained, on this machine, whatever it was trained on.

    Attributes:
      arm: its arm.
      seed: its seed.
      config: its config; of an arm whose config a scheduler changed the last one.
      step: updates that made its state.
      status: `"finished"`, `"stopped"` (early) or `"running"`.
      experiment: the experiment of its config.
      state: the learner's state, on the first device.
      changed: what of the experiment is not as it was when the run was trained, a line each.
      diff: in which lines the experiment's file differs from the source that was stored with the run.
      file: the experiment's file, where it is of one.
      missing: why the run can only predict, by the program that was stored with it: its experiment's file or
        data is not here. Then `state` is dictionaries and lists, and `config` has no class where that is not
        known; `""` where nothing is missing.
    """

    arm: str
    seed: int
    config: Any
    step: int
    status: str
    experiment: Experiment
    state: State
    changed: tuple[str, ...] = ()
    diff: str = ""
    file: Path | None = None
    missing: str = ""

    @property
    def variables(self) -> Mapping[str, Any]:
        """The model's collections, as Flax's `apply` takes them: `{"params": ..., "batch_stats": ...}`, those
        by which evaluations judge the run.

        Raises:
          ValueError: the state is not one of learning by gradients; take `state` itself.
        """
        if isinstance(self.state, dict):
            return variables_in(self.state)
        state = getattr(self.state, "state", self.state)  # of `fdl.tasks.with_ema` the average
        if not isinstance(state, GradientState):
            raise ValueError(
                f"the state is a {type(state).__name__}, not one of a gradient learner; take .state itself"
            )
        return variables(state)

    def predict(self, inputs: Any) -> Outputs:
        """What the run says of new rows: of classes `label` and `probability`, of quantities `prediction`,
        of texts the next token after each place; see the task.

        The rows are prepared as those of the training were, and go through one compiled program in batches.

        Args:
          inputs: rows as the data set has them before its `prepare`: the array `x` `[N, ...]`, arrays by name
            (`{"x": ..., ...}`; targets may be left out), or `fdl.data.Rows`.

        Returns:
          NumPy arrays `[N, ...]` by name.

        Raises:
          ValueError: the learner predicts nothing, rows unlike those of the training, or a row of which an
            output is not a number.
        """
        compiled = self._compiled
        return in_batches(compiled, self.state, rows_of_inputs(self.experiment, inputs))

    @functools.cached_property
    def _compiled(self) -> Any:
        return jax.jit(says(self.experiment))

    def evaluate(self, split: str) -> dict[str, float]:
        """The metrics of a split of the experiment, as `"test"`, by name; with the run's own keys, so that
        the numbers are those that its training measured at this step, but for rounding on other devices.

        Raises:
          ValueError: the experiment has no such split, or is not here.
        """
        if self.missing:
            raise ValueError(f"to measure {split!r} needs the data: {self.missing}")
        return measured(self.experiment, self.seed, self.state, split)
