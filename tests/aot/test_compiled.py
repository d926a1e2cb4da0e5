"""What compiled programs say of their memory, and compilers of programs that do not fit."""

import jax
import jax.numpy as jnp
import pytest

from fdl.aot.compiled import Refusal, refusal_of, report_of


def test_memory_of_a_program_that_reuses_its_argument():
    step = lambda state, batch: (state + 1, batch.sum())  # noqa: E731
    arguments = jax.ShapeDtypeStruct((256, 4), jnp.float32), jax.ShapeDtypeStruct((64,), jnp.float32)
    kept, reused = (
        report_of(jax.jit(step, donate_argnums=given).lower(*arguments).compile()) for given in ((), (0,))
    )
    assert kept.memory.arguments == reused.memory.arguments == 4096 + 256
    assert (kept.memory.donated, reused.memory.donated) == (0, 4096)
    assert kept.memory.outputs >= 4096 + 4
    assert kept.memory.held - reused.memory.held == 4096
    assert not kept.collectives.each


def test_temporaries_are_between():
    program = jax.jit(lambda x: jnp.sort(jnp.sin(x), axis=0) @ x)
    memory = report_of(program.lower(jax.ShapeDtypeStruct((128, 128), jnp.float32)).compile()).memory
    assert memory.temporaries >= 128 * 128 * 4
    assert memory.held >= memory.arguments + memory.temporaries
    assert 0 < memory.peak <= memory.held


@pytest.mark.parametrize(
    ("message", "needed", "available"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
            "(28.30G) exceeds available HBM (15.75G).",
            28.30 * 2**30,
            15.75 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
            "Used 21.06G of 15.48G hbm. Exceeded hbm capacity by 5.58G.",
            21.06 * 2**30,
            15.48 * 2**30,
        ),
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
            "(1.2T) exceeds available HBM (512.5M).",
            1.2 * 2**40,
            512.5 * 2**20,
        ),
        (  # libtpu 0.0.41, of one array
            "RESOURCE_EXHAUSTED: Allocation (size=52705624064) would exceed memory (size=17179869184) :: "
            "%s6 = inlined_call_operand.hbm [shape: f32[256,1024,50257], index: 6, kind: output]",
            52705624064,
            17179869184,
        ),
    ],
)
def test_a_refusal_says_how_much_is_needed(message, needed, available):
    assert refusal_of(RuntimeError(message)) == Refusal(round(needed), round(available))


@pytest.mark.parametrize(
    "message", ["INVALID_ARGUMENT: no such option", "RESOURCE_EXHAUSTED: Ran out of memory in vmem"]
)
def test_other_errors_are_no_refusals(message):
    assert refusal_of(RuntimeError(message)) is None
