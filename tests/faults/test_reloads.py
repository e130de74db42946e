"""Models changed while they are served: without a gap, and with a way back (R19, R20)."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from converter.schema.manifest import read_manifest
from tests.support.servers.factor_model import answer, loaded, put, schwift, write_sample
from tests.support.servers.server import wait_for
from tests.support.servers.serving import serving

BROKEN = {
    "raises at load": ({"at_load": "raise ValueError('no such file')"}, "does not load: the model's code raised"),
    "hangs at load": ({"at_load": "time.sleep(600)"}, "does not load: loading took over 10 s"),
    "answers in another shape": ({"at_call": "X = X[:, :1]"}, "not what its config promises"),
    "raises on every row": ({"at_call": "raise KeyError('column')"}, "raises an error on a row that the served one"),
    "hangs in a call": ({"at_call": "time.sleep(600)"}, "did not answer a made-up row in time"),
    "dies in a call": ({"at_call": "os._exit(1)"}, "process died"),
}


@pytest.mark.parametrize("workers", ["1", "3"])
def test_R19_three_reloads_under_load_fail_no_request(tmp_path: Path, workers: str) -> None:
    models = tmp_path / "models"
    put(models, 1)
    with serving(models, tmp_path, SCHWIFT_WORKERS=workers) as server, loaded(server) as load:
        for factor in (2, 3, 4):
            put(models, factor)
            done = schwift(server, models, "reload")
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            assert "times: version" in done.stdout
            # Whoever asks from now on is answered by the new version.
            assert {answer(server, endpoint=endpoint) for endpoint in ("predict", "predict_batched")} == {factor}
        load.stop()
        assert set(load.answers) == {1.0, 2.0, 3.0, 4.0}, load.answers
        assert sum(load.answers.values()) > 500
        assert read_manifest(server.repository).models[0].version == 4
        assert httpx.get(f"{server.url}/health/ready").status_code == 200


def test_R20_broken_new_versions_leave_the_old_one_serving(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    # What the build would find already is to reach the server.
    settings = {"SCHWIFT_MODEL_LOAD_TIMEOUT_SECONDS": "10", "PREDICT_TIMEOUT_SECONDS": "2", "SCHWIFT_CHECK": "off"}
    with serving(models, tmp_path, **settings) as server, loaded(server) as load:
        before = (server.repository / "schwift.json").read_bytes()
        for what, (code, reason) in BROKEN.items():
            put(models, 9, **code)
            done = schwift(server, models, "reload", **settings)
            assert done.returncode == 1, (what, done.stdout)
            assert done.stderr.startswith("error: times: "), what
            assert reason in done.stderr, what
            assert (server.repository / "schwift.json").read_bytes() == before, what
            assert answer(server) == answer(server, endpoint="predict_batched") == 1.0, what
        # What answers, and not as its sample says.
        put(models, 9)
        write_sample(models, 1)
        done = schwift(server, models, "reload", **settings)
        reason = (
            "its answers are not those of its sample.json: row 0, [0]: served 9.0, and the original's answer is 1.0"
        )
        assert done.returncode == 1 and reason in done.stderr, done.stderr
        assert answer(server) == 1.0
        # The way out is a version that works.
        put(models, 2)
        write_sample(models, 2)
        assert schwift(server, models, "reload", **settings).returncode == 0
        load.stop()
        assert set(load.answers) == {1.0, 2.0}, load.answers


def test_new_and_removed_models_and_another_contract(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    put(models, 5, "other")
    with serving(models, tmp_path, SCHWIFT_WORKERS="2") as server:
        put(models, 7, "fresh")
        for path in (models / "other").iterdir():
            path.unlink()
        text = (models / "times" / "model_config.yaml").read_text()
        (models / "times" / "model_config.yaml").write_text(text.replace("[-1, 2]", "[-1, 3]"))
        done = schwift(server, models, "reload")
        assert (done.returncode, done.stderr) == (0, "")
        for _ in range(8):
            with httpx.Client() as client:
                assert client.get(f"{server.url}/health").json()["models"].keys() == {"fresh", "times"}
        assert (answer(server, "fresh"), answer(server, "other")) == (7.0, 404)
        assert answer(server) == 422
        assert server.post("predict", "times", [[1.0, 2.0, 3.0]]).json()["predictions"] == [[1.0, 2.0, 3.0]]
        assert '"fresh"' in httpx.get(f"{server.url}/openapi.json").text
        assert 'model_name="fresh"' in httpx.get(f"{server.url}/metrics").text


def test_R15_failed_model_is_tried_again_by_a_reload_though_nothing_changed(tmp_path: Path) -> None:
    """What it lacked is outside of its folder."""
    models, needed = tmp_path / "models", tmp_path / "needed"
    put(models, 1, at_load=f"open({str(needed)!r})")
    put(models, 5, "other")
    with serving(models, tmp_path) as server:
        assert (answer(server), answer(server, "other")) == (503, 5.0)
        failed = schwift(server, models, "reload")
        assert failed.returncode == 1
        assert failed.stderr.startswith("error: times: the new version does not load: the model's code raised FileNot")
        assert schwift(server, models, "reload", "other").returncode == 0
        needed.touch()
        done = schwift(server, models, "reload", "times")
        assert (done.returncode, done.stderr) == (0, "")
        assert answer(server) == answer(server, endpoint="predict_batched") == 1.0
        assert httpx.get(f"{server.url}/health/ready").status_code == 200


def test_rollback_under_load_and_after_a_restart(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    with serving(models, tmp_path) as server, loaded(server) as load:
        put(models, 2)
        assert schwift(server, models, "reload", "times").returncode == 0
        done = schwift(server, models, "rollback", "times")
        assert (done.returncode, done.stderr) == (0, "")
        assert answer(server) == answer(server, endpoint="predict_batched") == 1.0
        again = schwift(server, models, "rollback", "times")
        assert again.returncode == 2
        assert "no version before 1" in again.stderr
        up_to_date = schwift(server, models, "reload")
        assert up_to_date.returncode == 0
        assert "version 2, which was rolled back" in up_to_date.stdout
        load.stop()
        assert set(load.answers) == {1.0, 2.0}, load.answers
    with serving(models, tmp_path) as server:
        assert answer(server) == 1.0
    missing = schwift(server, models, "reload")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: nothing is served here")


def test_watch_reloads_and_goes_on_after_a_failure(tmp_path: Path) -> None:
    models = tmp_path / "models"
    put(models, 1)
    with serving(models, tmp_path, "--watch") as server, loaded(server) as load:
        put(models, 9, at_load="raise ValueError('no')")
        wait_for(lambda: "not reloaded (code 1)" in server.output, 40)
        assert answer(server) == 1.0
        put(models, 2)
        wait_for(lambda: answer(server) == 2.0, 40)
        # We may be the first who is answered by it.
        wait_for(lambda: 2.0 in load.answers)
        load.stop()
        assert set(load.answers) == {1.0, 2.0}, load.answers
