"""The manifest for GKE, against the schema of JobSet."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.tpu.test_launch import SWEEP, root
from tpu import launch
from tpu.manifest import Wanted, checked, jobset
from tpu.world import real

__all__ = ["root"]

SCHEMA = json.loads(Path(__file__).with_name("jobset_schema.json").read_text())["schema"]
IMAGE = "us-docker.pkg.dev/p/fdl/fdl:1"
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def faults(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """What a Kubernetes API server would refuse by its schema; unknown fields too, as kubectl does."""
    kind = schema.get("type")
    if kind and (not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
        return [f"{where} is no {kind}"]
    found = [f"{where} is {value!r}"] if value not in schema.get("enum", [value]) else []
    if "pattern" in schema and not re.fullmatch(schema["pattern"], str(value)):
        found.append(f"{where} is {value!r}")
    found += [f"{where} has no {name}" for name in schema.get("required", []) if name not in value]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        for name, part in value.items():
            if name not in known and others is False:
                found.append(f"{where} knows no {name}")
            else:
                found += faults(part, known.get(name, others or {}), f"{where}.{name}")
    if isinstance(value, list):
        for number, part in enumerate(value):
            found += faults(part, schema.get("items", {}), f"{where}[{number}]")
    return found


@pytest.mark.parametrize(
    ("wanted", "label", "topology", "workers", "tpus"),
    [
        (Wanted("sweep-1", "tpu7x-16", IMAGE), "tpu7x", "2x2x2", 2, "4"),
        (Wanted("sweep-1", "v6e-64", IMAGE, 2, 600, 0, True), "tpu-v6e-slice", "8x8", 16, "4"),
        (Wanted("sweep-1", "v6e-8", IMAGE), "tpu-v6e-slice", "2x4", 1, "8"),
        (Wanted("sweep-1", "v5p-32", IMAGE, spot=True), "tpu-v5p-slice", "2x2x4", 4, "4"),
    ],
)
def test_a_manifest(wanted, label, topology, workers, tpus):
    made = jobset(checked(wanted), ["fdl", "run"], {"FDL_DATA": "gs://b/data"})
    assert faults(made, SCHEMA) == []
    (replicated,) = made["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert replicated["replicas"] == wanted.slices
    assert job["parallelism"] == job["completions"] == workers and job["backoffLimit"] == 0
    assert job["activeDeadlineSeconds"] == wanted.lifetime
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": tpus}
    assert container["env"] == [{"name": "FDL_DATA", "value": "gs://b/data"}]
    spot = {"cloud.google.com/gke-spot": "true"} if wanted.spot else {}
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": label, "cloud.google.com/gke-tpu-topology": topology, **spot
    }  # fmt: skip
    assert bool(pod["tolerations"]) == wanted.spot
    assert made["spec"]["failurePolicy"]["maxRestarts"] == wanted.restarts


def test_bad_input_and_losses_that_are_not_finite_are_not_tried_again():
    made = jobset(Wanted("sweep-1", "tpu7x-16", IMAGE), ["fdl"], {})
    (replicated,) = made["spec"]["replicatedJobs"]
    (rule,) = replicated["template"]["spec"]["podFailurePolicy"]["rules"]
    container = replicated["template"]["spec"]["template"]["spec"]["containers"][0]["name"]
    assert rule["onExitCodes"] == {"containerName": container, "operator": "In", "values": [2, 3]}
    (final,) = made["spec"]["failurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and final["action"] == "FailJobSet"
    assert "PodFailurePolicy" in final["onJobFailureReasons"]


def test_the_schema_refuses_what_is_wrong():
    made = jobset(Wanted("sweep-1", "tpu7x-16", IMAGE), ["fdl"], {})
    made["spec"]["failurePolicy"]["rules"][0]["action"] = "Fail"
    (replicated,) = made["spec"]["replicatedJobs"]
    replicated["template"]["spec"]["paralelism"] = replicated["template"]["spec"].pop("parallelism")
    del replicated["template"]["spec"]["template"]["spec"]["containers"][0]["name"]
    replicated["template"]["spec"]["backoffLimit"] = "0"
    assert len(faults(made, SCHEMA)) == 4


def expanded(text: str) -> str:
    """What Kubernetes makes of a word where no variable is set (its `expand.go`)."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda found: "$" if found[1] == "$" else found[0], text)


@pytest.mark.parametrize("word", ["a b'c\"; $HOME", "$(touch x)", "$$", "$", "$$(X)", "a$", "$$$(B)$"])
def test_words_arrive_as_they_are(word):
    made = jobset(Wanted("sweep-1", "tpu7x-16", IMAGE), ["fdl", word], {"A": word})
    container = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    for told in (container["command"][1], container["env"][0]["value"]):
        assert expanded(told) == word and "$" not in told.replace("$$", "")


def test_the_command_prints_it_and_nothing_else(root, capsys):
    said: list[str] = []
    words = ["manifest", "sweep-1", "--accelerator", "tpu7x-16", "--image", IMAGE, "--env", "A=b", *SWEEP]
    assert launch.main(words, world=real()._replace(say=said.append), root=root) == 0
    made = json.loads("\n".join(said))
    assert faults(made, SCHEMA) == []
    container = made["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["uv", "run", "--no-sync", "fdl", *SWEEP[1:]]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--accelerator v4-8 --image i", "v4-8 is only to be had through the Cloud TPU API"),
        ("--accelerator tpu7x-16", "--image"),
        ("--accelerator tpu7x-16 --image -x", "--image"),
        ("--accelerator tpu7x-16 --image 'a b'", "--image is 'a b'"),
        ("--accelerator tpu7x-8 --image i --slices 2", "--slices is 2"),
        ("--accelerator tpu7x-16 --image i --restarts -1", "--restarts is -1"),
        ("--accelerator tpu7x-16 --image i --env HF_TOKEN", "--env takes NAME=VALUE here"),
        ("--accelerator tpu7x-16 --image i --lifetime 1s", "--lifetime is '1s'"),
    ],
)
def test_bad_input(words, complaint, root, capsys):
    given = ["manifest", "sweep-1", *shlex.split(words), *SWEEP]
    assert launch.main(given, world=real(), root=root) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_long_names_are_refused(root, capsys):
    words = ["manifest", "a" * 41, "--accelerator", "tpu7x-16", "--image", "i", *SWEEP]
    assert launch.main(words, world=real(), root=root) == 2
    assert "expected up to 40" in capsys.readouterr().err
