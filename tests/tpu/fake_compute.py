"""Compute Engine's part of the tests' `gcloud`: a group, its template and its policy, on a fake cloud."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.tpu import fake_cloud

STATUSES = {"WAITING_FOR_RESOURCES": "PENDING", "PROVISIONING": "STAGING", "ACTIVE": "RUNNING"}
"""What a VM says while the fake cloud's request says so; of one that was taken away, TERMINATED."""


def main(folder: Path, words: Sequence[str]) -> int:
    """Does one command; returns its exit code."""
    given = [word[2:].partition("=") for word in words if word.startswith("--")]
    flags = {name: value for name, _, value in given}
    if words[1] in ("ssh", "scp"):
        return _reach(folder, words, flags)
    verb, name = words[3:5] if words[1] == "instance-groups" else (words[2], words[-1])
    if words[1] != "instance-groups":
        name = next(word for word in words[3:] if not word.startswith("--") and word != "workload-policy")
        return _of_region(folder, words[1], verb, name)
    there = _there(folder)
    if verb == "create":
        for flag in ("template", "workload-policy"):
            kind, own = flags[flag].split("/")[-2:]
            kind = {"instanceTemplates": "instance-templates", "resourcePolicies": "resource-policies"}[kind]
            if not (folder / "regional" / kind / own).exists():
                return _fail(words, f"The resource '{flags[flag]}' was not found")
        error = fake_cloud.create(folder)
        return _fail(words, error) if error else 0
    if not there:
        return _fail(words, f"The resource 'projects/p/zones/z/instanceGroupManagers/{name}' was not found")
    if verb == "delete":
        fake_cloud.delete(folder)
    elif verb == "describe":
        print(json.dumps({"targetSize": fake_cloud.WORKERS, "description": "tpu7x-16"}))
    else:
        status = STATUSES.get(str(fake_cloud.look(folder)[0]), "TERMINATED")
        names = [f"zones/z/instances/{name}-x{worker}" for worker in range(fake_cloud.WORKERS)]
        vms = [{"instance": one, "instanceStatus": status, "currentAction": "NONE"} for one in names]
        print(json.dumps(vms[::-1]))
    return 0


def _of_region(folder: Path, kind: str, verb: str, name: str) -> int:
    """A template or a policy: made once, and deleted only once no group uses it."""
    path = folder / "regional" / kind / name
    words = [kind, verb]
    if verb == "create" and path.exists():
        return _fail(words, f"The resource 'projects/p/{kind}/{name}' already exists")
    if verb == "delete" and not path.exists():
        return _fail(words, f"The resource 'projects/p/{kind}/{name}' was not found")
    if verb == "delete" and _there(folder):
        return _fail(words, f"The resource 'projects/p/{kind}/{name}' is already being used by a group")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch() if verb == "create" else path.unlink()
    return 0


def _reach(folder: Path, words: Sequence[str], flags: dict[str, str]) -> int:
    names = [word for word in words[2:] if not word.startswith("--")]
    vm, _, to = names[-1].partition(":")
    worker = int(vm.rpartition("-x")[2])
    if words[1] == "scp":
        return fake_cloud.scp(folder, worker, names[0], to)
    return fake_cloud.ssh(folder, worker, flags["command"])


def _there(folder: Path) -> bool:
    with fake_cloud.opened(folder) as state:
        return bool(state["queued"])


def _fail(words: Sequence[str], message: str) -> int:
    print(f"ERROR: (gcloud.compute.{'.'.join(words[:2])}) Could not do it:\n - {message}\n", file=sys.stderr)
    return 1
