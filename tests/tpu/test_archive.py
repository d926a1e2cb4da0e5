"""The code as it is copied."""

import shutil
import tarfile

import pytest

from tests.tpu.test_launch import root
from tpu import archive

__all__ = ["root"]


def test_the_same_code_is_the_same_archive(root, tmp_path):
    (root / ".gitignore").write_text("out/\n")
    (root / "out").mkdir()
    (root / "out/big.bin").write_bytes(bytes(10))
    (root / "link").symlink_to("experiments/one.py")
    (root / "ä b;c.sh").write_text("#!/bin/sh\n")
    (root / "ä b;c.sh").chmod(0o700)
    first, second = root / "out/1.tar.gz", root / "out/2.tar.gz"
    digest = archive.pack(root, first)
    (root / "experiments/one.py").touch()
    assert archive.pack(root, second) == digest
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        assert tar.getnames() == [".gitignore", "experiments/one.py", "link", "pyproject.toml", "ä b;c.sh"]
        assert [info.mode for info in tar if info.isfile()] == [0o644, 0o644, 0o644, 0o755]
        assert tar.getmember("link").linkname == "experiments/one.py"
    (root / "experiments/one.py").write_text("print(2)\n")
    assert archive.pack(root, second) != digest


def test_code_that_cannot_be_packed(root, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 1000)
    (root / "weights.bin").write_bytes(bytes(2000))
    with pytest.raises(ValueError, match=r"of which weights\.bin .*\.gitignore"):
        archive.pack(root, root / "a")
    shutil.rmtree(root / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
    with pytest.raises(ValueError, match="is not a git repository"):
        archive.pack(root, root / "a")
