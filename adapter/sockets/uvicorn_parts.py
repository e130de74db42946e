"""Name every part of uvicorn that it does not document and that this package builds on, and check that it is there.

A new version may rename any of them without notice. This is said here, at import, and not by the request that needs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

__all__ = ["STATUS_LINE", "FlowControl", "HttpToolsProtocol", "RequestResponseCycle", "ServerState"]

# Methods that are called or overridden, and attributes that are read or set.
_USED: Mapping[type, str] = {
    HttpToolsProtocol: (
        "connection_made connection_lost data_received on_message_begin on_url on_header on_headers_complete on_body "
        "on_message_complete on_response_complete resume_writing shutdown app client cycle expect_100_continue flow "
        "headers limit_concurrency logger loop parser root_path scope server_state tasks timeout_keep_alive transport "
        "url"
    ),
    RequestResponseCycle: (
        "default_headers disconnected keep_alive message_event response_complete response_started scope"
    ),
    FlowControl: "drain pause_reading resume_reading read_paused write_paused",
    ServerState: "connections default_headers tasks total_requests",
    uvicorn.Server: "capture_signals config handle_exit main_loop on_tick server_state servers shutdown startup",
    uvicorn.Config: "load ssl timeout_graceful_shutdown",
}


def check_parts(used: Mapping[type, str] = _USED) -> None:
    """Raise ImportError, naming uvicorn's version, if a class has no such method and none of its code such a name."""
    missing = [f"{kind.__name__}.{name}" for kind, names in used.items() for name in missing_names(kind, names.split())]
    if missing:
        raise ImportError(
            f"uvicorn {uvicorn.__version__} has no {', '.join(missing)}: install the version of constraints.txt "
            "(pip install -c constraints.txt .)"
        )


def missing_names(kind: type[Any], names: Collection[str]) -> list[str]:
    """Return the names that a class neither has nor mentions in its own functions, where instances get theirs."""
    known = set(dir(kind))
    for function in vars(kind).values():
        if inspect.isfunction(function):
            known.update(function.__code__.co_names)
    return [name for name in names if name not in known]


check_parts()
