"""An nginx from Debian that passes offered upgrades on, as it is set up in front of websockets."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.servers.ports import free_port, takes_connections
from tests.support.servers.server import wait_for

_CONFIG = """\
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    {temporary}
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{upstream};
            proxy_http_version 1.1;
            proxy_request_buffering {buffering};
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }}
    }}
}}
"""


@contextlib.contextmanager
def passing_upgrades(server_url: str, folder: Path, buffering: str) -> Iterator[str]:
    """It in front of a server, for the length of a block; its own address.

    `buffering` is `on` or `off`: whether a body is read whole before it is passed on.
    """
    folder.mkdir()
    port = free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            port=port,
            upstream=urlsplit(server_url).netloc,
            buffering=buffering,
            temporary="".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
        ),
        encoding="utf-8",
    )
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or shutil.which("nginx")
    assert nginx, "needs nginx: apt-get install nginx"
    command = [nginx, "-c", str(config), "-p", str(folder), "-e", f"{folder}/nginx.log"]
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        wait_for(lambda: takes_connections(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "output").read_text(encoding="utf-8")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
