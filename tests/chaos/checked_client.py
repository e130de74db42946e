"""A client that hands each answer on, whatever it is: one request at a time, a little apart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp


@dataclass(frozen=True)
class ChaosAnswer:
    """What became of one request: its status, or the name of the error if the connection failed."""

    started: float
    status: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""


async def ask_all(
    session: aiohttp.ClientSession, url: str, bodies: Iterable[bytes], hear: Callable[[ChaosAnswer], None], pause: float
) -> None:
    """Send the bodies, `pause` seconds apart."""
    for body in bodies:
        hear(await _ask(session, url, body))
        if pause:
            await asyncio.sleep(pause)


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> ChaosAnswer:
    started = time.monotonic()
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
            return ChaosAnswer(started, str(answer.status), answer.headers, await answer.read())
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # A server that is away must not turn this into a busy loop.
        await asyncio.sleep(0.05)
        return ChaosAnswer(started, type(error).__name__)
