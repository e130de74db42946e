"""API keys, attacked: what is no key, and every way round a locked door. Two workers, with the keys of `Keys`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.attacks.keyed import add_key, keys_command
from tests.support.attacks.raw_request import head, post, send
from tests.support.http.http_bytes import Answer
from tests.support.servers.server import ROOT, Server, wait_for
from tests.support.servers.serving import serving

ROW = [[1.0, 2.0, 3.0]]
WORKERS = 2
# Enough connections to come to each worker.
TRIES = 24


@dataclass(frozen=True)
class Keys:
    """`everything` has every scope; `one` may predict with `multiply` alone."""

    file: Path
    everything: str
    one: str
    reader: str
    metrics: str


@dataclass(frozen=True)
class Locked:
    server: Server
    keys: Keys

    @property
    def url(self) -> str:
        return self.server.url

    def get(self, target: str, key: str | None = None, method: str = "GET") -> Answer:
        return send(self.url, head(method, target, *([("X-API-Key", key)] if key else [])))

    def predict(self, target: str, key: str | None = None) -> Answer:
        return post(self.url, target, ROW, *([("X-API-Key", key)] if key else []))


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    models = folder / "models"
    for name in ("multiply", "other"):
        shutil.copytree(ROOT / "models" / "multiply", models / name, ignore=shutil.ignore_patterns("__pycache__"))
    config = models / "other" / "model_config.yaml"
    text = config.read_text(encoding="utf-8")
    assert text.count("multiply") == 2
    config.write_text(text.replace("multiply", "other"), encoding="utf-8")
    file = folder / "keys.json"
    keys = Keys(
        file,
        add_key(file, "everything", "--predict", "all", "--read", "--metrics"),
        add_key(file, "one", "--predict", "multiply"),
        add_key(file, "reader", "--read"),
        add_key(file, "prometheus", "--metrics"),
    )
    settings = {"SCHWIFT_API_KEYS_FILE": str(file), "SCHWIFT_WORKERS": str(WORKERS), "SCHWIFT_ACCESS_LOG": "all"}
    with serving(models, folder, **settings) as server:
        yield Locked(server, keys)


def assert_refused(reply: Answer, status: int) -> None:
    """With our body, and for 401 with how to do better."""
    code = {401: "unauthenticated", 403: "forbidden"}[status]
    assert (reply.status, reply.json["code"]) == (status, code)
    assert set(reply.json) == {"detail", "code", "request_id"}
    assert reply.json["request_id"] == reply.headers["x-request-id"]
    assert reply.headers.get("www-authenticate") == ('Bearer realm="schwift"' if status == 401 else None)


def no_keys(key: str) -> dict[str, list[tuple[str | bytes, str | bytes]]]:
    """Headers that show no valid key, each by what is wrong with them."""
    shown: dict[str, str | bytes] = {
        "empty": "", "blank": "  ", "a prefix": key[:-1], "more": key + "A", "other case": key.swapcase(),
        "only its prefix": "schwift_", "wrong": "schwift_" + "A" * 43, "non-ASCII": b"\xff\xfe\x80\xc3\xa9" * 8,
        "non-ASCII after": key.encode() + b"\xc3\xa9", "a quote": f'"{key}"', "long": key + "A" * 20_000,
    }  # fmt: skip
    found: dict[str, list[tuple[str | bytes, str | bytes]]] = {"none": []}
    for name, value in shown.items():
        value = value if isinstance(value, bytes) else value.encode()
        found[name] = [("X-API-Key", value)]
        found[f"{name}, as a bearer's"] = [("Authorization", b"Bearer " + value)]
    found["no scheme"] = [("Authorization", key)]
    found["basic"] = [("Authorization", f"Basic {key}")]
    found["another header"] = [("X-Key", key), ("Api-Key", key), ("Cookie", f"X-API-Key={key}")]
    found["two that differ"] = [("X-API-Key", key), ("X-API-Key", key + "x")]
    found["one each way that differ"] = [("X-API-Key", key), ("Authorization", f"Bearer {key}x")]
    found["a key and another scheme"] = [("X-API-Key", key), ("Authorization", "Basic eDp5")]
    return found


@pytest.mark.parametrize("case", no_keys("schwift_k"))
def test_A17_what_is_no_key_is_401(locked: Locked, case: str) -> None:
    """No, wrong, prefix, other-case, non-ASCII key, and more than one: 401 on each way into the server."""
    headers = no_keys(locked.keys.everything)[case]
    url = locked.url
    assert_refused(send(url, head("GET", "/health", *headers)), 401)
    # Past the framework's front, through it, and a model that is not there.
    assert_refused(post(url, "/predict/multiply", ROW, *headers), 401)
    assert_refused(post(url, "/predict/multiply?x=1", ROW, *headers), 401)
    assert_refused(post(url, "/predict/nothing", ROW, *headers), 401)


def test_A17_a_key_is_taken_in_either_header_and_in_both(locked: Locked) -> None:
    """What a client may do, so that the refusals above mean something."""
    key = locked.keys.one
    for headers in (
        [("X-API-Key", key)], [("x-api-key", f"  {key} ")], [("Authorization", f"Bearer {key}")],
        [("authorization", f"bearer   {key}")], [("X-API-Key", key), ("Authorization", f"Bearer {key}")],
    ):  # fmt: skip
        for target in ("/predict/multiply", "/predict/multiply?x=1"):
            assert post(locked.url, target, ROW, *headers).json["predictions"] == [[2.5, 5.0, 7.5]]


def test_A17_an_expired_key_is_401(locked: Locked) -> None:
    """It was valid, and the file is not written again when it ends."""
    text = locked.keys.file.read_text(encoding="utf-8")
    key = add_key(locked.keys.file, "short", "--read", "--expires", "1h")
    everywhere(locked, key, 200)
    now = locked.keys.file.read_text(encoding="utf-8")
    expired = re.sub(r'"expires": "[^"]+"', '"expires": "2020-01-01T00:00:00Z"', now)
    assert expired != now
    replace(locked.keys.file, expired)
    everywhere(locked, key, 401)
    replace(locked.keys.file, text)
    everywhere(locked, locked.keys.reader, 200)


TARGETS = [
    "/health", "/available_models", "/metrics", "/docs", "/openapi.json", "/redoc", "/docs/oauth2-redirect", "//",
    "/health/", "//health", "/health//", "/health/live/", "//health/live", "/health/live/x", "/health/live%2f",
    "/health%2Flive", "/%68ealth/live", "/health/ready/", "/health/../health", "/health/live/../../metrics",
    "/health/live;x", "/Health/Live", "/metrics/", "//metrics", "/metri%63s", "/METRICS", "/nothing", "/predict",
    "/predict/", "/predict/multiply", "/predict/multiply/", "//predict/multiply", "/predict//multiply",
    "/predict%2Fmultiply", "/pr%65dict/multiply", "/predict/%6dultiply", "/predict_batched/multiply",
    "/predict/nothing", "/predict/multiply?x=/health/live", "/health?/health/live", "http://t/health",
    "http://t/health/live/../metrics", "/v2/models", "/v2/health/live", "/v1/models", "/invocations", "/../health/x",
    "/page", "/page/", "/page/live", "/page/live?models=multiply", "/page/model/multiply", "//page/app.js",
    "/page/app.js/", "/page/app%2ejs", "/page/../metrics", "/page/live;app.js", "/index.html", "/./",
]  # fmt: skip
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND")


@pytest.mark.parametrize("target", TARGETS)
def test_A18_no_path_and_no_method_goes_round_the_policy(locked: Locked, target: str) -> None:
    """`//`, trailing slash, HEAD, OPTIONS, /docs, /metrics: 401 without a key, 403 with one for something else."""
    for method in METHODS:
        without, wrong = locked.get(target, None, method), locked.get(target, "schwift_" + "A" * 43, method)
        # What is no HTTP at all is refused before anything is asked.
        assert {without.status, wrong.status} <= {401, 400}, method
        assert without.status == wrong.status
        if without.status == 401 and method != "HEAD":
            # In the words of the protocol whose address it is.
            if target.startswith(("/v1/", "/v2/")):
                assert set(without.json) == {"error"}
            elif target == "/invocations":
                assert without.json["error_code"] == "UNAUTHENTICATED"
            else:
                assert_refused(without, 401)
        if "metri" not in target.lower():
            assert locked.get(target, locked.keys.metrics, method).status in (403, 400), method


@pytest.mark.parametrize("method", METHODS)
def test_A18_free_are_two_paths_and_one_word(locked: Locked, method: str) -> None:
    """/health/live and /health/ready, whatever is shown there; only `read` hears more."""
    for key in (None, "wrong", locked.keys.one, locked.keys.metrics):
        for target in ("/health/live", "/health/ready", "/health/ready?x=1"):
            reply = locked.get(target, key, method)
            assert reply.status == (200 if method in ("GET", "HEAD") else 405)
            if method == "GET":
                assert reply.json == {"status": "ok"}
    if method == "GET":
        assert set(locked.get("/health/ready", locked.keys.reader).json["models"]) == {"multiply", "other"}


@pytest.mark.parametrize("method", METHODS)
def test_A18_the_page_s_files_are_free_and_name_no_model(locked: Locked, method: str) -> None:
    """The shell opens without a key, and has nothing of the server in it."""
    for key in (None, "wrong", locked.keys.metrics):
        for target in ("/", "/?key=x", "/page/app.js", "/page/base.css"):
            reply = locked.get(target, key, method)
            assert reply.status == (200 if method in ("GET", "HEAD") else 405)
            assert b"multiply" not in reply.body


def test_A18_each_scope_opens_its_own(locked: Locked) -> None:
    """By key: what it reads, and what it may predict with."""
    keys = locked.keys
    wanted = {
        keys.everything: {"/health": 200, "/available_models": 200, "/docs": 200, "/metrics": 200, "/nothing": 404},
        keys.reader: {"/health": 200, "/available_models": 200, "/openapi.json": 200, "/metrics": 403, "/nothing": 404},
        keys.metrics: {"/health": 403, "/available_models": 403, "/docs": 403, "/metrics": 200, "/nothing": 403},
        keys.one: {"/health": 403, "/available_models": 403, "/docs": 403, "/metrics": 403, "/nothing": 403},
    }
    for key, statuses in wanted.items():
        assert {target: locked.get(target, key).status for target in statuses} == statuses
    predictions = {keys.everything: (200, 200, 404), keys.one: (200, 403, 403), keys.reader: (403, 403, 403)}
    for key, expected in predictions.items():
        for query in ("", "?x=1"):
            targets = [f"/predict/{name}{query}" for name in ("multiply", "other", "nothing")]
            assert tuple(locked.predict(target, key).status for target in targets) == expected


def test_A18_a_name_is_not_told_to_who_may_not_use_it(locked: Locked) -> None:
    """A model that is there and one that is not are answered alike."""
    there, not_there = (locked.predict(f"/predict/{name}", locked.keys.one) for name in ("other", "nothing"))
    for reply in (there, not_there):
        assert_refused(reply, 403)
    assert there.json | {"request_id": ""} == not_there.json | {"request_id": ""}
    assert set(there.headers) == set(not_there.headers)


@pytest.mark.parametrize("name", ["api_key", "key", "X-API-Key", "access_token", "token"])
def test_A18_a_key_in_a_query_neither_works_nor_is_logged(locked: Locked, name: str) -> None:
    """On each way into the server."""
    key = locked.keys.everything
    assert_refused(locked.get(f"/health?{name}={key}"), 401)
    assert_refused(locked.predict(f"/predict/multiply?{name}={key}"), 401)
    assert_refused(locked.predict(f"/predict/{key}"), 401)
    assert key not in locked.server.output


def test_A18_a_refusal_does_not_wait_for_the_body(locked: Locked) -> None:
    """16 MiB are declared, and not one byte of them is sent."""
    large = (("Content-Type", "application/json"), ("Content-Length", str(16 << 20)))
    for target in ("/predict/multiply", "/predict/nothing", "/health"):
        assert_refused(send(locked.url, head("POST", target, *large)), 401)
        if target != "/predict/multiply":
            assert_refused(send(locked.url, head("POST", target, *large, ("X-API-Key", locked.keys.one))), 403)


def everywhere(locked: Locked, key: str, status: int) -> None:
    """Until each worker says so."""
    wait_for(lambda: {locked.get("/health", key).status for _ in range(TRIES)} == {status}, 20)


def replace(file: Path, text: str) -> None:
    """As the command does: a new file in the old one's place."""
    new = file.with_name("new.json")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o600)
    new.replace(file)


def test_A18_a_change_counts_without_a_restart_in_every_worker(locked: Locked) -> None:
    """A key that is added, one that is revoked, and a file that is broken: then the keys of before hold."""
    file = locked.keys.file
    key = add_key(file, "new", "--read")
    everywhere(locked, key, 200)
    text = file.read_text(encoding="utf-8")
    said = locked.server.output.count("the API keys stay as they were")
    replace(file, "{")
    wait_for(lambda: locked.server.output.count("the API keys stay as they were") == said + WORKERS)
    everywhere(locked, key, 200)
    replace(file, text)
    keys_command(file, "revoke", "new")
    everywhere(locked, key, 401)
    # Once in each worker, however long it was broken.
    assert locked.server.output.count("the API keys stay as they were") == said + WORKERS


def test_A18_the_log_has_the_names_of_keys_and_never_a_key(locked: Locked) -> None:
    """An access line for each request, an audit line for a refusal."""
    shown = "schwift_" + "B" * 43
    ok = send(locked.url, head("GET", "/health", ("X-API-Key", locked.keys.reader), ("X-Request-Id", "ok-1")))
    post(locked.url, "/predict/multiply", ROW, ("X-API-Key", locked.keys.one), ("X-Request-Id", "ok-2"))
    assert ok.status == 200
    # The lines that a flood may have are filled again.
    wait_for(lambda: refusal_is_logged(locked, shown), 20, 0.5)
    wait_for(lambda: re.search(r"request_id=ok-2 .* key=one$", locked.server.output, re.MULTILINE))
    output = locked.server.output
    assert re.search(r"request_id=ok-1 .* key=reader$", output, re.MULTILINE)
    keys = locked.keys
    for secret in (shown, keys.everything, keys.one, keys.reader, keys.metrics):
        assert secret not in output


def refusal_is_logged(locked: Locked, shown: str) -> bool:
    """One more refusal of each kind; whether there is an audit line of both by now."""
    post(locked.url, "/predict/other", ROW, ("X-API-Key", locked.keys.one), ("X-Request-Id", "no-1"))
    send(locked.url, head("GET", "/metrics", ("X-API-Key", shown), ("X-Request-Id", "no-2")))
    lines = [
        r"schwift\.audit: status=403 why=scope scope=predict model=other client=127\.0\.0\.1 key=one request_id=no-1",
        r"schwift\.audit: status=401 why=unknown scope=metrics model=- client=127\.0\.0\.1 key=- request_id=no-2",
    ]
    return all(re.search(line, locked.server.output) for line in lines)


def test_A18_a_flood_of_refusals_is_counted_and_not_written(locked: Locked) -> None:
    """A line is short and there are few; one says how many there were not."""
    before = locked.server.output.count("schwift.audit")
    for _ in range(300):
        locked.get("/health")
    wait_for(lambda: re.search(r"schwift\.audit: .*unsaid_before=\d+", locked.server.output), 20)
    assert locked.server.output.count("schwift.audit") - before < 150
