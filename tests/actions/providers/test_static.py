import asyncio
import dataclasses
import json
import os
import re
import threading
from datetime import timedelta
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import feedparser
import html5lib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.providers.static import Static, StaticOptions
from engine import wiring
from engine.config import load_config
from engine.domain import StatusUpdate
from engine.plugins import OURSELVES, ActionError, EffectClass, effect_class
from engine.problems import render
from tests.fakes import MONDAY, FakeClock, FakeConnection, an_effect

COMPONENTS = {"checkout": "Checkout", "api": {"name": "API", "description": "For partners", "services": ["gateway"]}}
URL = "https://status.example.com"


@pytest.fixture
def connection(tmp_path):
    return FakeConnection(tmp_path, name="status", zone="Europe/Prague")


def a_page(connection, **options):
    given = {"components": COMPONENTS, "url": URL, "title": "Example status", **options}
    return Static.build(StaticOptions(**given), connection)


@pytest.fixture
def page(connection):
    return a_page(connection)


async def opened(page, token="tok1", title="Checkout is slow", text="We look into it.", *, incident=None, **more):
    effect = an_effect(token)
    entry = await page.create(title, StatusUpdate(text, **more), incident=incident, effect=effect)
    page._connection.storage.apply(effect)
    return entry


async def updated(page, token, text="More.", entry="status:tok1", after="5m", **more):
    effect = dataclasses.replace(an_effect(token), at=MONDAY + timedelta(minutes=int(after[:-1])))
    return await page.update(entry, StatusUpdate(text, **more), effect=effect)


def read(connection, name="index.html"):
    return (connection.folder / "status" / name).read_text("utf-8")


VOID = {"meta", "link", "br", "hr"}
#: What may not stand inside a paragraph.
BLOCKS = {"p", "ol", "ul", "li", "pre", "blockquote", "table", "section", "article", "h1", "h2", "h3", "hr", "div"}


class Page(HTMLParser):
    """A strict reader: every element is closed in order, blocks stand where they may, ids are unique."""

    def __init__(self, text):
        super().__init__()
        html5lib.HTMLParser(strict=True).parse(text)  # raises at the first thing that the standard calls a mistake
        self.open, self.ids, self.links, self.headings, self.words, self.times = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names))
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.times += [given["datetime"]] if tag == "time" else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        assert not (tag in BLOCKS and "p" in self.open), (tag, self.open)
        assert tag not in ("script", "img", "iframe", "form", "object")
        assert not any(name.startswith("on") for name in names)
        assert tag != "li" or self.open[-1] in ("ul", "ol")
        assert "aria-labelledby" not in given or f'id="{given["aria-labelledby"]}"' in self.rawdata
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def feed(connection):
    assert not feedparser.parse(read(connection, "feed.xml").encode()).bozo
    channel = ElementTree.fromstring(read(connection, "feed.xml").encode()).find("channel")
    names = ("title", "link", "description", "guid", "pubDate")
    return channel, [{name: item.findtext(name) for name in names} for item in channel.findall("item")]


# --- what the page says


async def test_an_entry_stands_on_the_page_with_its_message_its_components_and_its_times(page, connection):
    entry = await opened(page, impact="major", components={"checkout": None, "gateway": None})
    found = Page(read(connection))
    assert "Some systems are partly down" in found.text
    assert "Some systems are partly down Checkout, API Now" in found.text
    assert "Checkout is slow Major impact · Investigating · Checkout, API Since Mon 2 Mar 2026, 10:00 CET" in found.text
    assert "Investigating · 10:00 CET We look into it." in found.text
    assert "API Partial outage For partners" in found.text
    assert found.times[0] == "2026-03-02T10:00:00+01:00"
    assert entry.components == {"checkout": "partial_outage", "api": "partial_outage"}
    assert entry.url == f"{URL}/incidents/tok1.html"
    assert (entry.id, entry.state, entry.created_at) == ("status:tok1", "investigating", MONDAY)


async def test_messages_stand_newest_first_and_say_how_far_it_was(page, connection):
    await opened(page, components={"checkout": "major_outage"})
    await updated(page, "tok2", "We found it.", state="identified", impact="critical")
    entry = await updated(page, "tok3", "A fix is out.", "status:tok1", "9m", state="monitoring")
    text = Page(read(connection)).text
    order = [
        text.index(words) for words in ("Critical impact · Monitoring", "A fix is out", "We found it", "We look into")
    ]
    assert order == sorted(order)
    assert (entry.state, entry.impact, entry.components) == ("monitoring", "critical", {"checkout": "major_outage"})


async def test_what_is_resolved_is_past_and_its_components_work_again(page, connection):
    await opened(page, impact="critical", components={"checkout": None})
    entry = await updated(page, "tok2", "It is over.", state="resolved")
    text = Page(read(connection)).text
    assert "All systems are operational" in text
    assert "Checkout Operational" in text
    assert text.index("Past incidents") < text.index("Checkout is slow")
    assert (entry.state, entry.resolved_at) == ("resolved", MONDAY + timedelta(minutes=5))
    assert entry.components == {"checkout": "operational"}


async def test_to_resolve_what_is_resolved_adds_nothing(page, connection):
    await opened(page)
    first = await updated(page, "tok2", "It is over.", state="resolved")
    data = read(connection, "status.json")
    assert await updated(page, "tok3", "Over again.", after="9m", state="resolved") == first
    assert read(connection, "status.json") == data


async def test_a_message_to_what_is_resolved_keeps_it_so_unless_it_names_another_state(page):
    await opened(page, components={"checkout": None})
    await updated(page, "tok2", state="resolved")
    later = await updated(page, "tok3", "Our report is out.", after="9m")
    assert (later.state, later.resolved_at) == ("resolved", MONDAY + timedelta(minutes=5))
    again = await updated(page, "tok4", "It is back.", after="10m", state="investigating")
    assert (again.state, again.resolved_at) == ("investigating", None)
    assert again.components == {"checkout": "degraded_performance"}


async def test_a_component_has_the_worst_state_that_an_open_entry_gives_it(page, connection):
    await opened(page, components={"checkout": "degraded_performance"})
    await opened(page, "tok2", components={"checkout": "major_outage"})
    await opened(page, "tok3", components={"Checkout": "under_maintenance"})
    assert json.loads(read(connection, "status.json"))["components"][0]["state"] == "major_outage"
    await updated(page, "tok4", entry="tok2", state="resolved")
    assert "Checkout Degraded performance" in Page(read(connection)).text


async def test_what_the_page_does_not_have_is_left_out_and_named(page):
    entry = await opened(page, components={"billing": None, "gateway": None})
    assert (entry.left_out, entry.components) == (("billing",), {"api": "degraded_performance"})


async def test_a_quiet_page_says_so(page, connection):
    await page.astart()
    found = Page(read(connection))
    assert "All systems are operational" in found.text
    assert "None in the last 30 days." in found.text
    assert "As of Mon 2 Mar 2026, 10:00 CET" in found.text
    assert feed(connection)[1] == []


async def test_what_was_resolved_long_ago_leaves_the_first_page_and_keeps_its_own(page, connection):
    await opened(page)
    await updated(page, "tok2", state="resolved")
    connection.clock.move(timedelta(days=30, minutes=5))
    await page.astart()
    assert "Checkout is slow" in Page(read(connection)).text
    connection.clock.move(timedelta(seconds=1))
    await page.astart()
    assert "Checkout is slow" not in Page(read(connection)).text
    assert "incidents/tok1.html" in Page(read(connection, "history.html")).links
    assert "Checkout is slow" in Page(read(connection, "incidents/tok1.html")).text


# --- what has been


async def test_past_incidents_stand_under_their_day_with_their_last_word_and_how_long_they_took(page, connection):
    await opened(page, text="We look.", impact="critical")
    await updated(page, "tok2", "It is better.", state="monitoring", impact="minor")
    await updated(page, "tok3", "It is over.", after="64m", state="resolved")
    found = Page(read(connection))
    assert "Past incidents Mon 2 Mar 2026 Checkout is slow Critical impact · Resolved" in found.text
    assert "Mon 2 Mar 2026, 10:00 CET – 11:04 CET · 1 h 4 min Resolved · 11:04 CET It is over." in found.text
    assert "All 3 messages" in found.text
    assert "It is better." not in found.text
    assert "It is better." in Page(read(connection, "incidents/tok1.html")).text


async def test_a_long_story_shows_its_newest_messages_first_and_leads_to_all(page, connection):
    await opened(page, text="We look.")
    for number in range(2, 8):
        await updated(page, f"tok{number}", f"Word {number}.", after=f"{number}m")
    text = Page(read(connection)).text
    assert [f"Word {number}." in text for number in (2, 3, 7)] == [False, True, True]
    assert "All 7 messages" in text
    assert "We look." in Page(read(connection, "incidents/tok1.html")).text


async def test_planned_work_is_called_maintenance_and_not_an_incident_without_impact(page, connection):
    await opened(page, impact="none", components={"api": "under_maintenance"})
    assert (
        "Maintenance is under way API Now Checkout is slow Maintenance · Investigating" in Page(read(connection)).text
    )
    await updated(page, "tok2", state="resolved")
    assert "Checkout is slow Maintenance · Resolved" in Page(read(connection)).text
    await updated(page, "tok3", "It is felt.", state="investigating", impact="minor")
    assert "Checkout is slow Minor impact · Investigating" in Page(read(connection)).text


def told(connection, component=0):
    """Give what the bars of a component say, and how high they are."""
    row = read(connection).split('<span class="bars"')[component + 1]
    label = re.search(r'aria-label="([^"]*)"', row).group(1)
    bars = re.findall(r'<i(?: class="rank(\d)")? title', row.partition("</span>")[0])
    return label, "".join(rank or "-" for rank in bars)


async def test_a_day_shows_the_worst_that_a_component_was_on_it(connection):
    page = a_page(connection, history="5d")
    await page.astart()
    await opened(page, impact="critical", components={"checkout": None})
    await updated(page, "tok2", impact="minor", after="30m")
    await updated(page, "tok3", after="2890m", components={"checkout": "operational"})  # on Wednesday
    connection.clock.move(timedelta(days=4))
    await page.astart()
    assert told(connection) == (
        "The last 5 days: Major outage on 2 Mar; Degraded performance on 3 Mar, 4 Mar",
        "42200",
    )
    assert told(connection, 1) == ("The last 5 days: no trouble", "00000")
    assert 'title="Tue 3 Mar 2026: Degraded performance"' in read(connection)


async def test_what_is_still_open_goes_on_until_today_and_what_is_reopened_begins_anew(connection):
    page = a_page(connection, history="7d")
    await opened(page, components={"checkout": None})
    await updated(page, "tok2", after="60m", state="resolved")
    await updated(page, "tok3", after="4320m", state="investigating")
    connection.clock.move(timedelta(days=5))
    await page.astart()
    assert told(connection)[1] == "-200222"


async def test_of_the_days_before_there_was_a_page_it_says_nothing(connection):
    page = a_page(connection, history="5d")
    await page.astart()
    connection.clock.move(timedelta(days=2))
    await page.astart()
    assert told(connection)[1] == "--000"
    assert 'title="Sat 28 Feb 2026: not recorded"' in read(connection)


@pytest.mark.parametrize(("zone", "bars"), [("Asia/Tokyo", "-20"), ("America/New_York", "-20"), ("UTC", "-20")])
async def test_a_day_is_one_of_the_pages_zone_and_what_ends_at_midnight_ends_on_its_day(connection, zone, bars):
    page = a_page(connection, timezone=zone, history="3d")
    midnight = {"Asia/Tokyo": 6, "America/New_York": 20, "UTC": 15}[zone]  # hours after Monday 09:00 UTC
    await opened(page, components={"checkout": None})
    await updated(page, "tok2", after=f"{midnight * 60}m", state="resolved")
    connection.clock.move(timedelta(hours=midnight + 1))
    await page.astart()
    assert told(connection)[1] == bars


async def test_a_page_that_forgets_within_a_day_draws_no_days(connection):
    await a_page(connection, history="1d").astart()
    assert "bars" not in Page(read(connection)).text
    assert "role=" not in read(connection)


async def test_no_more_days_are_drawn_than_a_phone_can_show(connection):
    await a_page(connection, history="365d").astart()
    assert len(told(connection)[1]) == 90


async def test_a_file_of_the_first_version_is_shown_as_far_as_it_tells(connection):
    (connection.folder / "status").mkdir()
    entry = {**GOOD, "impact": "major", "components": {"checkout": None}, "resolved_at": "2026-03-02T11:00:00+00:00"}
    entry["updates"] = [
        {"at": f"2026-03-02T{hour}:00:00+00:00", "state": state, "text": "t", "effect": f"e{hour}"}
        for hour, state in (("09", "investigating"), ("11", "resolved"))
    ]
    (connection.folder / "status" / "status.json").write_text(json.dumps({"incidents": [entry]}))
    connection.clock.move(timedelta(days=1))
    await a_page(connection, history="3d").astart()
    assert told(connection)[1] == "-30"
    assert "Major impact · Resolved" in Page(read(connection)).text


class UntilNoon(FakeClock):
    """A clock on which whatever is waited for comes at once, until noon; then it stands still."""

    def __init__(self):
        super().__init__()
        self.waits, self.stands = [], asyncio.Event()

    async def wait_until(self, due, wake):
        self.waits.append(f"{due:%H:%M}")
        if due.hour > 12:
            self.stands.set()
            await wake.wait()
        else:
            self.instant = due


async def test_the_page_is_written_again_every_hour_until_the_engine_ends(tmp_path):
    clock = UntilNoon()
    connection = FakeConnection(tmp_path, name="status", clock=clock)
    page = a_page(connection)
    await page.astart()
    assert "As of Mon 2 Mar 2026, 09:00 UTC" in Page(read(connection)).text
    await clock.stands.wait()
    assert clock.waits == ["10:00", "11:00", "12:00", "13:00"]
    assert "As of Mon 2 Mar 2026, 12:00 UTC" in Page(read(connection)).text
    await page.aclose()
    assert "As of Mon 2 Mar 2026, 12:00 UTC" in Page(read(connection)).text


# --- its HTML


async def test_markdown_is_shown_and_html_in_it_is_text(page, connection):
    text = "**Slow** at [the shop](https://shop.example/?a=1&b=2), [bad](javascript:alert)\n\n- one\n- two\n\n<b>x</b>"
    await opened(page, text=text)
    html = read(connection)
    assert "<strong>Slow</strong> at " in html
    assert '<a href="https://shop.example/?a=1&amp;b=2" rel="nofollow noopener">the shop</a>' in html
    assert "<ul><li>one</li><li>two</li></ul>" in html
    assert "&lt;b&gt;x&lt;/b&gt;" in html
    assert "javascript" not in "".join(Page(html).links)


EVERYTHING = """# Head\n\n1. one\n2. two\n   - [x] done\n   - [ ] open\n\n> quoted\n> - more\n\n---\n\n
| a | b |\n|---|---|\n| 1 | `2` |\n\n```\n<code>\n```\n\nA ~~gone~~ *word*  \nand a line"""


async def test_all_of_markdown_makes_a_page_that_is_well_formed(page, connection):
    await opened(page, text=EVERYTHING)
    found = Page(read(connection))
    assert found.headings == [1, 2, 3, 2, 2]
    assert "☑ done" in found.text


@pytest.mark.parametrize(
    "title", ['<script>alert("x")</script>', "</h3></article>", "a & b", "x\x00\ud800\x1b\n\ty", "&#x3c;"]
)
async def test_no_title_breaks_out_of_the_page(page, connection, title):
    await opened(page, title=title, text=title)
    for name in ("index.html", "history.html", "incidents/tok1.html"):
        Page(read(connection, name))
    assert feed(connection)[1][0]["title"].startswith("Investigating: ")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(title=st.text(min_size=1, max_size=60), text=st.text(min_size=1, max_size=200))
async def test_any_text_makes_pages_and_a_feed_that_are_well_formed(tmp_path_factory, title, text):
    connection = FakeConnection(tmp_path_factory.mktemp("page"), name="status")
    await opened(a_page(connection), title=title, text=text)
    for name in ("index.html", "history.html", "incidents/tok1.html"):
        Page(read(connection, name))
    assert len(feed(connection)[1]) == 1


async def test_every_link_between_the_pages_leads_somewhere(page, connection):
    await opened(page)
    root = connection.folder / "status"
    for name in ("index.html", "history.html", "incidents/tok1.html"):
        for link in Page(read(connection, name)).links:
            assert link.startswith("data:") or ((root / name).parent / link).is_file(), (name, link)


async def test_the_page_needs_nothing_from_elsewhere_and_knows_light_and_dark(page, connection):
    await opened(page)
    html = read(connection)
    assert html.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert "prefers-color-scheme: dark" in html
    assert not re.search(r'(src|href)="(https?:)?//', html)
    assert "@import" not in html
    assert "url(" not in html


def luminance(color):
    digits = color if len(color) == 6 else "".join(digit * 2 for digit in color)
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


TONES = ("ink", "soft", "link", "r0", "r1", "r2", "r3", "r4")


async def test_every_colour_of_text_can_be_read_on_what_it_stands_on(page, connection):
    await page.astart()
    roots = re.findall(r":root \{([^}]*)\}", read(connection))
    assert len(roots) == 3  # light, dark, printed
    for root in roots:
        colors = dict(re.findall(r"--(\w+): #([0-9a-f]{3,6})", root))
        pairs = [(name, ground) for name in TONES for ground in ("paper", "card")]
        for name, ground in [*pairs, *(("ink", f"t{rank}") for rank in range(5))]:
            low, high = sorted((luminance(colors[name]), luminance(colors[ground])))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground)


# --- the feed


async def test_the_feed_is_rss_with_an_item_for_each_message_newest_first(page, connection):
    await opened(page, text="We *look*.")
    await updated(page, "tok2", "We found it.", state="identified")
    root = ElementTree.fromstring(read(connection, "feed.xml").encode())
    channel, items = feed(connection)
    assert (root.tag, root.attrib["version"]) == ("rss", "2.0")
    assert [channel.findtext(name) for name in ("title", "link", "description")] == [
        "Example status",
        f"{URL}/index.html",
        "Incidents of Example status",
    ]
    assert channel.find("{http://www.w3.org/2005/Atom}link").attrib["href"] == f"{URL}/feed.xml"
    assert [item["title"] for item in items] == ["Identified: Checkout is slow", "Investigating: Checkout is slow"]
    assert items[1]["description"] == "<p>We <em>look</em>.</p>"
    assert [item["guid"] for item in items] == ["hotwash:tok2", "hotwash:tok1"]
    assert parsedate_to_datetime(items[0]["pubDate"]) == MONDAY + timedelta(minutes=5)
    assert items[0]["pubDate"] == "Mon, 02 Mar 2026 10:05:00 +0100"
    assert parsedate_to_datetime(channel.findtext("lastBuildDate")) == MONDAY + timedelta(minutes=5)
    assert all(element.attrib == {"isPermaLink": "false"} for element in channel.iter("guid"))


async def test_the_feed_holds_the_newest_messages(page, connection):
    await opened(page)
    for number in range(60):
        await updated(page, f"more{number}", str(number), after=f"{number + 1}m")
    items = feed(connection)[1]
    assert (len(items), items[0]["guid"], items[-1]["guid"]) == (50, "hotwash:more59", "hotwash:more10")


# --- effects


async def test_the_same_effect_adds_nothing_twice_and_gives_the_same(page, connection):
    first = await opened(page, incident="pager:P1", components={"checkout": None})
    files = {path: path.read_bytes() for path in (connection.folder / "status").rglob("*") if path.is_file()}
    assert await opened(page, title="Other", text="Other", incident="pager:P1", components={"checkout": None}) == first
    assert {path: path.read_bytes() for path in (connection.folder / "status").rglob("*") if path.is_file()} == files
    one = await updated(page, "tok2", "Found.")
    assert await updated(page, "tok2", "Other.") == one
    assert len(feed(connection)[1]) == 2


async def test_an_effect_cut_off_after_it_was_kept_is_shown_by_the_next_attempt_or_start(page, connection):
    await opened(page)
    for name in ("index.html", "feed.xml", "incidents/tok1.html"):
        (connection.folder / "status" / name).unlink()
    await opened(page)
    assert "Checkout is slow" in read(connection)
    (connection.folder / "status" / "index.html").unlink()
    await a_page(connection).astart()
    assert "Checkout is slow" in read(connection)


async def test_an_entry_says_to_its_incident_what_it_is(page, connection):
    effect = an_effect()
    entry = await page.create("Slow", StatusUpdate("We look."), incident="pager:P1", effect=effect)
    ((name, fact),) = effect.emitted
    assert (name, fact.type, fact.subject, fact.engine, fact.own) == (
        OURSELVES,
        "incident.updated",
        "pager:P1",
        True,
        True,
    )
    assert fact.fields == {"status_page": entry}
    connection.storage.apply(effect)
    later = an_effect("tok2")
    resolved = await page.update(entry.id, StatusUpdate("Over.", state="resolved"), effect=later)
    assert later.emitted[0][1].fields == {"status_page": resolved}
    assert (await page.get(entry.id)) == resolved


async def test_nothing_in_the_folder_names_the_incident(page, connection):
    await opened(page, incident="pager:PSECRET")
    assert not any(
        "PSECRET" in path.read_text() for path in (connection.folder / "status").rglob("*") if path.is_file()
    )


async def test_an_entry_about_nothing_tells_nobody(page):
    effect = an_effect()
    entry = await page.create("Slow", StatusUpdate("We look."), incident=None, effect=effect)
    assert (effect.emitted, entry.incident, await page.get("status:gone")) == ([], None, None)


def test_what_changes_the_page_is_declared_native():
    assert {effect_class(Static.cls.create), effect_class(Static.cls.update)} == {EffectClass.NATIVE}


# --- files


async def test_no_reader_ever_sees_half_a_page(page, connection):
    await opened(page, text="x" * 20_000)
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            seen.add(read(connection)[-8:])

    reader = threading.Thread(target=watch)
    reader.start()
    for number in range(30):
        await updated(page, f"more{number}", "y" * 20_000, after=f"{number + 1}m")
    stop.set()
    reader.join()
    assert seen == {"</html>\n"}
    assert not list((connection.folder / "status").rglob("*.tmp"))


async def test_a_file_that_says_the_same_is_not_written_again(page, connection):
    await opened(page)
    await opened(page, "tok2")
    before = (connection.folder / "status" / "incidents" / "tok1.html").stat().st_ino
    await updated(page, "tok3", entry="tok2")
    assert (connection.folder / "status" / "incidents" / "tok1.html").stat().st_ino == before


async def test_web_servers_may_read_the_files(page, connection):
    await opened(page)
    modes = {path.stat().st_mode & 0o777 for path in (connection.folder / "status").rglob("*") if path.is_file()}
    assert modes == {0o644}


async def test_a_page_of_somebody_elses_is_not_overwritten(page, connection):
    (connection.folder / "status").mkdir()
    (connection.folder / "status" / "index.html").write_text("<h1>Mine</h1>")
    with pytest.raises(ActionError, match=r"'status/index.html' is there already and is no page of ours"):
        await opened(page)
    await page.astart()
    assert connection.said == [
        "the status page is not written: 'status/index.html' is there already and is no page of ours"
    ]
    assert read(connection) == "<h1>Mine</h1>"


async def test_links_are_not_followed(page, connection):
    (connection.folder / "outside").mkdir()
    (connection.folder / "status").mkdir()
    os.symlink(connection.folder / "outside", connection.folder / "status" / "incidents")
    with pytest.raises(ActionError, match="lies outside of the folder"):
        await opened(page)
    assert list((connection.folder / "outside").iterdir()) == []


GOOD = {"id": "a", "title": "t", "state": "resolved", "impact": "none", "created_at": "2026-03-02T09:00:00+00:00",
        "components": {}, "updates": []}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "Expecting value"),
        ("[]", "it must hold 'incidents', a list"),
        ('{"incidents": [1]}', "incident 1: "),
        (json.dumps({"incidents": [{**GOOD, "state": "done"}]}), "incident 1: 'done' must be one of investigating,"),
        (json.dumps({"incidents": [{**GOOD, "id": "../a"}]}), "incident 1: '../a' is no id"),
        (json.dumps({"incidents": [{**GOOD, "created_at": "2026-03-02T09:00:00"}]}), "must have a time zone"),
        (json.dumps({"incidents": [{**GOOD, "updates": [{}]}]}), "incident 1: 'at' is missing"),
        (json.dumps({"incidents": [GOOD, GOOD]}), "two of its incidents have the same 'id'"),
        ("[" * 100_000, "it is nested too deep"),
    ],
)
async def test_what_is_kept_and_cannot_be_read_is_a_problem_that_says_why_and_is_left_alone(
    page, connection, text, why
):
    (connection.folder / "status").mkdir()
    (connection.folder / "status" / "status.json").write_text(text)
    with pytest.raises(ActionError, match=re.escape(why)) as caught:
        await opened(page)
    assert str(caught.value) == await page.check()
    assert str(caught.value).startswith("'status/status.json' cannot be read: ")
    assert read(connection, "status.json") == text


async def test_an_edit_by_hand_is_shown_with_the_next_message(page, connection):
    await opened(page, text="We lok into it.")
    path = connection.folder / "status" / "status.json"
    path.write_text(path.read_text().replace("lok", "look"))
    await updated(page, "tok2")
    assert "We look into it." in Page(read(connection)).text


async def test_a_page_that_nobody_configured_begins_with_its_first_entry(connection):
    page = Static.build(StaticOptions(), connection)
    await page.astart()
    assert await page.check() is None
    assert list(connection.folder.iterdir()) == []
    entry = await opened(page)
    assert entry.url == (connection.folder / "status" / "incidents" / "tok1.html").as_uri()


async def test_an_entry_that_is_not_there_is_a_clear_problem(page):
    with pytest.raises(ActionError, match="the status page 'status' has no entry 'gone'"):
        await updated(page, "tok2", entry="status:gone")


async def test_a_folder_that_cannot_be_written_is_a_clear_problem(page, connection):
    (connection.folder / "status").write_text("a file")
    with pytest.raises(ActionError, match=r"'status/status.json' cannot be"):
        await opened(page)


async def test_times_are_shown_in_the_pages_own_zone(connection):
    await opened(a_page(connection, timezone="America/New_York"))
    assert "Mon 2 Mar 2026, 04:00 EST" in Page(read(connection)).text


# --- options


def test_a_component_is_named_in_a_word_or_in_full():
    options = StaticOptions(components={"checkout": "Checkout", "api": {"name": "API"}, "shop": None})
    assert [one.name for one in options.components.values()] == ["Checkout", "API", "shop"]


WRONG = """\
timezone: UTC
use: {status_page: status}
connections:
  status:
    provider: static
    titel: Example
    url: status.example.com
    timezone: Prague
    history: 3bd
    components:
      checkout: [Checkout]
      api: {description: For partners}
      web: {name: Web, colour: green}
      shop: {name: ""}
"""
SAID = """\
hotwash.yaml:6:5: connection 'status' has no key 'titel' [unknown-setting]
hotwash.yaml:7:10: 'url' must be where the folder is read, such as https://status.example.com [bad-setting]
hotwash.yaml:8:15: 'timezone' must be a time zone such as Europe/Prague or UTC, not 'Prague' [bad-setting]
hotwash.yaml:9:14: 'history' must be a length such as 30d, up to ten years, not 3bd [bad-setting]
hotwash.yaml:11:17: 'checkout' must be a mapping of keys to values [bad-setting]
hotwash.yaml:12:12: 'api' of connection 'status' needs 'name' [missing-setting]
hotwash.yaml:13:32: connection 'status' has no key 'colour' there [unknown-setting]
hotwash.yaml:14:20: 'name' must have at least 1 character [bad-setting]
"""


def test_what_is_wrong_with_an_option_is_said_at_its_place(tmp_path):
    (tmp_path / "hotwash.yaml").write_text(WRONG)
    _, problems = load_config(tmp_path, wiring.catalogue(), {})
    assert [render(problem).splitlines()[0] for problem in problems] == SAID.splitlines()
