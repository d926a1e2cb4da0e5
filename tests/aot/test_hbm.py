"""Bytes that a compiled program moves: of a text as XLA writes it, and of programs that are compiled here."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fdl.aot.hbm import hbm_bytes

STEPS = """HloModule jit_steps, is_scheduled=true

%fused_slice (p0: f32[16,256], p1: s32[]) -> f32[1,256] {
  %p0 = f32[16,256]{1,0:T(8,128)} parameter(0)
  %p1 = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %cut = f32[1,256]{1,0:T(8,128)} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,256}
}

%fused_update (q0: f32[16,256], q1: f32[1,256], q2: s32[]) -> f32[16,256] {
  %q0 = f32[16,256]{1,0:T(8,128)} parameter(0)
  %q1 = f32[1,256]{1,0:T(8,128)S(1)} parameter(1)
  %q2 = s32[]{:T(128)} parameter(2)
  %zero.1 = s32[]{:T(128)} constant(0)
  ROOT %put = f32[16,256]{1,0:T(8,128)} dynamic-update-slice(%q0, %q1, %q2, %zero.1)
}

%body (c: (s32[], f32[16,256])) -> (s32[], f32[16,256]) {
  %c = (s32[]{:T(128)}, f32[16,256]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%c), index=0
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i, %one)
  %buffer = f32[16,256]{1,0:T(8,128)} get-tuple-element(%c), index=1
  %row = f32[1,256]{1,0:T(8,128)S(1)} fusion(%buffer, %i), kind=kLoop, calls=%fused_slice
  %new = f32[16,256]{1,0:T(8,128)} fusion(%buffer, %row, %i), kind=kLoop, calls=%fused_update
  ROOT %out = (s32[]{:T(128)}, f32[16,256]{1,0:T(8,128)}) tuple(%next, %new)
}

%test (d: (s32[], f32[16,256])) -> pred[] {
  %d = (s32[]{:T(128)}, f32[16,256]{1,0:T(8,128)}) parameter(0)
  %j = s32[]{:T(128)} get-tuple-element(%d), index=0
  %end = s32[]{:T(128)} constant(10)
  ROOT %less = pred[]{:T(512)} compare(%j, %end), direction=LT
}

ENTRY %main (a: f32[16,256]) -> f32[16,256] {
  %a = f32[16,256]{1,0:T(8,128)} parameter(0)
  %start = (f32[16,256]{1,0:T(8,128)S(1)}, f32[16,256]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%a)
  %done = f32[16,256]{1,0:T(8,128)S(1)} copy-done(%start)
  %copied = f32[16,256]{1,0:T(8,128)} copy(%done)
  %first = s32[]{:T(128)} constant(0)
  %carry = (s32[]{:T(128)}, f32[16,256]{1,0:T(8,128)}) tuple(%first, %copied)
  %loop = (s32[]{:T(128)}, f32[16,256]{1,0:T(8,128)}) while(%carry), condition=%test, body=%body
  ROOT %result = f32[16,256]{1,0:T(8,128)} get-tuple-element(%loop), index=1
}
"""
ROW, WHOLE = 4 * 256, 4 * 16 * 256
NUMBERS = 4 * 5 + 4 * 2 + 1
"""Of a trip's whole numbers: `next` reads two and writes one, the fusions read one each; the test reads two
and writes a byte."""


def text_of(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> str:
    return jax.jit(function).lower(x).compile().as_text() or ""


def test_slices_and_updates_in_place_count_as_what_they_move_and_the_chips_own_memory_not_at_all():
    # The copy is read into the chip's memory and written from it; a trip reads a row and writes one.
    assert hbm_bytes(STEPS) == 2 * WHOLE + 10 * (2 * ROW + NUMBERS)


def test_of_steps_that_are_taken_until_told_to_end_those_of_one_count():
    moving = STEPS.replace("%end = s32[]{:T(128)} constant(10)", "%end = s32[]{:T(128)} negate(%j)")
    assert moving != STEPS
    assert hbm_bytes(moving) == 2 * ROW + NUMBERS + 8  # `negate` reads one and writes one


def test_a_compiled_loop_counts_as_often_as_it_runs():
    x = jnp.asarray(np.random.default_rng(0).normal(size=10_000), jnp.float32)

    def repeated(x: jax.Array, times: int) -> jax.Array:
        return jax.lax.scan(lambda x, _: (jnp.sort(x), None), x, None, length=times)[0]

    few, more, most = (hbm_bytes(text_of(functools.partial(repeated, times=n), x)) for n in (7, 14, 21))
    # A trip reads and writes the array, and copies it, as it is not sorted in place.
    assert 7 * 80_000 <= most - more == more - few <= 7 * 161_000


def test_what_is_fused_moves_once():
    x = jnp.zeros(100_000)
    assert hbm_bytes(text_of(lambda x: jnp.tanh(x * 2 + 1) ** 2, x)) == 2 * 400_000
