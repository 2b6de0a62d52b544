import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.plugins import Unauthorized
from triggers.sources.alertmanager import Alertmanager

RECORDED = Path(__file__).resolve().parents[4] / "shared/payloads/alertmanager"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded payloads are not beside the project")
ALERT = {
    "status": "firing",
    "labels": {"alertname": "HighErrorRate", "service": "checkout", "severity": "critical", "squad": "sre"},
    "annotations": {"summary": "5xx above 5%"},
    "startsAt": "2026-03-02T09:00:00.123456789Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "b1c1",
}
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def receiver(**options):
    made = Alertmanager.options.model_validate(options or {"token": "s3cret"})
    return Alertmanager.build(made, SimpleNamespace(name="am"), None)


def body(*alerts, **more):
    return json.dumps({"alerts": list(alerts), "receiver": "wf", "groupKey": "{}", **more}).encode()


def basic(text):
    return {"authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


@recorded
def test_the_recorded_group_is_two_alerts_that_fire(now):
    first, second = receiver().read({}, (RECORDED / "firing-real-0.25.json").read_bytes(), now).facts
    assert (first.type, first.subject) == ("alert.firing", "am:b1c11497b32ce15e")
    assert first.id == "b1c11497b32ce15e/2026-11-23T07:18:32.158759696Z/firing"
    assert first.time == datetime(2026, 11, 23, 7, 18, 32, 158759, tzinfo=UTC) == first.fields["started_at"]
    assert (first.fields["name"], first.fields["title"]) == ("HighErrorRate", "5xx above 5%")
    assert (first.fields["service"], first.fields["severity"]) == ("checkout", "critical")
    assert (first.fields["firing"], first.fields["ended_at"]) == (True, None)
    assert first.data["annotations"]["runbook_url"] == "https://runbooks.example/high-error"
    assert second.subject == "am:5308e11450d376b3"


@recorded
def test_the_recorded_credentials_are_accepted(now):
    lines = (RECORDED / "firing-real-0.25.headers.txt").read_text().splitlines()[1:]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
    receiver(token="s3cr3t-token").authenticate(headers, b"", now)


@pytest.mark.parametrize("options", [{"token": "s3cret"}, {"username": "am", "password": "pä:ss"}])
def test_what_we_sign_we_accept(options, now):
    source = receiver(**options)
    source.authenticate(source.sign(b"{}", now), b"{}", now)


@pytest.mark.parametrize(
    ("options", "headers", "said"),
    [
        ({"token": "s3cret"}, {}, "Authorization is missing"),
        ({"token": "s3cret"}, basic("am:s3cret"), "not of the kind 'Bearer'"),
        ({"token": "s3cret"}, {"authorization": "Bearer"}, "the token in Authorization"),
        ({"token": "s3cret"}, {"authorization": "Bearer s3cre"}, "the token in Authorization"),
        ({"token": "s3cret"}, {"authorization": "Bearer s3creté"}, "the token in Authorization"),
        ({"username": "am", "password": "s3cret"}, {"authorization": "Bearer s3cret"}, "not of the kind 'Basic'"),
        ({"username": "am", "password": "s3cret"}, {"authorization": "Basic ?"}, "the user or the password"),
        ({"username": "am", "password": "s3cret"}, basic("am:"), "the user or the password"),
        ({"username": "am", "password": "s3cret"}, basic("ma:s3cret"), "the user or the password"),
    ],
)
def test_credentials_that_are_not_ours_are_refused_without_telling_ours(options, headers, said, now):
    with pytest.raises(Unauthorized) as raised:
        receiver(**options).authenticate(headers, b"{}", now)
    assert said in str(raised.value)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({}, ()),
        ({"token": "a", "username": "b", "password": "c"}, ()),
        ({"username": "b"}, ()),
        ({"token": ""}, ("token",)),
        ({"token": None}, ("token",)),
        ({"username": "b", "password": " "}, ("password",)),
    ],
)
def test_a_connection_has_one_way_in_and_never_an_open_door(options, where):
    with pytest.raises(ValidationError) as raised:
        Alertmanager.options.model_validate(options)
    assert [found["loc"] for found in raised.value.errors()] == [where]


def test_labels_and_severities_are_read_as_configured(now):
    source = receiver(token="t", severity={"critical": "sev1"}, service_label="job", team_label="squad")
    (found,) = source.read({}, body({**ALERT, "labels": {**ALERT["labels"], "job": "api"}}), now).facts
    assert (found.fields["severity"], found.fields["service"], found.fields["team"]) == ("sev1", "api", "sre")


def test_a_resolved_alert_happens_when_it_ended(now):
    ended = {**ALERT, "status": "resolved", "endsAt": "2026-03-02T09:05:00+01:00"}
    (found,) = receiver().read({}, body(ended), now).facts
    assert (found.type, found.fields["firing"]) == ("alert.resolved", False)
    assert found.time == found.fields["ended_at"] == datetime(2026, 3, 2, 8, 5, tzinfo=UTC)
    assert found.id == "b1c1/2026-03-02T09:00:00.123456789Z/resolved"


def test_an_end_that_is_not_stated_is_not_made_up(now):
    (found,) = receiver().read({}, body({**ALERT, "status": "resolved"}), now).facts
    assert (found.fields["ended_at"], found.time) == (None, now)


def test_the_planned_end_of_an_alert_that_fires_is_no_end(now):
    (found,) = receiver().read({}, body({**ALERT, "endsAt": "2026-03-02T09:20:00Z"}), now).facts
    assert found.fields["ended_at"] is None


def test_a_repeated_notification_has_the_same_id_and_a_new_start_another(now):
    again = {**ALERT, "startsAt": "2026-03-02T11:00:00Z"}
    ids = [fact.id for fact in receiver().read({}, body(ALERT, ALERT, again), now).facts]
    assert ids[0] == ids[1] != ids[2]


def test_a_group_without_alerts_is_ignored(now):
    assert receiver().read({}, body(), now).ignored == "a group without alerts"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"nope", "the body is not JSON"),
        (b'{"alerts": NaN}', "NaN is no number"),
        (b'{"alerts": 1e999}', "a number that is too large"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 200 + b"]" * 200, "nested too deeply"),
        (b"5", "the body must be a mapping, not a number"),
        (b"{}", "'alerts' must be a list, not null"),
        (body(5), "'alerts[0]' must be a mapping, not a number"),
        (body({**ALERT, "status": "maybe"}), "'alerts[0].status' must be firing or resolved"),
        (body(ALERT, {**ALERT, "fingerprint": ""}), "'alerts[1].fingerprint' must be a text"),
        (body({**ALERT, "startsAt": "2026-02-30T00:00:00Z"}), "'alerts[0].startsAt' is no time that exists"),
        (body({**ALERT, "startsAt": "0001-01-01T00:00:00+14:00"}), "'alerts[0].startsAt' is no time that exists"),
        (body({**ALERT, "labels": {"a": 1}}), "must be a text, not a number"),
    ],
)
def test_a_payload_that_is_not_alertmanagers_is_refused_with_a_sentence(raw, said, now):
    with pytest.raises(ValueError, match=r".") as raised:
        receiver().read({}, raw, now)
    assert said in str(raised.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(value=json_values, key=st.sampled_from([*ALERT, "generatorURL"]))
def test_any_json_is_read_or_refused_with_a_sentence(value, key):
    for raw in (json.dumps(value).encode(), body(value), body({**ALERT, key: value}), body(ALERT, groupKey=value)):
        try:
            received = receiver().read({}, raw, AT)
        except ValueError as error:
            assert len(str(error)) > 10  # noqa: PT017  refusing is as good as reading
        else:
            assert received.facts or received.ignored
