"""The process that reads files for `schwift scan`: a line of JSON for each, within bounds of memory.

Takes pickled paths from standard input, from the command alone.
"""

from __future__ import annotations

import json
import pickle
import resource
import sys

from converter.trust.scan import DAMAGED, FileReport, scan_file

_MIB = 1024 * 1024
_MEMORY = 2048 * _MIB
_TIMES_SIZE = 4


def main() -> None:
    """Answer for each file."""
    paths, trust = pickle.load(sys.stdin.buffer)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for path in paths:
        try:
            bound = _MEMORY + _TIMES_SIZE * path.stat().st_size
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(
                resource.RLIMIT_AS, (bound if hard == resource.RLIM_INFINITY else min(bound, hard), hard)
            )
            report = scan_file(path, trust)
        except OSError as error:
            report = FileReport(str(path), DAMAGED, f"cannot be read: {error.strerror}")
        print(json.dumps(report.to_json()), flush=True)


if __name__ == "__main__":
    main()
