"""Files of a work directory."""

import os
import shutil

from fdl.storage import remove_partials


def test_a_folder_that_goes_while_it_is_looked_through_is_passed_over(tmp_path, monkeypatch):
    """Orbax removes what it left unfinished while a run that goes on removes what it left half written."""
    for name in ("going", "staying"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".rows.1.partial").write_text("half")
        (tmp_path / name / "rows").write_text("whole")
    look = os.scandir

    def removed_before(path="."):
        if not isinstance(path, int) and os.fspath(path).endswith("going"):
            shutil.rmtree(tmp_path / "going", ignore_errors=True)
        return look(path)

    monkeypatch.setattr(os, "scandir", removed_before)
    remove_partials(tmp_path)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.rglob("*")] == ["staying", "rows"]
