"""Load balancers from Debian, run from the very files in deploy/, with other ports."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.servers.ports import free_port, takes_connections
from tests.support.servers.server import ROOT, wait_for

# What makes a file's balancer open a connection to a server for each request.
_NOT_KEPT = {
    "haproxy": [("    balance roundrobin\n", "    balance roundrobin\n    option http-server-close\n")],
    "nginx": [
        ("        keepalive 32;\n", ""),
        ("            proxy_http_version 1.1;\n", ""),
        ('            proxy_set_header Connection "";\n', ""),
    ],
}


@contextlib.contextmanager
def balancing(name: str, kept: bool, one: int, two: int, folder: Path) -> Iterator[int]:
    """`haproxy` or `nginx` in front of two ports, for the length of a block; its own port.

    Whether it has `kept`-alive connections to the servers.
    """
    port = free_port()
    text = (ROOT / "deploy" / name / {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[name]).read_text("utf-8")
    for old, new in [("8005", str(one)), ("8006", str(two)), *([] if kept else _NOT_KEPT[name])]:
        text = replaced(text, old, new)
    file = folder / f"{name}.conf"
    if name == "haproxy":
        file.write_text(replaced(text, "bind :8080", f"bind 127.0.0.1:{port}"), encoding="utf-8")
        command = ["haproxy", "-db", "-f", str(file)]
    else:
        text = replaced(text, "listen 8080", f"listen 127.0.0.1:{port}")
        parts = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = [f"{part}_temp_path {folder}/{part};" for part in parts]
        file.write_text(replaced(text, "http {\n", "\n".join(["http {", "access_log off;", *folders, ""])), "utf-8")
        ours = f"daemon off; user root; pid {folder}/pid; error_log {folder}/nginx.log;"
        command = ["nginx", "-p", str(folder), "-c", str(file), "-e", f"{folder}/nginx.log", "-g", ours]
    command[0] = shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or name
    with open(folder / f"{name}.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(lambda: takes_connections(port) or process.poll() is not None)
        assert process.poll() is None, (folder / f"{name}.log").read_text(encoding="utf-8")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def replaced(text: str, old: str, new: str) -> str:
    """The file in deploy/ has changed where this does not find what it is about."""
    assert text.count(old) == 1, f"{text.count(old)} times: {old}"
    return text.replace(old, new)
