"""HTTPS: by the server itself, with keys on, and by an nginx in front that asks for certificates."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.attacks.keyed import add_key
from tests.support.servers import pids
from tests.support.servers.certificates import Pair, self_signed, signed, trusting
from tests.support.servers.server import ROOT, Server, environment, wait_for
from tests.support.servers.serving import serving

ROW = {"features": [[1, 2, 3]]}
RECIPE = ROOT / "deploy" / "nginx" / "mtls.conf"


def models(folder: Path) -> Path:
    shutil.copytree(ROOT / "models" / "multiply", folder / "models" / "multiply")
    return folder / "models"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Pair, str]]:
    """Serves HTTPS, and clients need a key: this one."""
    folder = tmp_path_factory.mktemp("tls")
    pair, file = self_signed(folder, "server"), folder / "keys.json"
    key = add_key(file, "all", "--predict", "all", "--read", "--metrics")
    options = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    with serving(models(folder), folder, *options, SCHWIFT_API_KEYS_FILE=str(file)) as server:
        yield server, pair, key


def test_https_is_served_and_announced(own: tuple[Server, Pair, str]) -> None:
    """The supervisor has seen each model ready, over HTTPS and with its own key."""
    server, pair, key = own
    assert server.url.startswith("https://127.0.0.1:")
    assert "ready: 1 of 1 models" in server.output
    with httpx.Client(verify=trusting(pair), headers={"X-API-Key": key}) as client:
        assert client.get(f"{server.url}/health").json()["status"] == "ok"
        # In one packet and in two, small and large.
        for _ in range(3):
            assert client.post(f"{server.url}/predict/multiply", json=ROW).json()["predictions"] == [[2.5, 5, 7.5]]
        many = client.post(f"{server.url}/predict/multiply", json={"features": [[1, 2, 3]] * 20_000}).json()
        assert many["predictions"] == [[2.5, 5, 7.5]] * 20_000
        assert client.post(f"{server.url}/predict/multiply", json=ROW, headers={"X-API-Key": "x"}).status_code == 401


def test_it_is_loaded_with_a_key_from_a_file(own: tuple[Server, Pair, str], tmp_path: Path) -> None:
    server, pair, key = own
    (tmp_path / "key").write_text(f"{key}\n", encoding="utf-8")

    def bench(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        brief = ("--rate", "50", "--duration", "0.6", "--warmup", "0")
        command = [sys.executable, "-m", "schwift", "bench", server.url, *brief, *options]
        variables = {**os.environ, **variables}
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)

    trusted = {"SSL_CERT_FILE": str(pair.certificate)}
    done = bench("--key-file", "key", "--json", "a.json", **trusted)
    assert done.returncode == 0, done.stderr
    saved = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(saved)["results"][0]["outcomes"] == {"200": 30}
    assert key not in saved + done.stdout
    nobody = bench(**trusted)
    assert (nobody.returncode, "answers 401: name a file with a key by --key-file" in nobody.stderr) == (2, True)
    strange = bench("--key-file", "key")
    assert (strange.returncode, "name its CA's file in SSL_CERT_FILE" in strange.stderr) == (2, True)


def test_nothing_older_than_tls_1_2_is_spoken(own: tuple[Server, Pair, str]) -> None:
    server, pair, _ = own
    assert handshake(server, trusting(pair), ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    assert handshake(server, trusting(pair), ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning), pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(server, old, ssl.TLSVersion.TLSv1_1)


def handshake(server: Server, context: ssl.SSLContext, version: ssl.TLSVersion) -> str | None:
    """What was agreed on, where the client speaks this version alone."""
    context.maximum_version = version
    with contextlib.suppress(ValueError):
        context.minimum_version = version
    address = urlsplit(server.url)
    assert address.hostname and address.port
    with (
        socket.create_connection((address.hostname, address.port), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname=address.hostname) as secure,
    ):
        return secure.version()


def test_plain_http_gets_no_answer_there(own: tuple[Server, Pair, str]) -> None:
    server, _, _ = own
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url.replace("https", "http") + "/health/live", timeout=10)
    assert server.process.poll() is None


def test_the_internal_key_stands_on_no_command_line_and_in_no_log(own: tuple[Server, Pair, str]) -> None:
    server, _, _ = own
    (pid,) = pids.adapters(server)
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (key,) = [line.partition(b"=")[2].decode() for line in variables if line.startswith(b"SCHWIFT_INTERNAL_KEY=")]
    assert len(key) > 40
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [command for command in commands if key.encode() in command]
    assert key not in server.output


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("a.pem", "b.key", "are no pair of a certificate and its key"),
        ("a.key", "a.pem", "are no pair of a certificate and its key"),
        ("a.pem", "locked.key", "the key without a password"),
        ("nothing.pem", "a.key", "SCHWIFT_TLS_CERT: "),
        ("a.pem", "", "SCHWIFT_TLS_KEY: HTTPS needs the key too"),
        ("", "a.key", "SCHWIFT_TLS_CERT: HTTPS needs the certificate too"),
    ],
)
@pytest.mark.parametrize("command", [("-m", "schwift", "serve", "--port", "0"), ("-m", "adapter")])
def test_a_wrong_pair_is_2_and_a_sentence(
    tmp_path: Path, command: tuple[str, ...], certificate: str, key: str, said: str
) -> None:
    """Both programs that serve say so before anything is built or started."""
    a = self_signed(tmp_path, "a")
    self_signed(tmp_path, "b")
    locked = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-in", str(a.key), "-out", "locked.key"]
    subprocess.run(locked, cwd=tmp_path, capture_output=True, timeout=30, check=True)
    settings = {"SCHWIFT_TLS_CERT": certificate, "SCHWIFT_TLS_KEY": key}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment(tmp_path, settings),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def behind_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Pair, Path]]:
    """The recipe's own file, with ports and paths of the test: its address, its certificate, and the folder."""
    folder = tmp_path_factory.mktemp("mtls")
    file = folder / "keys.json"
    key = add_key(file, "nginx", "--predict", "all")
    settings = {"SCHWIFT_API_KEYS_FILE": str(file), "SCHWIFT_TRUSTED_HOPS": "1", "SCHWIFT_ACCESS_LOG": "all"}
    with serving(models(folder), folder, **settings) as server:
        tls = folder / "tls"
        tls.mkdir()
        pair, authority = self_signed(tls, "server"), self_signed(tls, "clients-ca")
        signed(tls, "client", authority)
        self_signed(tls, "stranger")
        (tls / "schwift_key.conf").write_text(f"proxy_set_header X-API-Key {key};\n", encoding="utf-8")
        with nginx(folder, urlsplit(server.url).netloc) as url:
            yield url, pair, folder


@contextlib.contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    recipe = RECIPE.read_text(encoding="utf-8")
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:8005", upstream),
        ("/etc/nginx/tls", str(folder / "tls")),
    ):
        assert old in recipe
        recipe = recipe.replace(old, new)
    temporary = "".join(
        f"{kind}_temp_path {folder}/nginx-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; worker_processes 1;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{temporary}{recipe}\n}}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: _open(port))
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def ask(behind_nginx: tuple[str, Pair, Path], client: str | None, **headers: str) -> httpx.Response:
    url, pair, folder = behind_nginx
    context = trusting(pair)
    if client is not None:
        context.load_cert_chain(folder / "tls" / f"{client}.pem", folder / "tls" / f"{client}.key")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(f"{url}/predict/multiply", json=ROW, verify=context, headers=sent, timeout=30)


def test_the_nginx_recipe_lets_in_who_has_a_certificate(behind_nginx: tuple[str, Pair, Path]) -> None:
    """With the key that nginx holds, whatever the client says it is."""
    assert ask(behind_nginx, "client").json()["predictions"] == [[2.5, 5, 7.5]]
    forged = ask(
        behind_nginx, "client", X_API_Key="wrong", Authorization="Bearer wrong", X_Forwarded_For="10.0.0.1",
        X_Request_Id="forged-1",
    )  # fmt: skip
    assert forged.status_code == 200
    _, _, folder = behind_nginx
    output = (folder / "serve.log").read_text(encoding="utf-8")
    (line,) = [line for line in output.splitlines() if "forged-1" in line]
    assert "client=127.0.0.1" in line and "key=nginx" in line


@pytest.mark.parametrize("client", [None, "stranger"])
def test_the_nginx_recipe_keeps_out_who_has_none(behind_nginx: tuple[str, Pair, Path], client: str | None) -> None:
    response = ask(behind_nginx, client)
    assert response.status_code == 400
    assert "SSL certificate" in response.text
