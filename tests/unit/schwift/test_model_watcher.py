"""When a change of models/ counts as over."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from schwift.model_watcher import ModelChanges, snapshot

A, B, C = ({"file": (number, 1, 1)} for number in (1, 2, 3))


def test_change_is_over_once_nothing_moved_for_a_second() -> None:
    changes = ModelChanges(A)
    seen = [(A, 0.0), (B, 1.0), (C, 1.9), (C, 2.8), (C, 2.9), (C, 4.0), (A, 5.0), (A, 6.0), (A, 7.0)]
    assert [time for now, time in seen if changes.over(now, time)] == [2.9, 6.0]


def test_change_that_is_taken_back_is_none() -> None:
    changes = ModelChanges(A)
    assert not any(changes.over(now, time) for now, time in [(B, 1.0), (A, 1.5), (A, 9.0), (A, 10.0)])


def test_snapshot_sees_new_changed_and_removed_files_and_no_caches(tmp_path: Path) -> None:
    (tmp_path / "m" / "__pycache__").mkdir(parents=True)
    seen = [snapshot(tmp_path)]
    file = tmp_path / "m" / "a.txt"
    file.write_text("1")
    seen.append(snapshot(tmp_path))
    os.utime(file, ns=(1, 1))
    seen.append(snapshot(tmp_path))
    # As editors write: another file in the place of the old, of the same size and time.
    (tmp_path / "m" / "b").write_text("2")
    os.utime(tmp_path / "m" / "b", ns=(1, 1))
    (tmp_path / "m" / "b").rename(file)
    seen.append(snapshot(tmp_path))
    file.unlink()
    assert all(before != after for before, after in itertools.pairwise(seen))
    assert snapshot(tmp_path) == seen[0] == {}
    (tmp_path / "m" / "__pycache__" / "a.pyc").write_text("x")
    # What a build writes itself.
    (tmp_path / "m" / "requirements.lock").write_text("x")
    (tmp_path / "m" / "link").symlink_to("nowhere")
    assert snapshot(tmp_path) == {}
    assert snapshot(tmp_path / "gone") == {}
    # What a user wrote.
    (tmp_path / "m" / "below").mkdir()
    (tmp_path / "m" / "below" / "requirements.lock").write_text("x")
    assert list(snapshot(tmp_path)) == [str(tmp_path / "m" / "below" / "requirements.lock")]
