"""What `gcloud` is for the tests: the commands and flags that the launcher uses, on a fake cloud."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.tpu import fake_cloud, fake_compute


def describe(folder: Path, kind: str, name: str) -> int:
    """Prints a request or its VMs."""
    with fake_cloud.opened(folder) as state:
        slices = state["slices"]
    number = _number(name) if kind == "tpu-vm" and slices > 1 else 0
    queued, node = fake_cloud.look(folder, number)
    found = queued if kind == "queued-resources" else node
    if found is None:
        print(f"ERROR: (gcloud.compute.tpus.{kind}.describe) NOT_FOUND: no such thing", file=sys.stderr)
        return 1
    if kind == "queued-resources":
        several = {"multisliceParams": {"nodeCount": slices}} if slices > 1 else {"nodeId": name}
        print(json.dumps({"state": {"state": found}, "tpu": {"nodeSpec": [several]}}))
    else:
        each = fake_cloud.WORKERS // slices
        endpoints = [{"ipAddress": f"10.0.0.{number * each + worker}"} for worker in range(each)]
        about = {"state": found, "acceleratorType": f"v4-{8 * each}", "networkEndpoints": endpoints}
        print(json.dumps(about))
    return 0


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def main(folder: Path, words: Sequence[str]) -> int:
    """Does one command; returns its exit code."""
    if words[1] != "tpus":
        return fake_compute.main(folder, words)
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for word in ("tpus", "kind", "verb"):
        parser.add_argument(word)
    parser.add_argument("names", nargs="+")
    for flag in (
        "--zone",
        "--format",
        "--node-id",
        "--accelerator-type",
        "--runtime-version",
        "--command",
        "--valid-until-duration",
        "--metadata",
        "--node-prefix",
        "--metadata-from-file",
    ):
        parser.add_argument(flag)
    parser.add_argument("--worker", type=int)
    parser.add_argument("--node-count", type=int, default=1)
    for flag in ("--ssh-flag", "--scp-flag"):
        parser.add_argument(flag, action="append")
    for flag in ("--quiet", "--async", "--force", "--spot"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args(words[1:])
    if given.verb == "describe":
        return describe(folder, given.kind, given.names[0])
    if given.verb == "create":
        error = fake_cloud.create(folder, given.node_count)
        if error:
            print(f"ERROR: (gcloud.compute.tpus.queued-resources.create) {error}", file=sys.stderr)
        return 1 if error else 0
    if given.verb == "delete":
        fake_cloud.delete(folder)
        return 0
    with fake_cloud.opened(folder) as state:
        slices = state["slices"]
    name, _, to = given.names[-1].partition(":")
    worker = given.worker + (_number(name) * fake_cloud.WORKERS // slices if slices > 1 else 0)
    if given.verb == "scp":
        return fake_cloud.scp(folder, worker, given.names[0], to)
    return fake_cloud.ssh(folder, worker, given.command)
