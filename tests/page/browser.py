"""Headless Chromium, driven by its DevTools protocol: real clicks and keys, and a note of all that a page did."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.servers.server import wait_for

_SECONDS = 30
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--no-default-browser-check", "--disable-extensions", "--remote-debugging-port=0",
    # A name leads nowhere: what is asked of elsewhere is noted, and does not get out.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)  # fmt: skip
_KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "/": 191,
}  # fmt: skip


@dataclass
class Tab:
    """One page.

    `requests` are the addresses that it asked for, `posted` the bodies that it sent, and `complaints` what the browser
    or a script said of it.
    """

    socket: aiohttp.ClientWebSocketResponse[bool]
    session: str
    requests: list[str] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _instead: str = ""
    _tasks: set[asyncio.Future[Any]] = field(default_factory=set)
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    async def send(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol, and return its result."""
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": parameters, "sessionId": self.session})
        return await asyncio.wait_for(answer, _SECONDS)

    async def listen(self) -> None:
        """Take what the browser tells, until the connection ends."""
        async for message in self.socket:
            told = json.loads(message.data)
            if told.get("sessionId") != self.session:
                continue
            waiting = self._waiting.pop(told.get("id"), None)
            if waiting is None:
                self._note(told["method"], told["params"])
            elif "error" in told:
                waiting.set_exception(AssertionError(told["error"]["message"]))
            else:
                waiting.set_result(told["result"])

    def _note(self, method: str, told: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
                self.posted += [told["request"]["postData"]] if "postData" in told["request"] else []
            case "Fetch.requestPaused":
                self._answer_paused(told["requestId"])
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                self.complaints.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning", "assert"):
                self.complaints.append(" ".join(str(item.get("value")) for item in told["args"]))
            # An answer of 422 is no complaint about the page.
            case "Log.entryAdded" if told["entry"]["source"] != "network":
                self.complaints.append(told["entry"]["text"])

    async def answer_instead(self, pattern: str, body: str) -> None:
        """Answer what is asked of addresses of a pattern in the server's place, with JSON."""
        self._instead = base64.b64encode(body.encode()).decode()
        await self.send("Fetch.enable", patterns=[{"urlPattern": pattern}])

    def _answer_paused(self, request: str) -> None:
        kind = {"name": "Content-Type", "value": "application/json"}
        told = {"requestId": request, "responseCode": 200, "responseHeaders": [kind], "body": self._instead}
        task = asyncio.ensure_future(self.send("Fetch.fulfillRequest", **told))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def evaluate(self, script: str) -> Any:
        """Return what a script comes to, as JSON has it."""
        done = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until a script comes to something true, and return that."""
        deadline = asyncio.get_running_loop().time() + _SECONDS
        while not (value := await self.evaluate(script)):
            if asyncio.get_running_loop().time() > deadline:
                text = await self.evaluate("document.body.innerText")
                raise AssertionError(f"this did not come true: {script}\n{self.complaints}\n{text}")
            await asyncio.sleep(0.05)
        return value

    async def open(self, address: str) -> None:
        """Go to an address, and wait until the page is there."""
        await self.send("Page.navigate", url=address)
        await self.until(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    async def text(self, selector: str) -> str:
        """Return the text that is seen of an element; empty if there is none."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def texts(self, selector: str, inside: str = "") -> list[Any]:
        """Return the texts of all elements that fit, drawn or not; with `inside`, of each those inside it."""
        own = (
            "node.textContent"
            if not inside
            else f"[...node.querySelectorAll({json.dumps(inside)})].map(x => x.innerText)"
        )
        found = await self.evaluate(f"[...document.querySelectorAll({json.dumps(selector)})].map((node) => {own})")
        return list(found)

    async def until_number(self, selector: str, least: float) -> None:
        """Wait until an element's text begins with a number that is at least so high."""
        text = f"(document.querySelector({json.dumps(selector)})?.innerText ?? '')"
        await self.until(f"parseFloat({text}.replace(',', '')) >= {least}")

    async def until_text(self, selector: str, wanted: str) -> str:
        """Wait until an element's text has what is wanted."""
        name = json.dumps(selector)
        await self.until(f"(document.querySelector({name})?.innerText ?? '').includes({json.dumps(wanted)})")
        return await self.text(selector)

    async def click(self, selector: str) -> None:
        """Click on the middle of an element, with the mouse."""
        place = await self.until(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)}); if (!node) return null; "
            "node.scrollIntoView({block: 'center'}); const box = node.getBoundingClientRect(); "
            "const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]; "
            # Nothing lies above it.
            "return node.contains(document.elementFromPoint(x, y)) ? [x, y] : null; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def type(self, selector: str, text: str) -> None:
        """Write into a field, in the place of what is there."""
        await self.click(selector)
        # What came in between may have moved it from under the mouse.
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.evaluate("document.activeElement.select()")
        await self.send("Input.insertText", text=text) if text else await self.press("Backspace")

    async def press(self, key: str, control: bool = False) -> None:
        """Press a key."""
        code = _KEYS.get(key, 8)
        shown = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 2 if control else 0}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        kind = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        await self.send("Input.dispatchKeyEvent", **kind, **shown)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **shown)

    async def look(self, width: int, height: int, dark: bool = False) -> None:
        """Take another size of the window, in pixels, and another wish for colours."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, whole: bool = False) -> bytes:
        """Return what is seen as PNG; the `whole` page, or the window's part of it."""
        done = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(done["data"])


@dataclass(frozen=True)
class Browser:
    """A browser that runs; `address` is that of its DevTools."""

    address: str

    @contextlib.asynccontextmanager
    async def tab(self, address: str, width: int = 1280, height: int = 900) -> AsyncIterator[Tab]:
        """Open a page with a storage of its own, for the length of a block."""
        async with aiohttp.ClientSession() as http, http.ws_connect(self.address, max_msg_size=0) as socket:
            numbers = itertools.count(1)

            async def ask(method: str, **parameters: Any) -> Any:
                number = next(numbers)
                await socket.send_json({"id": number, "method": method, "params": parameters})
                while (told := await socket.receive_json(timeout=_SECONDS)).get("id") != number:
                    pass
                return told["result"]

            context = (await ask("Target.createBrowserContext", disposeOnDetach=True))["browserContextId"]
            target = (await ask("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
            session = (await ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
            tab = Tab(socket, session)
            listener = asyncio.create_task(tab.listen())
            try:
                for domain in ("Page", "Runtime", "Network", "Log"):
                    await tab.send(f"{domain}.enable")
                await tab.look(width, height)
                await tab.open(address)
                yield tab
            finally:
                listener.cancel()


@contextlib.contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Run a browser, whose files are in a folder, for the length of a block."""
    with open(folder / "chromium.log", "wb") as log:
        process = subprocess.Popen(
            ["chromium", *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    port = folder / "profile" / "DevToolsActivePort"
    try:
        wait_for(lambda: port.exists() and port.read_text(encoding="utf-8").count("\n") == 1, _SECONDS)
        number, path = port.read_text(encoding="utf-8").split()
        yield Browser(f"ws://127.0.0.1:{number}{path}")
    finally:
        process.terminate()
        process.wait(_SECONDS)
