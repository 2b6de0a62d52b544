import pytest
from pydantic import ValidationError

from actions.http import Answered, SendRequest, request
from engine.capabilities import Response
from engine.plugins import ActionError, ConnectionBroken, EffectClass, RetryLater
from tests.fakes import FakeContext


class Answering:
    def __init__(self, status, **more):
        self.response = Response(status, **more)
        self.sent = {}

    async def request(self, method, **sent):
        self.sent = {"method": method, **sent}
        return self.response


async def answered(http, **values):
    return await request.function(SendRequest(**({"path": "/x"} | values)), FakeContext(http=http))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "idempotent"),
        ({"method": "head"}, "idempotent"),
        ({"method": "PUT"}, "idempotent"),
        ({"method": "DELETE"}, "idempotent"),
        ({"method": "POST"}, "at_most_once"),
        ({"method": "PATCH"}, "at_most_once"),
        ({"method": "POST", "idempotency_header": "Idempotency-Key"}, "native"),
    ],
)
def test_the_method_decides_whether_a_request_may_be_repeated(values, expected):
    assert request.class_of(SendRequest(path="/x", **values)) is EffectClass(expected)


async def test_the_answer_is_status_and_body():
    assert await answered(Answering(201, body={"id": 7})) == Answered(201, {"id": 7})
    assert set(request.outputs) == {"status", "body"}


async def test_the_effects_identity_goes_into_the_header_that_the_service_knows():
    http = Answering(200)
    await answered(http, method="post", idempotency_header="Idempotency-Key", headers={"X-A": "b"})
    assert (http.sent["method"], http.sent["headers"]) == ("POST", {"X-A": "b", "Idempotency-Key": "tok1"})


@pytest.mark.parametrize("status", [400, 404, 409, 422, 301, 304])
async def test_a_refusal_is_final(status):
    with pytest.raises(ActionError, match=f"GET was answered {status}; expected: 200 to 299"):
        await answered(Answering(status))


@pytest.mark.parametrize(
    ("status", "maybe_done"), [(408, False), (425, False), (429, False), (503, False), (500, True), (504, True)]
)
async def test_not_now_is_tried_later_when_the_service_says(status, maybe_done):
    with pytest.raises(RetryLater) as caught:
        await answered(Answering(status, retry_after=7.0))
    assert (caught.value.after, caught.value.maybe_done) == (7.0, maybe_done)


@pytest.mark.parametrize(("status", "too_often"), [(429, True), (503, False), (408, False)])
async def test_only_429_says_that_the_connection_is_called_too_often(status, too_often):
    with pytest.raises(RetryLater) as caught:
        await answered(Answering(status, retry_after=7.0))
    assert caught.value.too_often is too_often


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_hold_the_connection(status):
    with pytest.raises(ConnectionBroken):
        await answered(Answering(status))


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_where_no_credentials_went_concerns_this_request_alone(status):
    with pytest.raises(ActionError):
        await answered(Answering(status, credentials=False))


async def test_an_expected_status_is_no_error_and_then_others_are():
    assert (await answered(Answering(404), expect=[200, 404])).status == 404
    with pytest.raises(ActionError, match="expected: 200, 404"):
        await answered(Answering(204), expect=[200, 404])


@pytest.mark.parametrize("target", [{}, {"url": "https://a.example", "path": "/x"}, {"url": None, "path": None}])
def test_exactly_one_of_url_and_path_is_given(target):
    with pytest.raises(ValidationError, match="either 'url' or 'path'"):
        SendRequest(**target)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "a b", "", "a:"])
def test_a_header_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(ValidationError, match="header"):
        SendRequest(path="/x", headers={name: "v"})


def test_a_header_cannot_hold_a_line_break():
    with pytest.raises(ValidationError, match="line break"):
        SendRequest(path="/x", headers={"X-A": "b\r\nHost: evil"})


def test_a_query_takes_numbers_and_booleans_and_leaves_out_null():
    assert SendRequest(path="/x", query={"n": 3, "all": True, "q": None, "s": "t"}).query == {
        "n": "3",
        "all": "true",
        "s": "t",
    }


@pytest.mark.parametrize("timeout", ["0s", "11m", "1bd"])
def test_a_timeout_is_a_length_of_at_most_ten_minutes(timeout):
    with pytest.raises(ValidationError, match="at most 10m"):
        SendRequest(path="/x", timeout=timeout)
