"""Google Docs and Drive by their own specifications: Prism stands before the stand-ins and refuses what breaks them."""

from __future__ import annotations

import re

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from actions.providers.google_docs import GoogleDocsOptions, GoogleDocsProvider
from engine.capabilities import ACTION_ITEM_COLUMNS
from tests.fakes import ADA, an_effect
from tests.google_credentials import service_account

pytest.importorskip("extradoc", reason="the package extradoc, which plays Google Docs, is not installed")

from tests.google_drive import GoogleStandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPORT = """\
# Report 🔥

**Bold**, *italic*, ~~struck~~, `code`, [a link](https://x.example/). [Ada](mailto:ada@example.com)

- one
    - two
- [ ] three

1. four

> five

```
six
```

---

| What | Owner |
| --- | --- |
| Add an alert | @ada |
"""
COLUMNS = [ACTION_ITEM_COLUMNS[name] for name in ("what", "owner")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def google(prism):
    """Give the stand-in, with the address under which both specifications watch over it."""
    stand = GoogleStandIn()
    runner = await stand.start()
    stand.watched = {"/v1/": prism("google-docs", stand.url), "/drive/": prism("google-drive", stand.url)}
    session = aiohttp.ClientSession()

    async def forward(request: web.Request) -> web.Response:
        base = next((url for start, url in stand.watched.items() if request.path.startswith(start)), stand.url)
        headers = {name: value for name, value in request.headers.items() if name.lower() in _HANDED_ON}
        body = await request.read()
        async with session.request(request.method, base + request.raw_path, headers=headers, data=body or None) as got:
            return web.Response(status=got.status, body=await got.read(), content_type="application/json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    front = web.AppRunner(app)
    await front.setup()
    site = web.TCPSite(front, "127.0.0.1", 0)
    await site.start()
    stand.front = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield stand
    await session.close()
    await front.cleanup()
    await runner.cleanup()


_HANDED_ON = {"authorization", "content-type", "accept"}


@pytest_asyncio.fixture(loop_scope="module")
async def documents(google, connection):
    drafts, published = google.folder("Drafts", drive="d1"), google.folder("Published", drive="d1")
    template = google.document("Template")
    google.edit(template, {"insertText": {"location": {"index": 1}, "text": "{{title}}\n{{text}}\n"}})
    options = GoogleDocsOptions(
        credentials=service_account(f"{google.url}/token"),
        api=google.front,
        folder=drafts,
        published=published,
        templates={"ours": template},
    )
    provider = GoogleDocsProvider.build(options, connection)
    yield provider
    await provider.aclose()


async def create(documents, token, **more):
    given = {"template": None, "incident": "pager:P1", "share_with": [ADA]} | more
    return await documents.create("Checkout is slow", REPORT, **given, effect=an_effect(token))


async def test_the_life_of_a_document_keeps_to_both_specifications(documents, google):
    document = await create(documents, "life1")
    assert (await documents.find(an_effect("life1"))).id == document.id
    cursor = (await documents.changes(None)).cursor
    await documents.append(document.id, "Added\n\n- so", heading="Decisions", effect=an_effect("life2"))
    await documents.set_cells(
        document.id, COLUMNS, "ticket", {0: "[HW-1](https://t.example)"}, effect=an_effect("life3")
    )
    for _ in range(2):
        await documents.comment(document.id, "Due on Friday.", effect=an_effect("life5"))
    assert (await documents.publish(document.id, effect=an_effect("life4"))).published
    assert [fact.type for fact in (await documents.changes(cursor)).facts] == ["document.published"]
    assert "| Add an alert | [ada@example.com](mailto:ada@example.com) | [HW-1](https://t.example) |" in (
        await documents.text(document.id)
    )


async def test_a_template_is_copied_and_filled_within_both_specifications(documents):
    document = await create(documents, "copy1", template="ours", private=False)
    assert (await documents.text(document.id)).startswith("Checkout is slow\n\n# Report 🔥")


async def test_the_doctor_keeps_to_both_specifications(documents):
    assert await documents.check() is None


HEADERS = {"Authorization": "Bearer t"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/drive/v3/about?prettyPrint=perhaps", None),
        ("GET", "/drive/v3/files?pageSize=many", None),
        ("POST", "/drive/v3/files?supportsAllDrives=perhaps", {"name": "x"}),
        ("POST", "/drive/v3/files", {"name": ["x"]}),
        ("POST", "/drive/v3/files", {"appProperties": {"hotwash": 1}}),
        ("GET", "/drive/v3/files/F?supportsAllDrives=perhaps", None),
        ("PATCH", "/drive/v3/files/F?supportsAllDrives=perhaps", {}),
        ("PATCH", "/drive/v3/files/F", {"appProperties": "x"}),
        ("POST", "/drive/v3/files/F/copy", {"parents": "x"}),
        ("POST", "/drive/v3/files/F/permissions", {"role": ["writer"]}),
        ("GET", "/drive/v3/files/F/comments?pageSize=many", None),
        ("POST", "/drive/v3/files/F/comments", {"content": ["x"]}),
        ("GET", "/drive/v3/changes", None),
        ("GET", "/drive/v3/changes/startPageToken?supportsAllDrives=perhaps", None),
        ("GET", "/v1/documents/F?includeTabsContent=perhaps", None),
        ("POST", "/v1/documents/F:batchUpdate", {"requests": [{"insertTxt": {"text": "x"}}]}),
        ("POST", "/v1/documents/F:batchUpdate", {"requests": [{"insertText": {"location": {"index": "one"}}}]}),
        ("POST", "/v1/documents/F:batchUpdate", {"requests": [{"createParagraphBullets": {"bulletPreset": "DOTS"}}]}),
        ("POST", "/v1/documents/F:batchUpdate", {"requests": [], "writeControl": {"requiredRevision": "1"}}),
    ],
)
async def test_what_breaks_a_specification_is_refused(google, by_hand, method, path, body):
    number = google.document("By hand")
    base = next(url for start, url in google.watched.items() if path.startswith(start))
    answer = await by_hand(method, base + re.sub(r"/F(?=[?/:]|$)", f"/{number}", path), headers=HEADERS, body=body)
    assert answer.refused
