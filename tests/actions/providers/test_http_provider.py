import asyncio
import gzip
import json
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import ValidationError
from yarl import URL

from actions.providers.http import MAX_BODY, Http, HttpOptions, is_public, redirected, unpacked
from engine.calendars import Duration
from engine.plugins import ActionError, RetryLater
from tests.fakes import FakeConnection, an_effect


async def echo(request):
    return web.json_response(
        {
            "method": request.method,
            "path": request.raw_path,
            "token": request.headers.get("X-Token"),
            "type": request.headers.get("Content-Type"),
            "body": await request.text(),
        }
    )


async def redirect(request):
    raise web.HTTPFound(request.query["to"])


async def wait(request):
    await asyncio.Event().wait()


def answers(status=200, *, body=b"", headers=None):
    async def handle(request):
        return web.Response(status=status, body=body, headers=headers)

    return handle


async def hang_up(request):
    request.transport.close()
    return web.Response()


PAGES = {
    "/v1/{tail:.*}": echo,
    "/redirect": redirect,
    "/round": answers(302, headers={"Location": "/round"}),
    "/wait": wait,
    "/hang-up": hang_up,
    "/large": answers(body=b"x" * (MAX_BODY + 1)),
    "/full": answers(body=b"x" * MAX_BODY),
    "/large-error": answers(500, body=b"x" * (MAX_BODY + 1)),
    "/bomb": answers(body=gzip.compress(b"x" * 50_000_000), headers={"Content-Encoding": "gzip"}),
    "/packed": answers(
        body=gzip.compress(b"[1]"), headers={"Content-Encoding": "gzip", "Content-Type": "text/json+json"}
    ),
    "/text": answers(body="žluť".encode("iso-8859-2"), headers={"Content-Type": "text/plain; charset=iso-8859-2"}),
    "/not-json": answers(body=b"{NaN", headers={"Content-Type": "application/json"}),
    "/nan": answers(body=b"[NaN]", headers={"Content-Type": "application/json"}),
    "/none": answers(204),
    "/later": answers(429, headers={"Retry-After": "7"}),
    "/at": answers(503, headers={"Retry-After": "Mon, 02 Mar 2026 09:02:00 GMT"}),
    "/before": answers(503, headers={"Retry-After": "Mon, 02 Mar 2026 08:00:00 GMT"}),
    "/soon": answers(503, headers={"Retry-After": "soon"}),
}


@pytest.fixture
async def server():
    application = web.Application()
    for path, handler in PAGES.items():
        application.router.add_route("*", path, handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
async def http(server):
    options = {"base_url": f"{server}/v1", "headers": {"X-Token": "s3cret"}, "allow": ["127.0.0.1"]}
    built = provider(**options)
    yield built
    await built.aclose()


def provider(**options):
    return Http.build(HttpOptions.model_validate(options), FakeConnection(Path(), name="deploys"))


async def send(http, method="GET", **more):
    given = {"url": None, "path": None, "headers": {}, "query": {}, "body": None, "timeout": None} | more
    return await http.request(method, **given, effect=an_effect())


async def test_a_path_is_appended_to_the_base_with_the_connections_headers(http):
    found = await send(http, path="/items/3", query={"q": "a b&c"})
    assert (found.status, found.body["path"], found.body["token"]) == (200, "/v1/items/3?q=a+b%26c", "s3cret")
    assert found.credentials


@pytest.mark.parametrize(
    "path",
    [
        "/../admin",
        "a/../../admin",
        "%2e%2e/admin",
        "a/%252e%252e/b",
        "..%2fadmin",
        "a/./b",
        "..\\admin",
        "%2e%2e%5cadmin",
    ],
)
async def test_a_path_cannot_leave_the_base(http, path):
    with pytest.raises(ActionError, match="'path' holds"):
        await send(http, path=path)


@pytest.mark.parametrize(
    "path", ["//127.0.0.1:1/x", "http://127.0.0.1:1/x", "@127.0.0.1:1/", ":1/", "a%2fb", "100% done"]
)
async def test_a_path_that_looks_like_an_address_stays_below_the_base(http, path):
    assert (await send(http, path=path)).body["path"].startswith("/v1/")


@pytest.mark.parametrize("path", ["a?b=c", "a#b", "a\r\nHost: x", "a\x00"])
async def test_a_path_holds_no_query_and_no_control_characters(http, path):
    with pytest.raises(ActionError, match="'path' holds"):
        await send(http, path=path)


async def test_without_a_base_there_is_nothing_to_append_to():
    with pytest.raises(ActionError, match="connection 'deploys' has no 'base_url'"):
        await send(provider(), path="/x")


async def test_an_address_that_is_not_allowed_is_refused_by_its_host():
    with pytest.raises(ActionError, match=r"'https://evil\.example' is not among the hosts") as caught:
        await send(provider(allow=["api.example.com"]), url="https://evil.example/steal?token=abc")
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("api.example.com", "https://API.example.com./x", True),
        ("api.example.com", "https://api.example.com.evil.example/", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://evilexample.com/", False),
        ("api.example.com:8080", "http://api.example.com:8080/", True),
        ("api.example.com:8080", "http://api.example.com/", False),
        ("https://api.example.com/v1", "https://api.example.com/v1/x", True),
        ("https://api.example.com/v1", "https://api.example.com/v1", True),
        ("https://api.example.com/v1", "https://api.example.com/v10", False),
        ("https://api.example.com/v1", "https://api.example.com/v1/../admin", False),
        ("https://api.example.com/v1", "https://api.example.com/v1/%2e%2e/admin", False),
        ("https://api.example.com/v1", "http://api.example.com/v1/x", False),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("*", "https://anything.example/", True),
    ],
)
def test_entries_of_allow_are_hosts_domains_ports_or_the_start_of_an_address(entry, url, allowed):
    http = provider(allow=[entry])
    if allowed:
        assert http._allowed(url) == url
    else:
        with pytest.raises(ActionError):
            http._allowed(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://api.example.com/",
        "https://user:pass@api.example.com/",
        "https://api.example.com@evil.example/",
        "https://api.example.com\\@evil.example/",
        "https://api.exa%6dple.com/",
        "https://exämple.com/",
        "https:///x",
        "api.example.com",
        "https://api.example.com:99999/",
        "https://api.example.com/a b",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "",
    ],
)
async def test_an_address_that_hides_where_it_leads_is_refused(url):
    with pytest.raises(ActionError):
        await send(provider(allow=["*"]), url=url)


async def test_a_loopback_address_is_refused_where_only_any_host_is_allowed(server):
    with pytest.raises(ActionError, match=r"'127\.0\.0\.1' leads to an address that is not public"):
        await send(provider(allow=["*"]), url=f"{server}/v1/x")


async def test_a_name_that_resolves_to_a_loopback_address_is_refused(server):
    http = provider(allow=["*"])
    with pytest.raises(ActionError, match="'localhost' leads to an address that is not public"):
        await send(http, url=server.replace("127.0.0.1", "localhost") + "/v1/x")
    await http.aclose()


async def test_a_name_that_is_allowed_may_resolve_to_a_loopback_address(server):
    http = provider(allow=["localhost"])
    found = await send(http, url=server.replace("127.0.0.1", "localhost") + "/v1/x")
    assert found.status == 200
    await http.aclose()


class Resolving:
    """Names that lead elsewhere each time they are looked up."""

    def __init__(self, *addresses):
        self.addresses, self.asked = list(addresses), 0

    async def resolve(self, host, port=0, family=0):
        self.asked += 1
        found = self.addresses.pop(0)
        known = {"hostname": host, "port": port, "family": 2, "proto": 0, "flags": 4}
        return [{**known, "host": address} for address in found]

    async def close(self): ...


async def test_the_address_that_was_looked_at_is_the_one_connected_to(server):
    http = provider(allow=["rebound.example"])
    names = http._open().connector._resolver._inner = Resolving(["127.0.0.1"], ["169.254.169.254"])
    found = await send(http, url=f"http://rebound.example:{URL(server).port}/v1/a")
    await http.aclose()
    assert (found.status, names.asked) == (200, 1)


async def test_of_several_addresses_of_a_name_only_those_that_are_permitted_are_connected_to():
    http = provider(allow=["*"])
    resolver = http._open().connector._resolver
    resolver._inner = Resolving(["10.0.0.1", "8.8.8.8", "127.0.0.1"])
    found = await resolver.resolve("mixed.example", 443)
    await http.aclose()
    assert [one["host"] for one in found] == ["8.8.8.8"]


async def test_a_host_that_a_workflow_writes_out_may_be_asked_at_public_addresses_only(server):
    http = provider()
    http.literal.add(server)
    assert http._allowed(f"{server}/v1/x")
    with pytest.raises(ActionError, match="not public"):
        await send(http, url=f"{server}/v1/x")


async def test_the_connections_headers_go_to_its_own_host_alone(server):
    http = provider(base_url="http://127.0.0.1:1/v1", headers={"X-Token": "s3cret"}, allow=[server])
    found = await send(http, url=f"{server}/v1/x")
    assert (found.body["token"], found.credentials) == (None, False)
    await http.aclose()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_of_the_public_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_of_the_public_internet(address):
    assert is_public(address)


async def test_a_redirect_on_the_same_host_is_followed(http, server):
    found = await send(http, url=f"{server}/redirect", query={"to": "/v1/there"})
    assert found.body["path"] == "/v1/there"


@pytest.mark.parametrize(
    "to", ["http://localhost:1/", "https://evil.example/", "//evil.example/", "http://127.0.0.1:1/"]
)
async def test_a_redirect_that_leaves_the_host_is_refused(http, server, to):
    with pytest.raises(ActionError, match="redirects must stay on the host"):
        await send(http, url=f"{server}/redirect", query={"to": to})


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        ("http://a.example/x", "https://a.example/y", True),
        ("http://a.example/x", "https://b.example/y", False),
        ("https://a.example/x", "http://a.example/y", False),
        ("http://a.example:8080/x", "https://a.example/y", False),
    ],
)
def test_a_redirect_may_go_over_to_https_but_not_back(old, new, stays):
    if stays:
        assert str(redirected(URL(old), new)) == new
    else:
        with pytest.raises(ActionError, match="must stay on the host"):
            redirected(URL(old), new)


async def test_a_redirect_that_goes_round_ends(http, server):
    with pytest.raises(ActionError, match="redirects more than 5 times"):
        await send(http, url=f"{server}/round")


async def test_a_posted_redirect_becomes_a_get_without_the_body(http, server):
    found = await send(http, "POST", url=f"{server}/redirect", query={"to": "/v1/there"}, body={"a": 1})
    assert (found.body["method"], found.body["body"]) == ("GET", "")


@pytest.mark.parametrize(
    ("body", "sent", "kind"),
    [
        ({"a": [1, None]}, '{"a": [1, null]}', "application/json"),
        ([1], "[1]", "application/json"),
        (False, "false", "application/json"),
        ("as it is", "as it is", "text/plain; charset=utf-8"),
    ],
)
async def test_a_body_is_sent_as_json_and_a_text_as_it_is(http, body, sent, kind):
    found = (await send(http, "POST", path="/x", body=body)).body
    assert (found["body"], found["type"]) == (sent, kind)


async def test_a_body_that_is_no_json_is_refused(http):
    with pytest.raises(ActionError, match="'body' cannot be written as JSON: it holds a set"):
        await send(http, "POST", path="/x", body={"a": {1}})


async def test_a_content_type_of_the_step_is_kept(http):
    found = await send(
        http, "POST", path="/x", body="a=b", headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert found.body["type"] == "application/x-www-form-urlencoded"


async def test_an_answer_over_the_limit_is_an_error_and_one_at_the_limit_is_not(http, server):
    assert len((await send(http, url=f"{server}/full")).body) == MAX_BODY
    with pytest.raises(ActionError, match="answered 200 with more than 256 KiB"):
        await send(http, url=f"{server}/large")


async def test_a_large_error_is_cut_so_that_its_status_counts(http, server):
    found = await send(http, url=f"{server}/large-error")
    assert (found.status, len(found.body)) == (500, MAX_BODY)


def test_unpacking_stops_one_byte_beyond_the_limit():
    assert len(unpacked(gzip.compress(b"x" * 50_000_000), "gzip")) == MAX_BODY + 1


async def test_an_answer_that_unpacks_without_end_is_refused(http, server):
    with pytest.raises(ActionError, match="more than 256 KiB"):
        await send(http, url=f"{server}/bomb")


@pytest.mark.parametrize(
    ("page", "body"), [("/text", "žluť"), ("/not-json", "{NaN"), ("/nan", "[NaN]"), ("/none", None), ("/packed", [1])]
)
async def test_a_body_is_the_json_value_else_the_text(http, server, page, body):
    assert (await send(http, url=server + page)).body == body


@pytest.mark.parametrize(("page", "after"), [("/later", 7.0), ("/at", 120.0), ("/before", 0.0), ("/soon", None)])
async def test_retry_after_is_seconds_or_a_date(http, server, page, after):
    assert (await send(http, url=server + page)).retry_after == after


async def test_no_answer_in_time_may_have_been_done(http, server):
    with pytest.raises(RetryLater, match=r"no answer within 0\.05 seconds") as caught:
        await send(http, "POST", url=f"{server}/wait", timeout=Duration(0.05))
    assert caught.value.maybe_done


async def test_a_connection_that_breaks_off_may_have_been_done(http, server):
    with pytest.raises(RetryLater, match="broke off") as caught:
        await send(http, "POST", url=f"{server}/hang-up")
    assert caught.value.maybe_done


async def test_a_host_that_cannot_be_reached_did_nothing(unused_tcp_port_of_nobody):
    http = provider(base_url=f"http://127.0.0.1:{unused_tcp_port_of_nobody}")
    with pytest.raises(RetryLater, match="cannot be reached") as caught:
        await send(http, "POST", path="/x")
    assert not caught.value.maybe_done
    await http.aclose()


@pytest.fixture
async def unused_tcp_port_of_nobody():
    listener = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    return port


async def test_a_closed_provider_opens_again(http):
    await send(http, path="/x")
    await http.aclose()
    assert (await send(http, path="/x")).status == 200


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "deploys.example.com"},
        {"base_url": "https://user:pw@deploys.example.com"},
        {"base_url": "https://deploys.example.com?a=b"},
        {"allow": ["https://"]},
        {"allow": ["a b"]},
        {"allow": ["a/b"]},
        {"headers": {"X-Token": "abc\n"}},
        {"timeout": "1bd"},
        {"unknown": 1},
    ],
)
def test_options_that_cannot_be_used_are_refused(options):
    with pytest.raises(ValidationError):
        HttpOptions.model_validate(options)


def test_a_header_option_is_never_shown():
    options = HttpOptions.model_validate({"headers": {"X-Token": "s3cret"}})
    assert "s3cret" not in repr(options)
    assert "s3cret" not in json.dumps(options.model_dump(mode="json", exclude={"timeout"}))
