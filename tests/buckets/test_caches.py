"""Compiled programs and plans in a bucket; test_killed.py counts those that are compiled after a kill."""

from collections import Counter

import jax
import pytest

from fdl import storage
from fdl.cli.flags import workdir
from fdl.train import runtime


@pytest.mark.medium
def test_programs_of_work_in_a_bucket_are_kept_and_found_beside_it(root, monkeypatch):
    monkeypatch.delenv("FDL_CACHE")
    events, listen = Counter(), lambda event, **_: events.update([event.rpartition("/")[2]])
    directory = storage.path_of(f"{root}/works/one")
    jax.monitoring.register_event_listener(listen)
    before = jax.config.values["jax_compilation_cache_dir"]
    double = jax.jit(lambda x: 2 * x + 17)
    jax.clear_caches()  # what other tests have in memory is not looked for
    try:
        runtime.prepare(directory)
        assert jax.config.values["jax_compilation_cache_dir"].startswith(f"{root}/works/one.cache/programs/")
        assert double(1.0) == 19 and not events["cache_hits"]
        assert len(storage.objects(directory.with_name("one.cache"))) == events["cache_misses"] > 0
        events.clear()
        jax.clear_caches()
        assert double(1.0) == 19 and not events["cache_misses"]
        assert events["cache_hits"] == events["compile_requests_use_cache"] > 0
    finally:
        runtime.prepare()
        jax.monitoring.unregister_event_listener(listen)
    assert jax.config.values["jax_compilation_cache_dir"] == before


@pytest.mark.parametrize("words", [("--workdir", "gs://b/one"), ("--lr", "1", "--workdir=gs://b/one/")])
def test_the_bucket_is_known_before_the_file_is_loaded(words):
    assert str(workdir(["file.py", *words])) == "gs://b/one"
    assert workdir(["file.py", "--workdir", "runs/gs"]) is workdir(["file.py", "--lr", "1"]) is None
    with pytest.raises(ValueError, match="--workdir"):
        workdir(["file.py", "--workdir"])
