"""Argument lists: every word in its place, and nothing of the user's ever read by a shell."""

import shlex
import subprocess

import pytest

from tpu import gcloud
from tpu.gcloud import Place, Request

PLACE = Place("sweep-1", "us-east5-b", "my-project")
WHERE = ["--zone=us-east5-b", "--project=my-project"]
NASTY = [
    "a b",
    "it's",
    'say "no"',
    "x; touch INJECTED",
    "$(touch INJECTED)",
    "`touch INJECTED`",
    "&& |",
    "*",
    "",
    "\n",
]


@pytest.mark.parametrize(
    ("request_", "image", "pricing"),
    [
        (Request("v5litepod-16", "spot"), "v2-alpha-tpuv5-lite", ["--spot"]),
        (Request("v6e-8", "reserved"), "v2-alpha-tpuv6e", ["--reserved"]),
        (Request("v5p-32"), "v2-alpha-tpuv5", []),
        (Request("v4-8"), "tpu-ubuntu2204-base", []),
        (Request("v4-8", "on-demand", "my-image", 1800, 7200), "my-image", []),
    ],
)
def test_create(request_, image, pricing):
    assert gcloud.create(PLACE, request_) == [
        "gcloud", "compute", "tpus", "queued-resources", "create", "sweep-1", "--node-id=sweep-1",
        f"--accelerator-type={request_.accelerator}", f"--runtime-version={image}", *pricing,
        f"--valid-until-duration={request_.queue}s",
        f"--metadata=fdl-name=sweep-1,fdl-zone=us-east5-b,fdl-lifetime={request_.lifetime},fdl-project=my-project",
        f"--metadata-from-file=startup-script={gcloud.SCRIPT}", "--async", *WHERE, "--quiet",
    ]  # fmt: skip


def test_several_slices():
    created = gcloud.create(PLACE, Request("v6e-16", slices=3))
    assert created[6:8] == ["--node-count=3", "--node-prefix=sweep-1"] and "--node-id=sweep-1" not in created
    place = PLACE._replace(slices=3, hosts=4)
    assert gcloud.describe_node(place, 2)[5] == "sweep-1-2"
    assert gcloud.describe_queued(place)[5] == gcloud.delete(place)[5] == "sweep-1"
    for worker, node, inside in (
        (0, "sweep-1-0", 0),
        (3, "sweep-1-0", 3),
        (4, "sweep-1-1", 0),
        (11, "sweep-1-2", 3),
    ):
        assert gcloud.ssh(place, worker, words=["true"])[5:7] == [node, f"--worker={inside}"]
        assert gcloud.scp(place, worker, files=["a"], to="b")[6:8] == [f"{node}:b", f"--worker={inside}"]
    with pytest.raises(ValueError, match="--slices is 0; expected 1 to 256"):
        gcloud.checked_request(Request("v6e-16", slices=0))


def test_describe_and_delete():
    tpus = ["gcloud", "compute", "tpus"]
    assert gcloud.describe_queued(PLACE) == [
        *tpus, "queued-resources", "describe", "sweep-1", *WHERE, "--format=json"
    ]  # fmt: skip
    assert gcloud.describe_node(Place("sweep-1", "us-east5-b")) == [
        *tpus, "tpu-vm", "describe", "sweep-1", "--zone=us-east5-b", "--format=json"
    ]  # fmt: skip
    assert gcloud.delete(PLACE) == [
        *tpus, "queued-resources", "delete", "sweep-1", "--force", "--async", *WHERE, "--quiet"
    ]  # fmt: skip


def test_ssh_and_scp():
    words = gcloud.ssh(PLACE, 3, words=["bash", "x y"])
    assert words[:8] == [
        "gcloud", "compute", "tpus", "tpu-vm", "ssh", "sweep-1", "--worker=3", "--command=bash 'x y'"
    ]  # fmt: skip
    assert "--ssh-flag=-oConnectTimeout=10" in words and words[-3:] == [*WHERE, "--quiet"]
    words = gcloud.scp(PLACE, 0, files=["/a/b c"], to="d")
    assert words[3:8] == ["tpu-vm", "scp", "/a/b c", "sweep-1:d", "--worker=0"]
    assert "--scp-flag=-oConnectTimeout=10" in words and words[-3:] == [*WHERE, "--quiet"]


def test_the_users_words_come_out_of_a_shell_as_they_went_in(tmp_path):
    show = ["python3", "-c", "import sys; print(sys.argv[1:])", *NASTY]
    (command,) = [w for w in gcloud.ssh(PLACE, 0, words=show) if w.startswith("--command=")]
    for shell in ("sh", "bash"):
        shown = subprocess.run(
            [shell, "-c", command.removeprefix("--command=")], cwd=tmp_path, capture_output=True, text=True
        )
        assert shown.stdout == f"{NASTY}\n", shown.stderr
    assert not list(tmp_path.iterdir())
    assert shlex.split(command.partition("=")[2]) == show


@pytest.mark.parametrize(
    ("name", "zone", "project", "flag"),
    [
        ("Sweep", "us-east5-b", None, "NAME"),
        ("a;b", "us-east5-b", None, "NAME"),
        ("-a", "us-east5-b", None, "NAME"),
        ("a\n", "us-east5-b", None, "NAME"),
        ("a", "us-east5", None, "--zone"),
        ("a", "us-east5-b,", None, "--zone"),
        ("a", "us-east5-b,us-east5-b", None, "--zone"),
        ("a", "us-east5-b --project=x", None, "--zone"),
        ("a", "us-east5-b", "My Project", "--project"),
    ],
)
def test_names_that_google_cloud_refuses(name, zone, project, flag):
    with pytest.raises(ValueError, match=f"^{flag} is .*; expected"):
        gcloud.checked_places(name, zone, project)
    places = gcloud.checked_places("a", "us-central1-ai1a,us-east5-b", "example.com:p-1")
    assert [place.zone for place in places] == ["us-central1-ai1a", "us-east5-b"]
