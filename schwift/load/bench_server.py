"""The server that is loaded: its address, what it says of its models, and the bytes of requests to it."""

from __future__ import annotations

import http.client
import json
import resource
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

from converter.errors import SchwiftError
from schwift.load.load_generator import LoadTarget

_TIMEOUT_SECONDS = 10.0
_PORTS = {"http": 80, "https": 443}
# What a process has open beside its connections, at most.
_OTHER_FILES = 64


class BenchProblem(SchwiftError):
    """What stands in the way of a measurement: a server that does not answer, or options that do not fit it."""

    exit_code = 2


class BenchServer:
    """One server, at a URL that may have a path before the endpoints'. `key` is an API key, or None."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = _split(url)
        self.url = url.rstrip("/")
        self._scheme, self._host = parts.scheme, parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._prefix = parts.path.rstrip("/")
        self._netloc = parts.netloc
        self._key = {"X-API-Key": key} if key else {}

    def get(self, path: str) -> Any:
        """Return the JSON that a path answers with 200. Raises BenchProblem, with a remedy."""
        request = urllib.request.Request(self.url + path, headers={"Accept": "application/json", **self._key})
        # A proxy would be asked here and not by the load.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            hint = ": name a file with a key by --key-file" if error.code in (401, 403) else ""
            raise BenchProblem(f"{self.url}{path} answers {error.code}{hint}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise BenchProblem(
                    f"the certificate of {self.url} is not trusted here: name its CA's file in SSL_CERT_FILE"
                ) from error
            raise BenchProblem(
                f"no server answers at {self.url}: {reason}: start `schwift serve`, or name another URL"
            ) from error
        except ValueError as error:
            raise BenchProblem(f"what answers at {self.url} is no schwift serve: name its URL") from error

    def target(self, path: str, bodies: Iterable[bytes], headers: Mapping[str, str] | None = None) -> LoadTarget:
        """Return the requests that post these bodies to a path."""
        named = {"Host": self._netloc, "Content-Type": "application/json", **self._key, **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        head = f"POST {self._prefix}{urllib.parse.quote(path)} HTTP/1.1\r\n{lines}"
        requests = tuple(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
        tls = ssl.create_default_context() if self._scheme == "https" else None
        return LoadTarget(self._host, self._port, requests, tls)


def allow_connections(count: int) -> None:
    """Have this process allowed so many connections. Raises BenchProblem if it may not have them."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHER_FILES
    if most != resource.RLIM_INFINITY and wanted > most:
        raise BenchProblem(f"{count} connections are more than the {most} files a process may have: see `ulimit -Hn`")
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        is_good = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise BenchProblem(f"{url} is no address of a server: write http://HOST:PORT")
    if "@" in parts.netloc or parts.query:
        raise BenchProblem("a URL is seen by everybody on the machine: name a file with the key by --key-file")
    return parts
