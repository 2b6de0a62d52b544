"""The static status page as a real browser shows it: Chromium, driven by Playwright, without JavaScript of the page."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from actions.providers.static import Static, StaticOptions
from engine.domain import StatusUpdate
from tests.fakes import MONDAY, FakeConnection, an_effect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"),
    pytest.mark.asyncio(loop_scope="module"),
]

LONG = "A_name_without_a_space_" + "x" * 70
COMPONENTS = {
    "checkout": "Checkout",
    "api": {
        "name": "Partner API",
        "description": "For partners, with a description that takes more than one line on a phone",
    },
    "long": LONG,
}
HOSTILE = "<script>document.title = 'taken'</script></h3><img src=x onerror=\"document.title='taken'\"> a & b"
EVERYTHING = f"""# Head\n\n{LONG}\n\n1. one\n2. two\n   - [x] done\n\n> quoted\n\n---\n
| a | b | c | d | e | f | g |\n|---|---|---|---|---|---|---|
| {"somewhat-long " * 3} | `2` | {"cells " * 5} | 10:00 | 11:00 | 12:00 | 13:00 |\n
```\n{"code " * 40}\n```\n\n[a link](https://example.com/?a=1&b=2) and ~~gone~~ *word*"""
PAGES = ("index.html", "history.html", "incidents/open.html", "incidents/past.html")
#: Gives each text that can be seen and whose contrast with what it stands on is below 4.5.
FAINT = """() => {
  const rgb = text => (text.match(/[\\d.]+/g) || []).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(one => one / 255)
    .map(one => one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4)
    .reduce((sum, one, at) => sum + one * [0.2126, 0.7152, 0.0722][at], 0)
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const color = rgb(getComputedStyle(one).backgroundColor)
      if (color.length === 3 || color[3] === 1) return color
    }
    return [255, 255, 255]
  }
  const found = []
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue
    const [low, high] = [light(rgb(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => a - b)
    if ((high + 0.05) / (low + 0.05) < 4.5) found.push(texts.currentNode.data.trim())
  }
  return found
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a page with an incident that is open, one that is over, planned work, and what nobody should write."""
    root = tmp_path_factory.mktemp("project")
    connection = FakeConnection(root, name="status", zone="Europe/Prague")
    page = Static.build(StaticOptions(components=COMPONENTS, title="Example status"), connection)

    async def say(token: str, text: str, *, minutes: int, to: str | None = None, title: str = "", **more: Any) -> None:
        effect = dataclasses.replace(an_effect(token), at=MONDAY + timedelta(minutes=minutes))
        news = StatusUpdate(text, **more)
        if to is None:
            await page.create(title, news, incident=None, effect=effect)
        else:
            await page.update(f"status:{to}", news, effect=effect)

    await say("past", EVERYTHING, minutes=0, title=LONG, impact="critical", components={"checkout": None})
    await say("over", "It is over.", minutes=90, to="past", state="resolved")
    await say(
        "work", "We upgrade.", minutes=95, title="Planned", impact="none", components={"long": "under_maintenance"}
    )
    await say(
        "open", EVERYTHING, minutes=100, title=HOSTILE, impact="major", components={"api": "degraded_performance"}
    )
    connection.clock.move(timedelta(days=3))
    await page.astart()
    await page.aclose()
    return root / "status"


async def shown(browser: Browser, path: Path, *, width: int = 1280, **options: Any) -> Any:
    context = await browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = await context.new_page()
    await page.goto(path.as_uri())
    return page


async def test_a_page_asks_for_nothing_but_itself_and_runs_nothing(browser, folder):
    context = await browser.new_context()
    page = await context.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    for name in PAGES:
        await page.goto((folder / name).as_uri())
        assert await page.evaluate("document.scripts.length + document.images.length") == 0
        assert "taken" not in (await page.title()).replace("document.title = 'taken'", "").replace("='taken'", "")
    assert [url for url in asked if not url.startswith("data:")] == [(folder / name).as_uri() for name in PAGES]
    assert said == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
async def test_nothing_is_wider_than_the_screen(browser, folder, width):
    for name in PAGES:
        page = await shown(browser, folder / name, width=width)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, name


async def test_no_short_name_is_broken_on_a_small_phone(browser, folder):
    page = await shown(browser, folder / "index.html", width=320)
    lines = "[...document.querySelectorAll('.name')].map(one => Math.round(one.offsetHeight / 25))"
    assert (await page.evaluate(lines))[:2] == [1, 1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_stands_out_from_what_it_stands_on(browser, folder, scheme):
    for name in PAGES:
        page = await shown(browser, folder / name, color_scheme=scheme)
        assert await page.evaluate(FAINT) == [], name


async def test_without_javascript_the_page_says_the_same(browser, folder):
    texts = []
    for allowed in (True, False):
        page = await shown(browser, folder / "index.html", java_script_enabled=allowed)
        texts.append(await page.locator("body").aria_snapshot())
    assert texts[0] == texts[1]
    assert 'heading "Example status" [level=1]' in texts[0]


async def test_who_hears_the_page_hears_what_the_others_see(browser, folder):
    page = await shown(browser, folder / "index.html")
    heard = await page.locator("body").aria_snapshot()
    assert "strong: Some systems are partly down" in heard
    assert 'img "The last 30 days: Major outage on 2 Mar"' in heard
    assert 'img "The last 30 days: Degraded performance on 2 Mar, 3 Mar, 4 Mar, 5 Mar"' in heard
    for region in ("Now", "Components", "Past incidents"):
        assert f'region "{region}"' in heard
    assert 'navigation "Pages"' in heard


async def test_a_worse_day_has_a_higher_bar(browser, folder):
    page = await shown(browser, folder / "index.html")
    heights = "Object.fromEntries([...document.querySelectorAll('.bars i')].map(e => [e.className, e.offsetHeight]))"
    found = await page.evaluate(heights)
    assert sorted(found, key=found.get) == ["", "rank0", "rank1", "rank2", "rank4"]


async def test_the_keyboard_reaches_every_link_and_shows_where_it_is(browser, folder):
    page = await shown(browser, folder / "index.html")
    links = await page.evaluate("document.links.length")
    reached = set()
    for _ in range(links + 5):  # what can be scrolled is reached, too
        await page.keyboard.press("Tab")
        link = await page.evaluate("[...document.links].indexOf(document.activeElement)")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        reached |= {link} if outline == "solid" else set()
    assert reached - {-1} == set(range(links))


async def test_printed_it_is_dark_on_white_and_without_the_navigation(browser, folder):
    page = await shown(browser, folder / "index.html", color_scheme="dark")
    await page.emulate_media(media="print", color_scheme="dark")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert await page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert not await page.locator("nav").is_visible()
    assert (await page.pdf()).startswith(b"%PDF-")
