"""`schwift serve --watch`, with real files, a real `schwift reload` and a server that says what it is told to."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from converter.schema.settings import load_settings
from schwift.model_watcher import snapshot, watching
from tests.support.lifecycle.control_socket import ScriptedControl
from tests.support.processes import wait_until


class Said:
    """The lines that a user would see."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()

    def __call__(self, line: str) -> None:
        with self._news:
            self.lines.append(line)
            self._news.notify()

    def wait(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.lines) >= count, 30), self.lines


def test_each_change_is_reloaded_and_the_end_does_not_wait_for_a_reload(tmp_path: Path) -> None:
    models, repository = tmp_path / "models", tmp_path / "repo"
    models.mkdir()
    settings = load_settings(None, model_directory=models, repository=repository)
    said = Said()
    changed = f"{models} changed: reloading"
    with contextlib.ExitStack() as watched:
        watched.enter_context(watching(settings, snapshot(models), said))
        (models / "new").write_text("1")
        said.wait(2)
        # Nothing is served here.
        assert said.lines[1].startswith("not reloaded (code ")
        assert said.lines[1].endswith("): what was served is served; waiting for the next change")
        with ScriptedControl(repository, {}).listening() as control:
            control.hold.clear()
            (models / "new").write_text("two")
            wait_until(lambda: control.did == ["folders"])
            # Its answer would come in ten seconds; a reload that had one would say how it went.
            watched.close()
    assert said.lines == [changed, said.lines[1], changed]
