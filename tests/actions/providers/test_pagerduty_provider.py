"""What PagerDuty's records mean, without the webhooks that bring them."""

from pathlib import Path

import pytest

from actions.providers.pagerduty import PagerDuty
from tests.fakes import FakeConnection


@pytest.fixture
def vendor():
    return PagerDuty.build(PagerDuty.options(severity={"P1": "sev1"}), FakeConnection(Path(), "pager"))


def test_a_reference_says_no_more_than_it_knows(vendor):
    assert vendor.read({"id": "P1", "type": "incident_reference", "summary": "Checkout is slow"}) == {
        "id": "pager:P1",
        "title": "Checkout is slow",
    }


def test_a_user_is_known_by_the_vendors_id_and_by_e_mail_where_it_is_told(vendor):
    person = vendor.person({"id": "PADA", "type": "user", "name": "Ada", "email": "ada@example.com"})
    assert (person.id, person.name, person.email) == ("pagerduty:PADA", "Ada", "ada@example.com")
    assert person.ids == {"pagerduty": "PADA"}


@pytest.mark.parametrize("raw", [None, {}, "PADA", {"id": "PX", "type": "service_reference"}, {"type": "user"}])
def test_what_is_no_user_is_nobody(vendor, raw):
    assert vendor.person(raw) is None
