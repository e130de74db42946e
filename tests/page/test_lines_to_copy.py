"""The lines that the page offers for other programs, run as they stand; and the page with keys on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.page.browser import Browser, Tab, running_browser
from tests.page.page_models import put_exact, put_flowers, put_income, put_reviews
from tests.support.attacks.keyed import add_key
from tests.support.servers.server import Server
from tests.support.servers.serving import serving

MODELS = ["exact", "flowers", "income", "reviews"]
SEND = "#detail button[type=submit]"


@dataclass(frozen=True)
class Locked:
    browser: Browser
    server: Server
    reader: str
    everything: str
    metrics: str

    def predict(self, model: str, features: object) -> object:
        """What the server answers to features."""
        answer = self.server.post("predict", model, features, headers={"X-API-Key": self.everything})
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """A browser, and a server with keys on."""
    folder = tmp_path_factory.mktemp("locked")
    for put in (put_exact, put_flowers, put_income, put_reviews):
        put(folder / "models")
    file = folder / "keys.json"
    keys = (
        add_key(file, "reader", "--read"),
        add_key(file, "everything", "--predict", "all", "--read", "--metrics"),
        add_key(file, "metrics", "--metrics"),
    )
    with (
        running_browser(tmp_path_factory.mktemp("browser")) as browser,
        serving(folder / "models", folder, SCHWIFT_API_KEYS_FILE=str(file)) as server,
    ):
        yield Locked(browser, server, *keys)


async def give(tab: Tab, key: str) -> None:
    """Type a key into the page's field, and send it."""
    await tab.until("document.querySelector('#key')?.checkVisibility()")
    await tab.type("#key", key)
    await tab.press("Enter")


async def lines_of(tab: Tab) -> dict[str, str]:
    script = (
        "Object.fromEntries([...document.querySelectorAll('pre.lines')].map((pre) => "
        '[document.querySelector(`[aria-controls="${pre.id}"]`).innerText, pre.textContent]))'
    )
    found: dict[str, str] = await tab.evaluate(script)
    return found


def run(key: str, *command: str) -> str:
    """What a command prints that finds the key where the lines look for it."""
    environment = {**os.environ, "SCHWIFT_KEY": key}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("model", MODELS)
async def test_the_lines_work_as_they_stand_and_have_no_key(locked: Locked, model: str) -> None:
    async with locked.browser.tab(f"{locked.server.url}/#{model}") as tab:
        await give(tab, locked.everything)
        await tab.until_text("#detail h1", model)
        if model == "income":
            for i, value in enumerate(["44", "Lima", "", "17"]):
                await tab.type(f"#column-{i}", value)
        lines = await lines_of(tab)
        assert set(lines) == {"curl", "requests", "tritonclient", "JavaScript"}
        assert locked.everything not in "".join(lines.values())
        assert [name for name, text in lines.items() if "SCHWIFT_KEY" not in text] == []
        features = json.loads(lines["curl"].partition('{"features": ')[2].rpartition("}'")[0])
        expected = locked.predict(model, features)
        assert json.loads(run(locked.everything, "bash", "-c", lines["curl"]))["predictions"] == expected
        assert run(locked.everything, sys.executable, "-c", lines["requests"]) == str(expected)
        key = f"const process = {{env: {{SCHWIFT_KEY: {json.dumps(locked.everything)}}}}};"
        script = lines["JavaScript"].replace("console.log(", "return (")
        assert await tab.evaluate(f"(async () => {{ {key} {script} }})()") == expected
        kind = "str" if model == "reviews" else "object"
        # The same tensors that Triton's own port takes.
        native = lines["tritonclient"].replace(urlsplit(locked.server.url).netloc, locked.server.triton_http)
        program = f"{native}\nprint(json.dumps(answer.as_numpy('predictions').astype({kind}).tolist()))"
        printed = run(locked.everything, sys.executable, "-c", f"import json\n{program}").splitlines()[-1]
        assert json.loads(printed) == expected


async def test_the_shell_is_free_and_the_data_asks_for_a_key(locked: Locked) -> None:
    async with locked.browser.tab(locked.server.url) as tab:
        await tab.until("document.querySelector('#key').checkVisibility()")
        assert "exact" not in await tab.text("body")
        assert await tab.text("#lock-wrong") == ""
        await give(tab, "schwift_wrong")
        await tab.until_text("#lock-wrong", "The key is not valid")
        await give(tab, locked.metrics)
        await tab.until_text("#lock-wrong", "may not read")
        await give(tab, locked.reader)
        await tab.until_text("#models", "flowers")
        assert await tab.evaluate("document.querySelector('#lock').checkVisibility()") is False
        assert tab.complaints == []


async def test_the_key_is_in_the_tab_alone_and_in_no_address(locked: Locked) -> None:
    async with locked.browser.tab(f"{locked.server.url}/#flowers") as tab:
        await give(tab, locked.everything)
        await tab.until_text("#detail h1", "flowers")
        await tab.click(SEND)
        await tab.until_text(".answer", "200")
        await tab.send("Page.reload")
        await tab.until_text("#detail h1", "flowers")
        kept = "[Object.values(sessionStorage), Object.values(localStorage), document.cookie, location.href]"
        assert await tab.evaluate(kept) == [[locked.everything], [], "", f"{locked.server.url}/#flowers"]
        assert [address for address in tab.requests if locked.everything in address] == []
        assert locked.everything not in await tab.evaluate("document.documentElement.outerHTML")
        await tab.click("#forget")
        await tab.until("document.querySelector('#key').checkVisibility()")
        assert await tab.evaluate("Object.values(sessionStorage)") == []
        assert "flowers" not in await tab.text("body")
    async with locked.browser.tab(locked.server.url) as other:
        await other.until("document.querySelector('#key').checkVisibility()")
    assert locked.everything not in locked.server.output


async def test_a_key_that_may_not_predict_is_told_so(locked: Locked) -> None:
    async with locked.browser.tab(f"{locked.server.url}/#flowers") as tab:
        await give(tab, locked.reader)
        await tab.until_text("#detail h1", "flowers")
        await tab.click(SEND)
        await tab.until_text(".error", "403")
        assert "The key does not allow this." in await tab.text(".error")
        # What may be read is shown on.
        assert await tab.evaluate("document.querySelector('#models').checkVisibility()")
