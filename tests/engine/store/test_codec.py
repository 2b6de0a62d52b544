"""Values as JSON and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.calendars import parse_duration
from engine.domain import ActionItem, Document, Incident, Person
from engine.store.codec import digest, dumps, encode, instant, loads, micros

AT = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
ADA = Person("ada", "Ada", email="ada@example.org")

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)  # fmt: skip


@given(plain)
def test_what_is_kept_comes_back_the_same(value):
    assert loads(dumps(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        ADA,
        Incident("pager:P1", "P1", "Slow", roles={"commander": ADA}, participants=(ADA,), resolved_at=AT),
        Document("docs:a", "A", published=True),
        ActionItem("x", "mend it", owner=ADA, due=AT),
        parse_duration("3bd"),
        [parse_duration("P1M"), {"when": AT}],
    ],
    ids=lambda value: type(value).__name__,
)
def test_records_and_durations_come_back_as_themselves(value):
    assert loads(dumps(value)) == value


@pytest.mark.parametrize("tag", ["~instant", "~duration", "~person", "~map", "~nothing"])
def test_data_from_outside_that_looks_like_a_record_stays_data(tag):
    assert loads(dumps({tag: {"id": "x"}})) == {tag: {"id": "x"}}


def test_half_characters_are_replaced_so_that_the_database_takes_the_text():
    dumps({"title": "a\ud800b é 😀"}).encode()
    assert loads(dumps("a\ud800b é 😀")) == "a\ufffdb é 😀"


def test_what_says_nothing_is_left_out_of_a_record():
    assert encode(Document("docs:a", "A")) == {"~document": {"id": "docs:a", "title": "A", "published": False}}


def test_instants_are_kept_to_the_microsecond_and_in_utc():
    local = AT.astimezone(timezone(timedelta(hours=2)))
    assert instant(micros(local)) == AT
    assert instant(micros(local)).utcoffset() == timedelta(0)
    assert encode(local) == {"~instant": "2026-03-02T09:00:00.123456+00:00"}


def test_a_value_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="object cannot be kept"):
        dumps({"a": object()})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_has_no_word_for_are_refused_wherever_they_stand(number):
    for value in (number, [1, number], {"a": {"b": number}}, Person("ada", "Ada", ids={"slack": number})):
        with pytest.raises(ValueError, match="JSON has no word for the number"):
            dumps(value)


def test_a_number_of_more_than_64_bits_is_kept_whole():
    assert loads(dumps({"count": 2**70})) == {"count": 2**70}


def test_a_mapping_of_another_kind_is_kept_as_one():
    assert loads(dumps(MappingProxyType({"a": (1, 2)}))) == {"a": [1, 2]}


def test_a_digest_tells_where_one_text_ends():
    assert digest("a", "bc") != digest("ab", "c")
    assert digest("a").isalnum()
