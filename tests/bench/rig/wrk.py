"""One run of wrk: a fixed JSON body over kept-alive connections, from one thread."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
{headers}
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
local paths = {{{paths}}}
local requests, turn = {{}}, 0
function init(args)
  for i, path in ipairs(paths) do requests[i] = wrk.format(nil, path) end
end
if #paths > 0 then
  function request()
    turn = turn % #requests + 1
    return requests[turn]
  end
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{{"requests": %d, "us": %d, "refused": %d, "broken": %d, "p50": %d, "p99": %d, "max": %d}}\\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


@dataclass(frozen=True)
class Result:
    """Latencies in milliseconds. `refused` had another status than 2xx or 3xx, `broken` got no answer."""

    per_second: float
    p50: float
    p99: float
    worst: float
    refused: int
    broken: int


def run(
    url: str,
    body: Any,
    connections: int,
    seconds: float,
    headers: Mapping[str, str] = MappingProxyType({}),
    paths: Sequence[str] = (),
) -> Result:
    """Load `url` with POSTs of `body` as JSON, or as it is if it is bytes, and these headers, for whole seconds.

    If there are `paths`, they are asked in turn in the place of the URL's.
    """
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("error: wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="schwift-bench-") as folder:
        body_file, script = Path(folder, "body.json"), Path(folder, "load.lua")
        body_file.write_bytes(body if isinstance(body, bytes) else json.dumps(body).encode())
        # A JSON string is one of Lua too.
        lines = [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()]
        text = _SCRIPT.format(
            body=body_file, headers="\n".join(lines), paths=", ".join(json.dumps(path) for path in paths)
        )
        script.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [
                program,
                "-t1",
                f"-c{connections}",
                f"-d{max(1, round(seconds))}s",
                "--timeout",
                "30s",
                "-s",
                str(script),
                url,
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return Result(
        per_second=said["requests"] / (said["us"] / 1e6),
        p50=said["p50"] / 1e3,
        p99=said["p99"] / 1e3,
        worst=said["max"] / 1e3,
        refused=said["refused"],
        broken=said["broken"],
    )
