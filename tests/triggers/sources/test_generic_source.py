import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.plugins import Unauthorized
from triggers.sources.generic import Generic

SECRET = "whsec_c2VjcmV0IG9mIG91cnM="  # base64 of "secret of ours"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def receiver(**options):
    made = Generic.options.model_validate({"webhook_secret": SECRET, **options})
    return Generic.build(made, SimpleNamespace(name="deploys"), None)


def hub(**options):
    return receiver(scheme="hmac", header="X-Hub-Signature-256", prefix="sha256=", **options)


# --- Standard Webhooks -----------------------------------------------------------------------------------------------

#: The vector of the Standard Webhooks libraries.
VECTOR = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_SECRET = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR_TIME = datetime.fromtimestamp(1614265330, UTC)


@pytest.mark.parametrize("secret", [VECTOR_SECRET, f"whsec_{VECTOR_SECRET}", [SECRET, VECTOR_SECRET]])
def test_the_published_vector_is_accepted_with_and_without_the_prefix_of_its_secret(secret):
    receiver(webhook_secret=secret).authenticate(VECTOR, VECTOR_BODY, VECTOR_TIME)


def test_one_right_signature_among_several_is_enough():
    headers = {**VECTOR, "webhook-signature": f"v1a,xyz v1,AAAA {VECTOR['webhook-signature']}"}
    receiver(webhook_secret=VECTOR_SECRET).authenticate(headers, VECTOR_BODY, VECTOR_TIME)


@pytest.mark.parametrize(("seconds", "accepted"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)])
def test_the_time_stamp_may_be_five_minutes_from_ours(seconds, accepted):
    source = receiver()
    headers = source.sign(b"{}", AT)
    if accepted:
        source.authenticate(headers, b"{}", AT + timedelta(seconds=seconds))
    else:
        with pytest.raises(Unauthorized, match="more than five minutes from ours"):
            source.authenticate(headers, b"{}", AT + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"webhook-id": ""}, "webhook-id is missing"),
        ({"webhook-timestamp": ""}, "webhook-timestamp is missing"),
        ({"webhook-signature": ""}, "webhook-signature is missing"),
        ({"webhook-signature": "v1a,AAAA"}, "no signature of the form v1,BASE64"),
        ({"webhook-signature": " ".join(["v1,A"] * 21)}, "more than 20 signatures"),
        ({"webhook-timestamp": "now"}, "not a number of seconds"),
        ({"webhook-timestamp": "9" * 5000}, "not a number of seconds"),
        ({"webhook-timestamp": "²"}, "not a number of seconds"),
        ({"webhook-id": "msg_other"}, "is made with this connection's webhook_secret"),
        ({"webhook-timestamp": "1772442001"}, "is made with this connection's webhook_secret"),
    ],
)
def test_what_is_not_signed_by_us_is_refused(changed, said):
    source = receiver()
    with pytest.raises(Unauthorized) as raised:
        source.authenticate({**source.sign(b"{}", AT), **changed}, b"{}", AT)
    assert said in str(raised.value)


def test_another_body_under_the_same_signature_is_refused():
    source = receiver()
    with pytest.raises(Unauthorized, match="webhook_secret"):
        source.authenticate(source.sign(b"{}", AT), b"{ }", AT)


# --- HMAC in a header ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (b"Hello World!", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"),
        (b"Hello, World!", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
        (b"Hello, World!", "sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17"),
    ],
)
def test_the_vectors_of_two_vendors_are_accepted(body, signature):
    hub(webhook_secret="It's a Secret to Everybody").authenticate({"x-hub-signature-256": signature}, body, AT)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_what_we_sign_we_accept(algorithm, encoding):
    source = receiver(scheme="hmac", header="X-Signature", algorithm=algorithm, encoding=encoding, delivery_id="X-Id")
    headers = source.sign(b"{}", AT)
    source.authenticate(headers, b"{}", AT)
    assert source.read(headers, b"{}", AT).facts[0].id == headers["x-id"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "X-Hub-Signature-256 is missing"),
        ({"x-hub-signature-256": "sha1=00"}, "does not begin with 'sha256='"),
        ({"x-hub-signature-256": "sha256=00"}, "is not made with this connection's webhook_secret"),
    ],
)
def test_another_hmac_is_refused(headers, said):
    with pytest.raises(Unauthorized) as raised:
        hub().authenticate(headers, b"{}", AT)
    assert said in str(raised.value)


# --- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"webhook_secret": "not base64!"}, "must be base64, such as whsec_…"),
        ({"webhook_secret": "whsec_"}, "must be base64"),
        ({"webhook_secret": "ä"}, "must be base64"),
        ({"webhook_secret": ""}, "must not be empty"),
        ({"scheme": "hmac"}, "needs 'header'"),
        ({"header": "X-Signature"}, "'header' goes with 'scheme: hmac'"),
        ({"prefix": "sha256="}, "'prefix' goes with 'scheme: hmac'"),
        ({"scheme": "hmac", "header": "X-Signature", "algorithm": "md5"}, "'sha256', 'sha512' or 'sha1'"),
    ],
)
def test_options_that_cannot_work_are_refused(options, said):
    with pytest.raises(ValidationError) as raised:
        receiver(**options)
    assert said in str(raised.value)


# --- what it says ----------------------------------------------------------------------------------------------------


def read(source, headers, body):
    (fact,) = source.read(headers, body, AT).facts
    return fact


def test_an_object_is_the_data_of_the_event():
    fact = read(receiver(), VECTOR, b'{"ref": "main", "size": 3}')
    assert (fact.type, fact.subject, fact.time, fact.data) == ("webhook", None, AT, {"ref": "main", "size": 3})


@pytest.mark.parametrize("value", [[1, 2], "text", 5, None, True])
def test_another_json_value_is_the_body_of_the_data(value):
    assert read(receiver(), {}, json.dumps(value).encode()).data == {"body": value}


def test_a_delivery_is_known_by_its_header_and_without_one_each_post_is_new():
    named = {"x-github-delivery": "72d3162e", "webhook-id": "msg_1"}
    assert read(receiver(), named, b"{}").id == "msg_1"
    assert read(hub(delivery_id="X-GitHub-Delivery"), named, b"{}").id == "72d3162e"
    assert read(hub(), named, b"{}").id is None
    assert read(hub(delivery_id="X-GitHub-Delivery"), {}, b"{}").id is None


def test_characters_that_cannot_be_kept_are_replaced():
    fact = read(receiver(), {}, rb'{"a\u0000": ["half \ud83d", {"b": "\ud83d\ude00"}]}')
    assert fact.data == {"a\ufffd": ["half \ufffd", {"b": "\U0001f600"}]}


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.from_regex(rb'[\[{"0-9.e\-:,}\]\\u ]{0,40}')
)
def test_any_body_is_read_into_what_can_be_kept_or_refused_with_a_sentence(body):
    try:
        fact = read(receiver(), {}, body)
    except ValueError as error:
        assert len(str(error)) > 10  # noqa: PT017  refusing is as good as reading
    else:
        json.dumps(fact.data, ensure_ascii=False, allow_nan=False).encode()
