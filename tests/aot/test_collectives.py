"""Collectives read from compiled programs: real ones for eight CPU devices, and forms of TPUs and GPUs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fdl.aot.collectives import Collective, Collectives, collectives_of


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The texts of programs compiled for more devices than this process has."""
    path = tmp_path_factory.mktemp("collectives") / "texts.json"
    driver = Path(__file__).with_name("collectives_driver.py")
    subprocess.run([sys.executable, str(driver), str(path)], check=True, timeout=120)
    return json.loads(path.read_text(encoding="utf-8"))


# An array of 64 x 32 float32, 8192 bytes, over a mesh of data=2, fsdp=4.
EXPECTED = {
    "all-reduce": ("all-reduce", 1, 32 * 8 * 4, 2 * 3 / 4),
    "all-reduce over both": ("all-reduce", 1, 8 * 32 * 4, 2 * 7 / 8),
    "all-reduce of two": ("all-reduce", 1, 32 * 32 * 4 + 32 * 4, 2 * 3 / 4),
    "all-gather": ("all-gather", 1, 8192, 3 / 4),
    "reduce-scatter": ("reduce-scatter", 1, 4096, 3 / 4),
    "all-to-all": ("all-to-all", 1, 2048, 3 / 4),
    "collective-permute": ("collective-permute", 1, 4096, 1),
    "loop": ("all-reduce", 7, 7 * 4096, 2 * 3 / 4),
    "loop in a loop": ("all-reduce", 21, 21 * 4096, 2 * 3 / 4),
    "conditional": ("all-reduce", 1, 4096, 2 * 3 / 4),
    "pmap": ("all-reduce", 1, 8 * 32 * 4, 2 * 7 / 8),
    "gradient": ("all-reduce", 1, 32 * 5 * 4, 2 * 7 / 8),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_collectives_of_compiled_programs(texts, name):
    kind, count, size, share = EXPECTED[name]
    assert collectives_of(texts[name]) == Collectives((Collective(kind, False, count, size, size * share),))


def test_a_program_without_collectives(texts):
    assert collectives_of(texts["nothing"]) == Collectives()


def test_a_loop_whose_trips_are_unknown_counts_once_and_is_said(texts):
    found = collectives_of(texts["loop without end"])
    assert found.each == (Collective("all-reduce", False, 1, 4096, 6144),)
    assert found.uncounted


def program(*lines: str, before: str = "", devices: int = 8) -> str:
    body = "\n".join(f"  {line}" for line in lines)
    head = f"HloModule jit_step, is_scheduled=true, num_partitions={devices}\n\n"
    return (
        f"{head}{before}\nENTRY %main (p: f32[4]) -> f32[4] {{\n  %p = f32[4]{{0}} parameter(0)\n{body}\n}}\n"
    )


LINES = {
    "start and done": (
        (
            "%s = f32[64,8]{1,0:T(8,128)} all-reduce-start(%p), replica_groups=[2,4]<=[8], to_apply=%a",
            "ROOT %d = f32[64,8]{1,0:T(8,128)} all-reduce-done(%s)",
        ),
        Collective("all-reduce", False, 1, 2048, 3072),
    ),
    "start of a gather": (
        ("%s = (f32[4]{0}, f32[32]{0:T(256)S(1)}) all-gather-start(%p), replica_groups=[1,8]<=[8]",),
        Collective("all-gather", False, 1, 128, 112),
    ),
    "start of a permute": (
        (
            "%s = (bf16[4,8]{1,0}, bf16[4,8]{1,0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%p), "
            "source_target_pairs={{0,1},{1,0}}",
        ),
        Collective("collective-permute", False, 1, 64, 64),
    ),
    "groups by the shape of all": (
        ("%s = s8[64]{0} all-reduce(%p), replica_groups=[2,4]<=[4,2]T(1,0), to_apply=%a",),
        Collective("all-reduce", False, 1, 64, 96),
    ),
    "groups by a mesh": (
        (
            "%s = f32[64]{0} all-gather(%p), replica_groups=mesh['axis_0'=2,'axis_1'=4], "
            "device_ids=([4,2]T(1,0)) {'axis_1'}, dimensions={0}",
        ),
        Collective("all-gather", False, 1, 256, 192),
    ),
    "groups by part of an axis": (
        (
            "%s = f32[64]{0} all-gather(%p), replica_groups=mesh['axis_0'=2,'axis_1'=4] "
            "{'axis_0','axis_1':(1)2}, dimensions={0}",
        ),
        Collective("all-gather", False, 1, 256, 192),
    ),
    "all devices": (
        ("%s = pred[64]{0} all-reduce(%p), replica_groups={}, to_apply=%a",),
        Collective("all-reduce", False, 1, 64, 112),
    ),
    "between slices": (
        (
            "%s = (f32[64]{0}, u32[], token[]) send(%p, %t), channel_id=8, is_host_transfer=true, "
            "frontend_attributes={_xla_megascale_target={{100000,200000},{100001,200001}},"
            '_xla_megascale_transfer_type="ALL_GATHER"}',
            "%d = token[] send-done(%s), channel_id=8, is_host_transfer=true, "
            'frontend_attributes={_xla_megascale_transfer_type="ALL_GATHER"}',
        ),
        Collective("all-gather", True, 1, 512, 256),
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_forms_of_other_platforms(name):
    lines, expected = LINES[name]
    assert collectives_of(program(*lines)) == Collectives((expected,))


def test_groups_of_one_device_send_nothing():
    line = "%s = f32[64]{0} all-reduce(%p), replica_groups={{0},{1}}, to_apply=%a"
    assert collectives_of(program(line, devices=2)) == Collectives()


def test_a_fused_all_reduce_of_which_each_keeps_a_part_is_a_reduce_scatter():
    fused = (
        "%all-reduce-scatter.1 (q: f32[64]) -> f32[32] {\n  %q = f32[64]{0} parameter(0)\n"
        "  %r = f32[64]{0} all-reduce(%q), replica_groups={{0,1}}, to_apply=%a\n}\n"
    )
    call = "ROOT %f = f32[32]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1"
    found = collectives_of(program(call, before=fused))
    assert found == Collectives((Collective("reduce-scatter", False, 1, 256, 128),))


def fused(name: str, root: str, *, channel: int) -> str:
    gather = f"all-gather(%q), channel_id={channel}, replica_groups={{{{0,1}}}}, dimensions={{0}}"
    return (
        f"%{name} (q: f32[4]) -> f32[8] {{\n  %q = f32[4]{{0}} parameter(0)\n"
        f"  %g.{name} = f32[8]{{0}} {gather}\n  ROOT %r.{name} = f32[8]{{0}} {root}\n}}\n\n"
    )


def test_a_gather_that_other_fusions_go_on_with_counts_once():
    before = (
        fused("begins", 'custom-call(%g.begins), custom_call_target="AsyncCollectiveStart"', channel=7)
        + fused("beside", "add(%q, %q)", channel=7)
        + fused("ends", 'custom-call(%g.ends), custom_call_target="AsyncCollectiveDone"', channel=7)
        + fused("another", "add(%q, %q)", channel=8)
    )
    calls = [
        f"%f.{name} = f32[8]{{0}} fusion(%p), kind=kCustom, calls=%{name}"
        for name in ("begins", "beside", "ends", "another")
    ]
    found = collectives_of(program(*calls, before=before))
    assert found == Collectives((Collective("all-gather", False, 2, 64, 32),))


def test_of_branches_the_one_that_sends_most_counts():
    branches = "".join(
        f"%branch.{n} (q: f32[{n}]) -> f32[{n}] {{\n"
        f"  ROOT %r.{n} = f32[{n}]{{0}} all-reduce(%q), replica_groups={{{{0,1}}}}, to_apply=%a\n}}\n\n"
        for n in (8, 16)
    )
    call = "%c = f32[8]{0} conditional(%i, %p, %p), branch_computations={%branch.8, %branch.16}"
    found = collectives_of(program(call, call, before=branches))
    assert found == Collectives((Collective("all-reduce", False, 2, 128, 128),))


def loop(begin: str, end: str, step: str) -> str:
    """A program with a loop of which the compiler does not say how often it runs, as on TPUs."""
    state = "(s32[], f32[8])"
    before = (
        f"%body (q: {state}) -> {state} {{\n  %q = (s32[]{{:T(128)}}, f32[8]{{0}}) parameter(0)\n"
        "  %i = s32[]{:T(128)} get-tuple-element(%q), index=0\n  %j = s32[]{:T(128)} copy(%i)\n"
        "  %x = f32[8]{0} get-tuple-element(%q), index=1\n"
        f"  %by = s32[]{{:T(128)}} {step}\n  %next = s32[]{{:T(128)}} add(%j, %by)\n"
        "  %y = f32[8]{0} all-reduce(%x), replica_groups={{0,1}}, to_apply=%a\n"
        "  ROOT %t = (s32[], f32[8]{0}) tuple(%next, /*index=1*/%y)\n}\n\n"
        f"%test (q: {state}) -> pred[] {{\n  %q = (s32[]{{:T(128)}}, f32[8]{{0}}) parameter(0)\n"
        f"  %i = s32[]{{:T(128)}} get-tuple-element(%q), index=0\n  %end = s32[]{{:T(128)}} {end}\n"
        "  ROOT %less = pred[] compare(%i, %end), direction=LT\n}\n"
    )
    return program(
        f"%zero = s32[]{{:T(128)}} {begin}",
        "%begin = s32[]{:T(128)} copy(%zero)",
        "%state = (s32[], f32[8]{0}) tuple(%begin, %p)",
        "%w = (s32[], f32[8]{0}) while(%state), condition=%test, body=%body",
        before=before,
    )


@pytest.mark.parametrize(
    ("begin", "end", "step", "count", "uncounted"),
    [
        ("constant(0)", "constant(4)", "constant(1)", 4, False),
        ("constant(2)", "constant(9)", "constant(3)", 3, False),
        ("parameter(1)", "constant(4)", "constant(1)", 1, True),
        ("constant(0)", "parameter(1)", "constant(1)", 1, True),
        ("constant(0)", "constant(4)", "parameter(1)", 1, True),
    ],
)
def test_a_loop_is_counted_from_its_counter(begin, end, step, count, uncounted):
    each = (Collective("all-reduce", False, count, 32 * count, 32 * count),)
    assert collectives_of(loop(begin, end, step)) == Collectives(each, uncounted)
