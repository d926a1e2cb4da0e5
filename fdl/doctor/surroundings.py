"""What a worker can say of itself before it uses a device: versions, room, bucket, the coordinator's port."""

import shutil
import socket
import uuid
from collections.abc import Iterable
from pathlib import Path

from fdl.doctor.facts import Host
from fdl.parallel.distributed import coordinator, process_id, several
from fdl.storage import cache_folder, folder, get, in_bucket, remove, write_atomically
from fdl.text import message_of, version_of
from fdl.train.history import versions_here
from fdl.train.runtime import host_memory

REACHING = 10.0
"""Seconds that a connection to the coordinator may take: it is in the same network."""


def host_here(place: str | None) -> Host:
    """What this process finds.

    Args:
      place: where the results are to go, if that is known; a file is written there, read and deleted.

    Raises:
      ValueError: the place is of no kind that is known, or its extra is not installed.
    """
    return Host(
        process=process_id(),
        name=socket.gethostname(),
        versions=versions_here() | {"libtpu": version_of("libtpu")},
        disk=shutil.disk_usage(_there([cache_folder(), *cache_folder().parents])).free,
        memory=host_memory(),
        bucket=None if place is None else bucket_trouble(place),
        port=port_trouble(coordinator()) if several() else None,
    )


def bucket_trouble(place: str) -> str:
    """Why a file could not be written, read and deleted at a place, or nothing.

    On a disk, where the folder itself may not be there yet, in the nearest above it that is.
    """
    content = uuid.uuid4().bytes
    try:
        there = folder(place)
        if not in_bucket(there):
            there = _there([Path(place), *Path(place).absolute().parents])
        path = there / f"fdl-doctor-{process_id()}-{uuid.uuid4().hex}"
        write_atomically(path, content)
        found = get(path)
        remove(path)
        if found != content:
            return f"{len(content)} bytes were written, others came back"
        return "what was deleted is still there" if get(path) is not None else ""
    except OSError as error:
        return message_of(error, most=300)


def port_trouble(address: str) -> str:
    """Why nobody answers at an address as `10.0.0.2:8476`, or nothing; the address is said with it."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=REACHING):
            return ""
    except OSError as error:
        return f"{address} ({message_of(error)})"


def _there(folders: Iterable[Path]) -> Path:
    return next(folder for folder in folders if folder.exists())
