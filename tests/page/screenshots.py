"""Take the pictures of docs/page.md: `make screenshots`. Each at 1280 and at 390 pixels."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
from PIL import Image

from tests.page.browser import Browser, Tab, running_browser
from tests.page.page_models import put_page_models
from tests.support.servers.server import ROOT, Server, stop_on_sigterm
from tests.support.servers.serving import serving

FOLDER = ROOT / "docs" / "images"
SIZES = {1280: 860, 390: 844}
# So that each sparkline has something to show.
_LOAD_SECONDS = 40
# As many as a palette has: a third of the bytes.
_COLOURS = 256
SEND = "#detail button[type=submit]"
PERSON = ["44", "Lima", "", "17"]


@contextlib.contextmanager
def busy(server: Server) -> Iterator[None]:
    """Requests for some models, more of them as time goes on, for the length of a block."""
    over = threading.Event()

    def ask(endpoint: str, model: str, row: list[float], after: float, pause: float) -> None:
        with httpx.Client() as client:
            over.wait(after)
            while not over.wait(pause):
                client.post(f"{server.url}/{endpoint}/{model}", json={"features": [row]})

    iris = [6.1, 2.8, 4.7, 1.2]
    plans = [("predict_batched", "iris_onnx", iris, 6 + i, 0.004 * (i % 3)) for i in range(14)]
    plans += [("predict", "flowers", iris, 0, 0.05), ("predict", "multiply", [1.0, 2.0, 3.0], 12, 0.02)]
    threads = [threading.Thread(target=ask, args=plan) for plan in plans]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


async def see(tab: Tab, server: Server, model: str) -> None:
    """Show a model, with its numbers."""
    await tab.open(f"{server.url}/#{model}")
    await tab.until_text("#detail h1", model)
    await tab.until_text(".tile:nth-child(4) .value", "")
    await asyncio.sleep(5)


async def idle(tab: Tab, server: Server) -> None:
    """A model that nobody asks."""
    await see(tab, server, "flowers")


async def error(tab: Tab, server: Server) -> None:
    """Rows of which one is a value short."""
    await see(tab, server, "flowers")
    await tab.click(".form .tabs button:nth-child(2)")
    await tab.type("#features-json", "[[5.1, 3.5, 1.4, 0.2], [7.2, 3.2, 6.0]]")
    await tab.click(SEND)
    await tab.until_text(".error", "422")
    await asyncio.sleep(2.5)


async def columns(tab: Tab, server: Server) -> None:
    """A model with named columns, asked and answered."""
    await see(tab, server, "income")
    for i, value in enumerate(PERSON):
        await tab.type(f"#column-{i}", value)
    await tab.click(SEND)
    await tab.until_text(".answer", "200")
    await asyncio.sleep(2.5)


async def keep(tab: Tab, folder: Path, name: str, dark: bool = False) -> None:
    """Write what is seen as files, one for each size."""
    for width, height in SIZES.items():
        await tab.look(width, height, dark)
        await tab.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        await asyncio.sleep(0.4)
        picture = Image.open(io.BytesIO(await tab.screenshot(whole=width < 500))).convert("RGB")
        small = picture.quantize(_COLOURS, dither=Image.Dither.NONE)
        small.save(folder / f"page-{name}-{width}.png", optimize=True)
    await tab.look(1280, SIZES[1280])


async def take(browser: Browser, server: Server, folder: Path) -> None:
    """Take all pictures."""
    async with browser.tab(server.url, height=SIZES[1280]) as tab:
        await idle(tab, server)
        await keep(tab, folder, "idle")
        await columns(tab, server)
        await keep(tab, folder, "columns", dark=True)
        await error(tab, server)
        await keep(tab, folder, "error")
        await see(tab, server, "iris_onnx")
        with busy(server):
            await asyncio.sleep(_LOAD_SECONDS)
            await tab.click(SEND)
            await tab.until_text(".answer", "200")
            await keep(tab, folder, "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    stop_on_sigterm()
    with tempfile.TemporaryDirectory() as temporary:
        served = Path(temporary) / "served"
        with (
            running_browser(Path(temporary)) as browser,
            serving(put_page_models(served / "models"), served) as server,
        ):
            asyncio.run(take(browser, server, folder))


if __name__ == "__main__":
    main()
