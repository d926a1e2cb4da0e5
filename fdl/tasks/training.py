"""What every task is told about its run: one set of options, and the experiment that reads it."""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, Required, TypedDict, Unpack

from fdl.arguments import Count, checked
from fdl.counts import check_counts
from fdl.data import Augmentation, Splits, sources
from fdl.data.splits import inputs_of
from fdl.experiment import Best, Experiment, Learner, Source, Stopper
from fdl.tasks.accumulation import check_accumulate
from fdl.tasks.checks import check_argument
from fdl.tasks.columns import checked_columns
from fdl.text import hint

P = ParamSpec("P")


class Training(TypedDict, total=False):
    """How long a run is and what ends it, in every task alike.

    Attributes:
      steps: updates in a run; the only one that has no default.
      evaluate_every: steps between evaluations; a tenth of the run if None, as by default.
      stop: early stopping, as `fdl.train.early_stopping(...)`; None, the default, is none.
      best: which state is the run's result, as `fdl.Best("validation/loss", "lower")`; that of `stop`, or the
        last, if None, as by default.
      log_every: steps over which the step metrics are kept as means beside the evaluations; not at all if
        None, as by default.
    """

    steps: Required[int]
    evaluate_every: int | None
    stop: Stopper | None
    best: Best | None
    log_every: int | None


class BatchTraining(Training, total=False):
    """`Training`, and how many rows a step sees.

    Attributes:
      batch_size: rows in a training batch; 64 by default.
    """

    batch_size: int


@checked
def experiment_over(
    learner: Learner,
    splits: Splits,
    *,
    steps: Count,
    batch_size: Count = 64,
    evaluate_every: Count | None = None,
    stop: Stopper | None = None,
    best: Best | None = None,
    log_every: Count | None = None,
    augment: Augmentation | None = None,
    accumulate: Count = 1,
    columns: Sequence[str] = ("x", "y"),
) -> Experiment:
    """Trains a learner on a data set's first part and evaluates it on the others.

    Args:
      learner: what learns.
      splits: the data set.
      steps: see `BatchTraining`, as for the five after it.
      batch_size: see there.
      evaluate_every: see there.
      stop: see there.
      best: see there.
      log_every: see there.
      augment: what is done to every training batch, or None.
      accumulate: micro-batches in which the learner passes a batch.
      columns: those that the learner reads; others are an error or said, see `checked_columns`.

    Raises:
      ValueError: a count below 1, batches that do not divide into the micro-batches, or weights of rows that
        the learner does not read.

    Example:
      >>> import numpy as np, optax
      >>> from fdl import data, models, tasks
      >>> rows = {"x": np.zeros((8, 2), np.float32), "y": np.zeros(8, np.int32)}
      >>> splits = data.Splits(rows, rows, rows)
      >>> learner = tasks.classification_learner(models.MLP((), 2), splits, optax.sgd(0.1))
      >>> tasks.experiment_over(tasks.with_ema(learner, decay=0.9), splits, steps=20).evaluate_every
      2
    """
    check_accumulate(batch_size, accumulate)
    splits = checked_columns(splits, columns, augment)
    train, evaluation = sources(splits, batch_size=batch_size, augment=augment)
    options: Training = {
        "steps": steps,
        "evaluate_every": evaluate_every,
        "stop": stop,
        "best": best,
        "log_every": log_every,
    }
    made = experiment_from(learner, train, evaluation, **options)
    return made._replace(inputs=inputs_of(splits))


def experiment_from(
    learner: Learner, train: Source, evaluation: Mapping[str, Source], **training: Unpack[Training]
) -> Experiment:
    """Trains a learner on a source's batches and evaluates it on others.

    Args:
      learner: what learns.
      train: what each step reads.
      evaluation: sources by split name.
      **training: `steps` and others, see `Training`.

    Raises:
      ValueError: a count below 1.
    """
    steps, every = training["steps"], training.get("evaluate_every")
    check_counts(steps=steps)
    every = max(1, steps // 10) if every is None else every
    check_counts(evaluate_every=every)
    stop, best, log_every = training.get("stop"), training.get("best"), training.get("log_every")
    if log_every is not None:
        check_counts(log_every=log_every)
    return Experiment(learner, train, evaluation, steps, every, stop, best, log_every)


def task(function: Callable[P, Experiment]) -> Callable[P, Experiment]:
    """The same function, whose arguments are checked by name and kind before anything else is looked at.

    `inspect.signature`, and so `help` and the completion of notebooks, shows each option as a parameter.

    Raises:
      TypeError: (the function returned) an option that the task has not, or none of those it needs.
      ValueError: (the function returned) see `check_argument`.
    """
    own = inspect.signature(function)
    *parameters, rest = own.parameters.values()
    options = typing.get_args(rest.annotation)[0]
    defaults = inspect.signature(experiment_over).parameters
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults[name].default,
            annotation=defaults[name].annotation,
        )
        for name in typing.get_type_hints(options)
    ]
    whole = own.replace(parameters=parameters)
    names = list(whole.parameters)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Experiment:
        for name in kwargs:
            if name not in names:
                raise TypeError(f"{function.__name__}() has no option {name!r}: {hint(name, names)}")
        for name in sorted(options.__required_keys__ - kwargs.keys()):
            raise TypeError(f"{function.__name__}() lacks the option {name!r}; expected {name}=...")
        for name, value in whole.bind(*args, **kwargs).arguments.items():
            check_argument(name, value, whole.parameters[name].annotation)
        return function(*args, **kwargs)

    vars(call)["__signature__"] = whole
    return call
