"""Searches whose trials a PostgreSQL server keeps, and Optuna's dashboard beside a search that runs."""

import contextlib
import glob
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fdl
from fdl.sweeps.asking import Asking, asked, check_storage, opened_study, tell
from fdl.train import autotune
from tests.searched import SEARCH, experiment

pytestmark = pytest.mark.usefixtures("one_program")
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """The URL of a database of a server that runs as long as this file's tests."""
    pytest.importorskip("psycopg", reason="needs the extra 'postgresql'")
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb")]
    if found[-1] is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    account = pwd.getpwuid(os.getuid())
    if account.pw_uid == 0:  # it refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            account = pwd.getpwnam("nobody")
    initdb = Path(found[-1])
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path is short
    os.chown(folder, account.pw_uid, account.pw_gid)
    other: Any = {"user": account.pw_uid, "group": account.pw_gid} if os.getuid() == 0 else {}

    def call(program: str, *words: str) -> None:
        command = [initdb.with_name(program), "-D", folder / "data", *words]
        subprocess.run(command, check=True, cwd=folder, timeout=60, **QUIET, **other)

    try:
        call("initdb", "-A", "trust", "-U", "searcher", "--no-sync")
        call("pg_ctl", "-w", "-l", str(folder / "log"), "-o", f"-k {folder} -h '' -F", "start")
        yield f"postgresql://searcher@/postgres?host={folder}"
        call("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.medium
def test_a_search_in_postgresql_asks_as_one_in_a_file_and_goes_on(postgresql, tmp_path, monkeypatch):
    space = fdl.space(SEARCH.config, lr=SEARCH.fields["lr"], noise=SEARCH.fields["noise"])
    space = space.where(lambda config: config.lr > 5e-3)
    asks = {"population": 4, "judges": 2, "members": 4, "metric": "validation/loss", "better": "lower"}
    asks |= {"workdir": tmp_path}
    in_file = fdl.search(experiment, space, trials=8, **asks)
    monkeypatch.setattr(autotune, "compile_program", None)  # each run is there

    def trials(count: int) -> list[dict[str, Any]]:
        found = fdl.search(experiment, space, trials=count, storage=postgresql, **asks)
        return found.judged.meta["search"]["trials"]

    wanted = in_file.judged.meta["search"]["trials"]
    assert trials(8) == wanted == trials(8)
    (place,) = (tmp_path / "searches").iterdir()
    with opened_study(place.name, postgresql, None, ["lower"]) as study:
        kept = study.get_trials()
    refused = in_file.judged.meta["search"]["refused"]
    assert len(kept) == 8 + refused > 8 and [one.number for one in kept] == list(range(len(kept)))
    told = [one.value for one in kept if not one.constraints]
    assert told == [trial["validation/loss"] for trial in wanted]


@contextlib.contextmanager
def dashboard(url: str) -> Iterator[str]:
    """Where Optuna's dashboard of a storage listens."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    code = "from optuna_dashboard._cli import main; main()"
    words = ["--port", str(port), "--server", "wsgiref", url]
    with subprocess.Popen([sys.executable, "-c", code, *words], **QUIET) as process:
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            assert process.poll() is None
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.medium
def test_the_dashboard_shows_a_search_while_it_runs(tmp_path):
    pytest.importorskip("optuna_dashboard")
    with opened_study("shown", None, tmp_path, ["lower"]) as study:
        asking = Asking(study, SEARCH, "random", 0, 2)
        with dashboard(f"sqlite:///{tmp_path}/trials.db") as url:
            for number in range(2):
                assert asked(asking, number)[0] == number
            tell(asking, 0, [0.5])
            told = json.loads(read(f"{url}/api/studies"))["study_summaries"]
            [study_id] = [one["study_id"] for one in told]
            trials = json.loads(read(f"{url}/api/studies/{study_id}?after=0"))["trials"]
            assert [one["state"] for one in trials] == ["Complete", "Running"]
            assert trials[0]["values"] == [0.5]
            tell(asking, 1, [0.25])  # and the search goes on
            assert "<title>Optuna Dashboard</title>" in read(f"{url}/dashboard/")
        assert study.best_value == 0.25


def test_a_server_that_is_not_there_and_a_driver_are_one_line(tmp_path, monkeypatch):
    pytest.importorskip("psycopg", reason="needs the extra 'postgresql'")
    url = f"postgresql://someone:secret@/postgres?host={tmp_path}"
    check_storage(url, tmp_path)
    with (
        pytest.raises(ValueError, match="storage cannot be opened: ") as error,
        contextlib.ExitStack() as stack,
    ):
        stack.enter_context(opened_study("search", url, tmp_path, ["lower"]))
    assert "\n" not in str(error.value) and "secret" not in str(error.value)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"driver, psycopg, is not installed.*fdl\[postgresql\]"):
        check_storage(url, tmp_path)
    with pytest.raises(ValueError, match="cannot be opened: NoSuchModuleError"):
        check_storage("nothing://x", tmp_path)
