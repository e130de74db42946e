"""The page in headless Chromium: it opens, sends, shows what a model answers, and moves with the load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adapter.page.live_numbers import MOST_MODELS
from tests.page.browser import Browser, Tab, running_browser
from tests.page.page_models import HOSTILE, put_page_models
from tests.support.servers.load import Load
from tests.support.servers.packed_models import PACKED
from tests.support.servers.server import Server
from tests.support.servers.serving import serving

NAMES = ["broken", "exact", "flowers", "income", "iris_onnx", "multiply", "progress", "reviews"]
SEND = "#detail button[type=submit]"
ROW = '#models li[data-name="{}"]'


@dataclass(frozen=True)
class Shown:
    browser: Browser
    server: Server

    def open(self, path: str = "/", **options: Any) -> Any:
        return self.browser.tab(f"{self.server.url}{path}", **options)

    def predict(self, model: str, features: Any) -> Any:
        answer = self.server.post("predict", model, features)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """A browser, and a server of models of each kind that the page tells apart; some share a process."""
    folder = tmp_path_factory.mktemp("shown")
    with (
        running_browser(tmp_path_factory.mktemp("browser")) as browser,
        serving(put_page_models(folder / "models"), folder, **PACKED) as server,
    ):
        yield Shown(browser, server)


async def see(tab: Tab, model: str) -> None:
    """Wait until a model is shown, with its form."""
    await tab.until_text("#detail h1", model)
    await tab.until(f"document.querySelector({json.dumps(SEND)}) !== null")


async def rows_of_bars(tab: Tab) -> list[list[str]]:
    return await tab.texts(".bars li", "span")


@pytest.mark.parametrize("path", ["/", "/available_models"])
async def test_it_opens_with_every_model_and_asks_nobody_else(shown: Shown, path: str) -> None:
    async with shown.open(path) as tab:
        await tab.until_text("#models", "reviews")
        assert await tab.texts("#models .name") == NAMES
        await tab.until_text(ROW.format("broken"), "failed")
        await tab.until_text(ROW.format("flowers"), "/s")
        assert "pack default" in await tab.text(ROW.format("flowers"))
        assert await tab.text("#facts strong") == "7 of 8 models ready"
        await see(tab, "broken")
        assert tab.complaints == []
        hosts = {urlsplit(address).netloc for address in tab.requests}
        assert hosts == {urlsplit(shown.server.url).netloc}


async def test_the_policy_stops_what_is_inline_and_what_goes_elsewhere(shown: Shown) -> None:
    """What the test above would see of it, were there something."""
    async with shown.open() as tab:
        await tab.until_text("#models", "reviews")
        await tab.evaluate("document.body.setAttribute('style', 'color: red')")
        await tab.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'x = 1'}))"
        )
        assert await tab.evaluate("fetch('http://192.0.2.1/').catch(() => 'stopped')") == "stopped"
        await tab.evaluate("new Promise((done) => setTimeout(done, 100))")
        directives = [name for name in ("style-src", "script-src", "connect-src") if name in " ".join(tab.complaints)]
        assert directives == ["style-src", "script-src", "connect-src"]


async def test_a_model_is_described(shown: Shown) -> None:
    async with shown.open("/#flowers") as tab:
        await see(tab, "flowers")
        await tab.until_text(".tags", "pack default")
        assert {"sklearn", "v1.0.0"} <= set((await tab.text(".tags")).splitlines())
        assert await tab.text("header.title .pill") == "ready"
        signature = (await tab.text(".signature")).replace("\t", " ")
        assert "features float64 [any, 4]" in signature
        assert "predictions float64 [any, 3]" in signature
        assert await tab.text(".classes") == "Classes\nsetosa\nversicolor\nvirginica"


async def test_the_example_is_answered_with_a_bar_for_each_class(shown: Shown) -> None:
    async with shown.open("/#flowers") as tab:
        await see(tab, "flowers")
        await tab.type("#input-0-0", "6.25")
        await tab.click(SEND)
        await tab.until_text(".answer", "200")
        assert tab.posted == ['{"features": [[6.25, 2, 3, 4]]}']
        (shares,) = shown.predict("flowers", [[6.25, 2, 3, 4]])
        bars = await rows_of_bars(tab)
        assert [name for name, _ in bars] == ["setosa", "versicolor", "virginica"]
        assert [float(value.strip("< %")) for _, value in bars] == pytest.approx([100 * x for x in shares], abs=0.06)
        assert tab.complaints == []


async def test_columns_are_fields_by_their_names_and_may_be_empty(shown: Shown) -> None:
    async with shown.open("/#income") as tab:
        await see(tab, "income")
        assert await tab.texts(".fields label") == ["age", "city", "hours", "education"]
        for i, value in enumerate(["44", "Lima", "", "17"]):
            await tab.type(f"#column-{i}", value)
        await tab.click(SEND)
        await tab.until_text(".answer", "200")
        record = {"age": 44, "city": "Lima", "hours": None, "education": 17}
        assert json.loads(tab.posted[0]) == {"features": [record]}
        (shares,) = shown.predict("income", [record])
        bars = await rows_of_bars(tab)
        assert [name for name, _ in bars] == ["over 50k", "up to 50k"]
        assert [float(value.strip("< %")) for _, value in bars] == pytest.approx([100 * x for x in shares], abs=0.06)


async def test_a_text_is_one_field_and_a_label_is_shown_large(shown: Shown) -> None:
    async with shown.open("/#reviews") as tab:
        await see(tab, "reviews")
        await tab.type("textarea", 'a lovely "film", größer')
        await tab.press("Enter", control=True)
        await tab.until_text(".answer", "200")
        assert json.loads(tab.posted[0]) == {"features": ['a lovely "film", größer']}
        assert await tab.text(".single") == "good"


async def test_integers_keep_their_last_digit_on_both_ways(shown: Shown) -> None:
    """They are more than a number of JavaScript holds."""
    async with shown.open("/#exact") as tab:
        await see(tab, "exact")
        await tab.type("#input-0-0", "9007199254740993")
        await tab.click(SEND)
        await tab.until_text(".answer", "200")
        assert "9007199254740993" in await tab.text(".predictions")


async def test_several_rows_are_written_as_json_and_shown_as_a_table(shown: Shown) -> None:
    async with shown.open("/#multiply") as tab:
        await see(tab, "multiply")
        await tab.click(".form .tabs button:nth-child(2)")
        assert await tab.evaluate("document.querySelector('#features-json').value") == "[[1, 2, 3]]"
        await tab.type("#features-json", "[[2, 4, 6], [8, 10, 12]]")
        await tab.click(SEND)
        await tab.until_text(".answer", "200")
        assert await tab.texts(".predictions tbody tr", "th, td") == [["0", "5", "10", "15"], ["1", "20", "25", "30"]]


async def test_what_a_model_or_a_client_wrote_is_text(shown: Shown) -> None:
    async with shown.open("/#exact") as tab:
        await see(tab, "exact")
        assert await tab.text(".lead") == HOSTILE
        await tab.open(f"{shown.server.url}/#%3Cimg%20src%3Dx%3E")
        await tab.until_text("#detail", "No model of this server is called <img src=x>.")
        assert await tab.evaluate("document.querySelectorAll('#detail img, #detail script').length") == 0
        assert not (await tab.evaluate("document.title")).startswith("taken")


async def test_errors_are_shown_in_the_server_s_words(shown: Shown) -> None:
    async with shown.open("/#exact") as tab:
        await see(tab, "exact")
        await tab.type("#input-0-1", "-1")
        await tab.click(SEND)
        await tab.until_text(".error", "500")
        assert "model_error" in await tab.text(".error")
        await tab.click(".form .tabs button:nth-child(2)")
        await tab.type("#features-json", "[[1, 2, 3]]")
        await tab.click(SEND)
        await tab.until_text(".error", "422")
        wrong = shown.server.post("predict", "exact", [[1, 2, 3]]).json()
        assert await tab.text(".error .said") == wrong["detail"]
        # Sending it would tell no more.
        await tab.type("#features-json", "[[1, 2")
        sent = len(tab.posted)
        await tab.click(SEND)
        await tab.until_text(".form .wrong", "this is not JSON")
        assert len(tab.posted) == sent
        await tab.until_text(".notes", "model_error")
        assert tab.complaints == []


@pytest.mark.parametrize("wrong", ["", "1.5", "x", "1,5", "0x1", "01", "NaN"])
async def test_a_field_that_is_no_integer_is_named_and_nothing_is_sent(shown: Shown, wrong: str) -> None:
    async with shown.open("/#exact") as tab:
        await see(tab, "exact")
        await tab.type("#input-0-1", wrong)
        await tab.click(SEND)
        await tab.until_text(".form .wrong", "features[1]: an integer is needed")
        assert await tab.evaluate("document.activeElement.id") == "input-0-1"
        assert tab.posted == []


async def test_a_failed_model_says_why_and_refuses(shown: Shown) -> None:
    reason = httpx.get(f"{shown.server.url}/health").json()["models"]["broken"]["reason"]
    async with shown.open("/#broken") as tab:
        await see(tab, "broken")
        await tab.until_text(".notes", reason)
        await tab.click(SEND)
        await tab.until_text(".error", "503")
        assert "model_unavailable" in await tab.text(".error")
        await tab.until_text(".tile:first-child .more", "/s errors")


async def test_a_sleeping_model_says_so_and_is_woken_by_a_request(shown: Shown) -> None:
    async with shown.open("/#progress") as tab:
        await see(tab, "progress")
        await tab.until_text(".notes", "the next request loads it")
        await tab.click(SEND)
        await tab.until_text(".answer", "200")
        (expected,) = shown.predict("progress", [list(range(1, 11))])
        assert float(await tab.text(".single")) == expected[0]
        await tab.until("document.querySelector('header.title .pill').innerText === 'ready'")
        await tab.until_text(ROW.format("progress"), "/s")


async def test_the_numbers_move_under_load(shown: Shown) -> None:
    async with shown.open("/#multiply") as tab:
        await see(tab, "multiply")
        await tab.until_text(".tile:first-child .value", "0/s")
        load = Load(shown.server.url, "predict_batched")
        with load.from_clients(4):
            await tab.until_number(".tile:first-child .value", 5)
            await tab.until_text(".tile:nth-child(2) .more", "p99")
            await tab.until_text(".tile:nth-child(3) .more", "rows a call")
            await tab.until_text(".tile:nth-child(5) .value", "MB")
            await tab.until_number(f"{ROW.format('multiply')} .pulse > .rate", 5)
            for line in ("rate", "p50", "p99"):
                await tab.until(f"document.querySelector('.tile .line.{line}').getAttribute('d').includes('L')")
        assert load.faults == [] and load.answered() > 20
        await tab.until_text(".tile:first-child .value", "0/s")
        assert tab.complaints == []


async def test_a_server_that_cannot_be_reached_is_said_and_comes_back(shown: Shown) -> None:
    async with shown.open("/#multiply") as tab:
        await see(tab, "multiply")
        network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await tab.send("Network.emulateNetworkConditions", offline=True, **network)
        await tab.until_text("#notice", "The server cannot be reached.")
        await tab.click(SEND)
        await tab.until_text(".error", "no answer")
        await tab.send("Network.emulateNetworkConditions", offline=False, **network)
        await tab.until("document.querySelector('#notice').hidden")
        await tab.click(SEND)
        await tab.until_text(".answer", "200")
        assert "no answer" not in await tab.text(".answer")


async def test_models_are_found_by_words_and_by_state(shown: Shown) -> None:
    async with shown.open() as tab:
        await tab.until_text("#models", "reviews")
        found = "#models li:not([hidden]) .name"
        await tab.type("#search", "pack setosa")
        assert await tab.texts(found) == ["flowers"]
        await tab.press("Enter")
        await see(tab, "flowers")
        await tab.type("#search", "no such")
        assert await tab.text("#none") == "No model fits."
        await tab.type("#search", "")
        await tab.click("#chips button:nth-child(2)")
        await tab.until("document.querySelector('#chips button:nth-child(2)').ariaPressed === 'true'")
        assert await tab.texts(found) == ["broken"]


async def test_of_hundreds_only_those_on_the_screen_are_asked_for(shown: Shown) -> None:
    listed = httpx.get(f"{shown.server.url}/available_models").json()["models"]
    many = [{**listed[-1], "name": f"model-{i:03}"} for i in range(500)] + listed
    async with shown.open("/#flowers") as tab:
        await tab.answer_instead("*/available_models", json.dumps({"models": many}))
        await tab.send("Page.reload")
        await tab.until("document.querySelectorAll('#models li').length === 508")
        tab.requests.clear()
        await tab.type("#search", "exact")
        await tab.until_text(ROW.format("exact"), "/s")
        await tab.type("#search", "")
        await tab.until_text("#models", "model-000")
        tab.requests.clear()
        while len(asked := [address for address in tab.requests if "/page/live" in address]) < 2:
            await asyncio.sleep(0.1)
        for address in asked:
            names = parse_qs(urlsplit(address).query)["models"][0].split(",")
            assert 5 < len(names) <= min(40, MOST_MODELS)
            assert names[0] == "flowers"


async def test_it_is_used_with_the_keyboard_alone(shown: Shown) -> None:
    async with shown.open() as tab:
        await tab.until_text("#models", "reviews")
        focused = "document.activeElement.id || document.activeElement.innerText"
        await tab.press("Tab")
        assert await tab.evaluate(focused) == "skip"
        outline = "(({outlineStyle: s, outlineWidth: w}) => s + w)(getComputedStyle(document.activeElement))"
        assert await tab.evaluate(outline) == "solid2px"
        await tab.press("/")
        assert await tab.evaluate(focused) == "search"
        assert await tab.evaluate("document.activeElement.value") == ""
        for _ in range(2):
            await tab.press("ArrowDown")
        assert "exact" in await tab.evaluate(focused)
        assert await tab.evaluate(outline) == "solid2px"
        await tab.press("Enter")
        await see(tab, "exact")
        await tab.evaluate("document.querySelector('.form [role=tab]').focus()")
        await tab.press("ArrowRight")
        assert await tab.evaluate(focused) == "JSON"
        assert await tab.evaluate("document.querySelector('#features-json').checkVisibility()")
        await tab.press("Tab")
        assert await tab.evaluate(focused) == "Example"


async def test_narrow_screens_show_the_list_or_a_model_and_never_scroll_sideways(shown: Shown) -> None:
    async with shown.open("/", width=390, height=844) as tab:
        await tab.until_text("#models", "reviews")
        width = "document.documentElement.scrollWidth"
        assert await tab.evaluate(width) == 390
        assert await tab.evaluate("document.querySelector('#detail').checkVisibility()") is False
        for name in NAMES:
            await tab.click(f"{ROW.format(name)} a")
            await see(tab, name)
            assert await tab.evaluate("document.querySelector('#models').checkVisibility()") is False
            assert await tab.evaluate(width) == 390, name
            await tab.click(SEND)
            await tab.until("document.querySelector('.answer .verdict') !== null")
            assert await tab.evaluate(width) == 390, name
            await tab.click(".back")
            await tab.until("document.querySelector('#models').checkVisibility()")


async def test_it_follows_the_wish_for_dark(shown: Shown) -> None:
    async with shown.open() as tab:
        await tab.until_text("#models", "reviews")
        colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        light = await tab.evaluate(colours)
        await tab.look(1280, 900, dark=True)
        assert await tab.evaluate(colours) == ["rgb(13, 16, 21)", "rgb(232, 235, 241)"]
        assert light == ["rgb(244, 245, 248)", "rgb(21, 25, 34)"]


async def test_what_is_rare_is_said_too(shown: Shown) -> None:
    """A model that was moved out of its pack and whose breaker is open, of a server whose Triton is gone."""
    live = httpx.get(f"{shown.server.url}/page/live?models=multiply").json()
    rare = {"moved_out": 1, "breaker": "open", "regime": "busy", "recoveries": 2, "queued": 7, "reason": "it hung"}
    live["models"]["multiply"] |= {**rare, "state": "recovering"}
    live["triton_up"] = False
    async with shown.open("/#multiply") as tab:
        await tab.answer_instead("*/page/live*", json.dumps(live))
        await tab.send("Page.reload")
        await tab.until_text(".tags", "moved out of its pack")
        assert "recovered 2×" in await tab.text(".tags")
        assert await tab.text("header.title .pill") == "recovering"
        notes = await tab.text(".notes")
        assert "it hung" in notes and "circuit breaker is open" in notes
        assert await tab.text(".tile:nth-child(4) .value") == "busy"
        assert await tab.text(".tile:first-child .more") == "7 waiting"
        assert await tab.text("#facts strong") == "Triton is down"


async def test_the_documents_show_each_model_with_its_own_path(shown: Shown) -> None:
    async with shown.open("/docs") as tab:
        await tab.until("document.querySelectorAll('.opblock').length > 20")
        paths = await tab.texts(".opblock", ".opblock-summary-path")
        flat = {path.replace("\u200b", "") for line in paths for path in line}
        assert {f"/predict/{name}" for name in NAMES} <= flat and "/v2/models/{name}/infer" in flat
        assert tab.complaints == [] and all(url.startswith((shown.server.url, "data:")) for url in tab.requests)
