"""Twins: runs of other configs that are one program with the same inputs, and so give the same numbers.

A field that nothing reads, or a flag that another overrides, makes an arm with the rows of another.
Equal are, of two runs: the program as it is traced and lowered, with every constant; the values of the traced
fields that it reads, as float32; the seed; the data; and what is read on the host. Where any of it cannot be
told, they are not called twins.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fdl import rng
from fdl.identity import inputs_read, meaning, program_digest, told_whole
from fdl.serialization import digest
from fdl.sweeps.programs import structure_of
from fdl.sweeps.space import Trial
from fdl.sweeps.units import Group, Run
from fdl.train.check import built
from fdl.train.run import Member, advance_once, arrays_of, evaluate, experiment_of, init, sources_of


class _Program(NamedTuple):
    """A group's program, traced.

    Attributes:
      traced: its start, a step, an evaluation and what is shown of it, side by side: no part is left out as
        another does not need it.
      form: the shapes and names of its inputs and results: those of others are other programs.
      read: the places and names of the traced fields that reach a result.
    """

    traced: Any
    form: str
    read: Mapping[int, str]


def run_of(trial: Trial) -> Run:
    """The run that a trial is, whatever its arm is called."""
    return trial.config, trial.seed


def twins_in(
    groups: Sequence[Group],
    prefer: Callable[[Trial], bool] = lambda _: False,
    traced: dict[Any, Any] | None = None,
) -> dict[Run, Trial]:
    """The trial whose numbers a run has, of every run that need not be trained as another is.

    A group is traced only where its configs differ in traced fields, or where another group looks like it;
    nothing is compiled.

    Args:
      groups: of one sweep.
      prefer: which of several equal trials are trained in any case; of the others the first is, if none of
        those is there.
      traced: what earlier calls traced for groups of the same experiment, by structure; takes more.
    """
    looks, traced = [_look(group) for group in groups], {} if traced is None else traced
    programs = {
        number: program
        for number, group in enumerate(groups)
        if (looks.count(looks[number]) > 1 or _varies(group)) and (program := _known(group, traced))
    }
    classes: dict[Any, list[Trial]] = {}
    for number, name in _named(groups, looks, programs).items():
        for trial in groups[number].trials:
            classes.setdefault((name, _inputs(trial.config, programs[number]), trial.seed), []).append(trial)
    members = {run_of(trial): group for group in groups for trial in group.trials}
    found: dict[Run, Trial] = {}
    host: dict[Any, str | None] = {}
    for equal in classes.values():
        for same in _by_host(equal, members, host) if len(equal) > 1 else ():
            kept = [trial for trial in same if prefer(trial)] or same[:1]
            found |= {run_of(trial): kept[0] for trial in same if trial not in kept}
    return found


def _look(group: Group) -> Any:
    """What is known of a group's program without tracing it: unlike looks are of unlike programs."""
    experiment, lowered = group.experiment, group.identity.get("structure", {}).get("lowered", {})
    sources = {name: (one.batches, one.fetch is None) for name, one in sources_of(experiment).items()}
    rest = experiment.steps, experiment.evaluate_every, experiment.log_every, experiment.best
    state = jax.eval_shape(experiment.learner.init, jax.random.key(0))  # of the trace by which it was checked
    return repr((lowered.get("digest"), state, sorted(sources.items()), rest, experiment.learner.required))


def _varies(group: Group) -> bool:
    """Whether its configs have several values of a traced field."""
    return len({trial.config for trial in group.trials}) > 1


def _known(group: Group, traced: dict[Any, Any]) -> _Program | None:
    if (kind := structure_of(group)) not in traced:
        traced[kind] = _program(group)
    return traced[kind]


def _program(group: Group) -> _Program | None:
    """A group's program; None where its text does not tell all of it."""
    config = group.trials[0].config
    fields, structure = jax.tree_util.tree_flatten_with_path(config)
    values = [jax.ShapeDtypeStruct((), jnp.float32)] * len(fields)
    arrays, key = jax.tree.map(_shape, arrays_of(group.experiment)), jax.random.key(0)

    def start(key: jax.Array) -> Any:
        return init(lambda _: group.experiment, Member((), key, jnp.bool_(True)))

    def whole(values: Any, key: jax.Array, arrays: Any, carry: Any) -> Any:
        run = Member(jax.tree.unflatten(structure, values), key, jnp.bool_(True))
        experiment = experiment_of(group.build, run)
        build, inspect = (lambda _: experiment), experiment.inspect
        shown = inspect and inspect(carry.state, rng.stream(key, "inspect"))
        stepped = advance_once(build, run, arrays, carry)
        return init(build, run), stepped, evaluate(build, run, arrays, carry), shown

    carry = jax.eval_shape(start, key)
    traced = jax.jit(whole).trace(values, key, arrays, carry)
    if not told_whole(traced.jaxpr):
        return None
    read = inputs_read(traced.jaxpr)
    form = f"{traced.jaxpr.in_avals} {traced.out_info} {jax.tree.structure(traced.out_info)}"
    names = (jax.tree_util.keystr(path) for path, _ in fields)
    return _Program(traced, form, {place: name for place, name in enumerate(names) if read[place]})


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(array), jax.dtypes.canonicalize_dtype(jnp.result_type(array)))


def _named(groups: Sequence[Group], looks: Sequence[Any], programs: Mapping[int, _Program]) -> dict[int, Any]:
    """A name of each program, the same for those that are the same; lowered are only those of one form."""
    forms = {number: (looks[number], one.form, *one.read.values()) for number, one in programs.items()}
    count = Counter(forms.values())
    return {
        number: (form, program_digest(programs[number].traced)) if count[form] > 1 else number
        for number, form in forms.items()
    }


def _inputs(config: Any, program: _Program) -> tuple[Any, ...]:
    """The traced fields that reach a result, by name, with their values as the program gets them."""
    values = jax.tree.leaves(config)
    return tuple((name, np.float32(values[place]).tobytes()) for place, name in program.read.items())


def _by_host(
    trials: Sequence[Trial], groups: Mapping[Run, Group], known: dict[Any, str | None]
) -> list[list[Trial]]:
    """Trials of one program by what it is given: the data, and what is read on the host."""
    hosted = any(source.fetch for source in sources_of(groups[run_of(trials[0])].experiment).values())
    if not hosted and len({id(groups[run_of(trial)]) for trial in trials}) == 1:
        return [list(trials)]  # the very arrays
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        group = groups[run_of(trial)]
        key = (id(group), trial.config if hosted else None)
        if key not in known:
            known[key] = _given(built(group.build, trial.config) if hosted else group.experiment)
        if (words := known[key]) is not None:
            found.setdefault(words, []).append(trial)
    return [same for same in found.values() if len(same) > 1]


def _given(experiment: Any) -> str | None:
    """Words for all that an experiment's program is given; None where some of it cannot be described."""
    told = {
        split: {"arrays": one.arrays, "fetch": one.fetch, "identity": one.identity}
        for split, one in sources_of(experiment).items()
    }
    found = meaning(told, whole=True)
    code = {name: one["digest"] for name, one in found.code.items()}
    return None if found.unseen else digest([code, found.values])
