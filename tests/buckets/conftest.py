"""Buckets in imitations of Google's and Amazon's stores, over loopback.

They imitate no credentials, no rights, no failing requests and no conditions on writes.
"""

import contextlib
import functools
import importlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from etils import epath

from fdl import storage

SERVERS = {
    "gs": """
import sys
from gcp_storage_emulator.server import create_server
create_server("localhost", int(sys.argv[1]), in_memory=True, default_bucket="bucket-1").run()
""",
    "s3": """
import sys, threading
from moto.server import ThreadedMotoServer
ThreadedMotoServer("localhost", int(sys.argv[1]), verbose=False).start()
threading.Event().wait()
""",
}


@pytest.fixture(scope="session")
def port_of() -> Iterator[Callable[[str], int]]:
    """Where an imitation listens, until the last test: the libraries keep their connections to it."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def started(kind: str) -> int:
            with socket.socket() as free:
                free.bind(("localhost", 0))
                port = free.getsockname()[1]
            quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen([sys.executable, "-c", SERVERS[kind], str(port)], **quiet)
            running.enter_context(process)
            running.callback(process.kill)
            while not answers(port):
                assert process.poll() is None
                time.sleep(0.05)
            return port

        yield started


@pytest.fixture(scope="module", params=["gs", "s3"])
def root(request: pytest.FixtureRequest, port_of: Callable[[str], int]) -> Iterator[str]:
    """A bucket of an imitation, for this process and for those that it starts."""
    kind = request.param
    pytest.importorskip(
        {"gs": "gcp_storage_emulator", "s3": "moto"}[kind], reason="no imitation is installed"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in surroundings(kind, f"http://localhost:{port_of(kind)}").items():
            patch.setenv(name, value)
        pytest.importorskip(
            storage._LIBRARIES[kind], reason=f"needs the extra '{kind}'"
        )  # reads them at once
        if kind == "gs":
            patch.setitem(importlib.import_module("fsspec.config").conf, "gs", {"token": "anon"})
        else:
            storage.store(epath.Path("s3://bucket-1")).makedirs("bucket-1", exist_ok=True)
        yield f"{kind}://bucket-1"


def surroundings(kind: str, url: str) -> dict[str, str]:
    """What sends requests to an imitation."""
    if kind == "s3":
        keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing"}
        return {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", **keys}
    return {
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_CLOUD_PROJECT": "nobody",
        "NO_GCE_CHECK": "true",
        "FSSPEC_GS_TOKEN": "anon",
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # it would ask for credentials
    }


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("localhost", port)) == 0
