"""What is looked at when, what ends it, and the command's own words."""

import errno
import socket
import threading
from types import SimpleNamespace

import jax
import pytest
from jax._src import compilation_cache, hardware_utils

from fdl.doctor import examination, surroundings
from fdl.doctor.cache import works
from fdl.doctor.examination import UNFIT, Measuring, answering, examine, on_slice
from fdl.doctor.facts import Host
from fdl.doctor.surroundings import bucket_trouble, port_trouble
from tpu import follow


@pytest.mark.parametrize(("chips", "gpus", "processes", "platforms", "backend", "expected"), [
    (4, False, 1, None, "tpu", True),
    (4, False, 1, "cpu", "tpu", False),
    (4, False, 1, None, "cpu", False),
    (0, True, 1, None, "gpu", False),
    (0, True, 2, None, "gpu", True),
    (0, False, 2, None, None, False),
    (0, False, 1, None, None, False),
])  # fmt: skip
def test_a_slice_is_tpus_or_several_processes_with_gpus(
    chips, gpus, processes, platforms, backend, expected, monkeypatch
):
    def asked() -> str:
        assert backend, "on CPUs JAX must not be made to begin"
        return backend

    monkeypatch.setattr(hardware_utils, "num_available_tpu_chips_and_device_id", lambda: (chips, None))
    monkeypatch.setattr(hardware_utils, "has_visible_nvidia_gpu", lambda: gpus)
    monkeypatch.setattr(examination.importlib.util, "find_spec", lambda name: name == "libtpu")
    monkeypatch.setattr(examination, "several", lambda: processes > 1)
    monkeypatch.setattr(examination, "jax", SimpleNamespace(
        config=SimpleNamespace(values={"jax_platforms": platforms}), default_backend=asked))  # fmt: skip
    assert on_slice() == expected


def test_versions_that_differ_end_it_before_a_device_is_used(monkeypatch):
    hosts = [Host(n, f"t{n}", {"jax": f"0.{n}"}, 0, 0)._asdict() for n in range(2)]
    monkeypatch.setattr(examination, "from_all", lambda mine: hosts)

    def never() -> list:
        raise AssertionError("a device is used")

    facts = examine(None, Measuring(products=never, reductions=never))
    assert len(facts.hosts) == 2 and not facts.devices


def test_where_a_worker_lacks_devices_nothing_is_sent(monkeypatch):
    devices = [SimpleNamespace(id=n, device_kind="cpu", process_index=int(n == 2)) for n in range(3)]
    monkeypatch.setattr(jax, "devices", lambda: devices)

    def never() -> list:
        raise AssertionError("something is sent")

    assert len(examine(None, Measuring(products=list, reductions=never)).devices) == 3


def test_devices_that_never_answer_end_it():
    ended, said = threading.Event(), []

    def end(reason: str) -> None:
        said.append(reason)
        ended.set()

    with answering(0.01, end):
        assert ended.wait(30)
    assert said == [f"{UNFIT}a device did not answer within 0.01 s; make the slice again"]
    with answering(30, end):
        pass
    assert len(said) == 1


def test_a_place_is_left_as_it_was(tmp_path, monkeypatch):
    assert bucket_trouble(str(tmp_path / "not" / "there")) == "" and not list(tmp_path.iterdir())
    monkeypatch.setattr(surroundings, "get", lambda path: b"other")
    assert bucket_trouble(str(tmp_path)) == "16 bytes were written, others came back"
    (tmp_path / "file").touch()
    monkeypatch.undo()
    assert "Not a directory" in bucket_trouble(str(tmp_path / "file"))
    monkeypatch.setattr(surroundings, "remove", lambda path: None)
    assert bucket_trouble(str(tmp_path)) == "what was deleted is still there"


def test_a_port_that_nobody_listens_at():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        assert port_trouble(address) == ""
    assert port_trouble(address) == f"{address} ([Errno {errno.ECONNREFUSED}] Connection refused)"


def test_a_cache_that_keeps_nothing_is_found_out(monkeypatch):
    assert works()
    monkeypatch.setattr(compilation_cache, "get_executable_and_time", lambda *_, **__: (None, None))
    assert not works()


def test_the_launcher_knows_it_by_the_same_words():
    assert UNFIT.encode() == follow.UNFIT
