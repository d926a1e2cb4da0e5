"""What tests of sweeps share."""

from collections.abc import Iterator
from typing import Any

import jax
import pytest

from fdl.train import autotune


@pytest.fixture(scope="module")
def one_program() -> Iterator[None]:
    """In a file whose sweeps are all of one experiment and differ in what lies on the disk, each program is
    compiled once."""
    real, programs = autotune.compile_program, {}

    def once(build: Any, members: Any, arrays: Any, plan: Any) -> Any:
        key = plan, jax.tree.structure(members)  # which has the config's static fields
        if key not in programs:
            programs[key] = real(build, members, arrays, plan)
        return programs[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autotune, "compile_program", once)
        yield


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The plans of the populations that are compiled, in order."""
    done, real = [], autotune.compile_program

    def counting(build: Any, members: Any, arrays: Any, plan: Any) -> Any:
        done.append(plan)
        return real(build, members, arrays, plan)

    monkeypatch.setattr(autotune, "compile_program", counting)
    return done
