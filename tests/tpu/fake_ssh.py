"""What `ssh` and `scp` are for the tests, below the real gcloud: the address's last number is the worker."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.tpu import fake_cloud


def ssh(folder: Path, words: Sequence[str]) -> int:
    """`ssh [OPTION...] USER@ADDRESS -- WORD...`: the words are joined by spaces, as ssh does."""
    cut = words.index("--")
    return fake_cloud.ssh(folder, _worker(words[cut - 1]), " ".join(words[cut + 1 :]))


def scp(folder: Path, words: Sequence[str]) -> int:
    """`scp [OPTION...] FILE USER@ADDRESS:TO`."""
    address, _, to = words[-1].partition(":")
    return fake_cloud.scp(folder, _worker(address), words[-2], to)


def _worker(address: str) -> int:
    print(f"to {address}", file=sys.stderr)
    return int(address.rpartition(".")[2])
