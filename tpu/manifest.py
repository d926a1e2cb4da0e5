"""A manifest for GKE: a JobSet that runs an fdl command on TPU slices. A pure function; untried on hardware.

By jobset.sigs.k8s.io (JobSet v1alpha2, its page "TPU Multislice") and Google's pages on TPUs in GKE
(docs.cloud.google.com/kubernetes-engine/docs/concepts/tpus, .../tpu-ironwood, read on 2026-11-27). GKE tells
the pods of a TPU job that has a headless service, which JobSet makes, who they are (`TPU_WORKER_ID`,
`TPU_WORKER_HOSTNAMES`, and `MEGASCALE_*` for several slices). There jax finds its coordinator
(`GkeTpuCluster` in its `cloud_tpu_cluster.py`), and fdl takes that from jax.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tpu.compute import machine
from tpu.follow import HOPELESS
from tpu.slices import chips

LABELS = {"v5p": "tpu-v5p-slice", "v6e": "tpu-v6e-slice", "tpu7x": "tpu7x"}
"""What GKE calls the generations on its nodes."""
SLICE = "slice"
"""The job's name in the set; one a slice."""
CONTAINER = "fdl"
SAVING = 60
"""Seconds between SIGTERM and SIGKILL. Kubernetes gives the pods of a spot node fewer."""
KEPT = 86400
"""Seconds after the end in which the pods and their logs can be looked at. They hold no node."""
LONGEST = 40
"""Letters of a name: to it the pods' names add up to 23, and 63 are allowed."""


class Wanted(NamedTuple):
    """What to describe."""

    name: str
    accelerator: str
    image: str
    slices: int = 1
    lifetime: int = 43200
    """seconds after which each start of the command ends"""
    restarts: int = 100
    spot: bool = False


def checked(wanted: Wanted) -> Wanted:
    """What can be had; raises `ValueError` for others."""
    if not re.fullmatch(rf"[a-z]([a-z0-9-]{{0,{LONGEST - 2}}}[a-z0-9])?", wanted.name):
        raise ValueError(
            f"NAME is {wanted.name!r}; expected up to {LONGEST} small letters, digits and hyphens, as sweep-1"
        )
    if not re.fullmatch(r"[a-zA-Z0-9][\w./:@-]*", wanted.image, re.ASCII):
        raise ValueError(
            f"--image is {wanted.image!r}; expected a container's address, as us-docker.pkg.dev/P/fdl/fdl:1"
        )
    vm = machine(wanted.accelerator)
    if wanted.slices < 1 or (wanted.slices > 1 and vm.number == 1):
        raise ValueError(
            f"--slices is {wanted.slices}; expected 1 or more, and 1 of {wanted.accelerator}: GKE joins only "
            "slices of several VMs"
        )
    if wanted.restarts < 0:
        raise ValueError(f"--restarts is {wanted.restarts}; expected 0 or more")
    return wanted


def jobset(wanted: Wanted, command: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """The manifest, JSON-able.

    All pods are one program, so none is replaced alone: whatever fails or is taken away restarts all, but for
    exit codes after which the same command would end the same way.

    Args:
      wanted: checked.
      command: its words, which no shell reads.
      variables: of its environment.
    """
    never = {
        "action": "FailJob",
        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": sorted(HOPELESS)},
    }
    workers = machine(wanted.accelerator).number
    job = {
        "completionMode": "Indexed",
        "parallelism": workers,
        "completions": workers,
        "backoffLimit": 0,
        "activeDeadlineSeconds": wanted.lifetime,
        "podFailurePolicy": {"rules": [never]},
        "template": {"spec": _pod(wanted, command, variables)},
    }
    final = {
        "name": "final",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy", "DeadlineExceeded"],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": wanted.name,
            # All pods of a slice on one node pool, and no two slices on the same.
            "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
        },
        "spec": {
            "ttlSecondsAfterFinished": KEPT,
            "failurePolicy": {
                "maxRestarts": wanted.restarts,
                "restartStrategy": "BlockingRecreate",  # two attempts would write to one place
                "rules": [final],
            },
            "replicatedJobs": [{"name": SLICE, "replicas": wanted.slices, "template": {"spec": job}}],
        },
    }


def _pod(wanted: Wanted, command: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    vm, generation = machine(wanted.accelerator), wanted.accelerator.partition("-")[0]
    tpus = {"google.com/tpu": str(chips(wanted.accelerator) // vm.number)}
    selector = {
        "cloud.google.com/gke-tpu-accelerator": LABELS[generation],
        "cloud.google.com/gke-tpu-topology": vm.topology,
    }
    container = {
        "name": CONTAINER,
        "image": wanted.image,
        "command": [_literal(word) for word in command],
        "env": [{"name": name, "value": _literal(value)} for name, value in variables.items()],
        "resources": {"requests": tpus, "limits": tpus},
    }
    spot = {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": SAVING,
        "nodeSelector": selector | ({"cloud.google.com/gke-spot": "true"} if wanted.spot else {}),
        "tolerations": [spot] if wanted.spot else [],
        "containers": [container],
    }


def _literal(text: str) -> str:
    """A word that Kubernetes leaves as it is: it puts variables for `$(NAME)`, and `$` for `$$`."""
    return text.replace("$", "$$")
