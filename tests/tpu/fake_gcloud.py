"""What `gcloud` is for the tests: the commands and flags that the launcher uses, on a fake cloud."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.tpu import fake_cloud


def describe(folder: Path, kind: str) -> int:
    """Prints a request or its VMs."""
    queued, node = fake_cloud.look(folder)
    found = queued if kind == "queued-resources" else node
    if found is None:
        print(f"ERROR: (gcloud.compute.tpus.{kind}.describe) NOT_FOUND: no such thing", file=sys.stderr)
        return 1
    if kind == "queued-resources":
        print(json.dumps({"state": {"state": found}}))
    else:
        endpoints = [{"ipAddress": f"10.0.0.{worker}"} for worker in range(fake_cloud.WORKERS)]
        print(json.dumps({"state": found, "acceleratorType": "v4-16", "networkEndpoints": endpoints}))
    return 0


def main(folder: Path, words: Sequence[str]) -> int:
    """Does one command; returns its exit code."""
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
        "--metadata-from-file",
    ):
        parser.add_argument(flag)
    parser.add_argument("--worker", type=int)
    for flag in ("--ssh-flag", "--scp-flag"):
        parser.add_argument(flag, action="append")
    for flag in ("--quiet", "--async", "--force", "--spot"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args(words[1:])
    if given.verb == "describe":
        return describe(folder, given.kind)
    if given.verb == "create":
        error = fake_cloud.create(folder)
        if error:
            print(f"ERROR: (gcloud.compute.tpus.queued-resources.create) {error}", file=sys.stderr)
        return 1 if error else 0
    if given.verb == "delete":
        fake_cloud.delete(folder)
        return 0
    if given.verb == "scp":
        file, target = given.names
        return fake_cloud.scp(folder, given.worker, file, target.partition(":")[2])
    return fake_cloud.ssh(folder, given.worker, given.command)
