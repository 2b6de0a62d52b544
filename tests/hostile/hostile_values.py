"""A scope for hostile expressions and templates, with values of every kind that data from outside can have."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from engine.calendars import WEEKDAYS_9_TO_5, Duration
from engine.domain import SUBJECTS, Event, Incident, Person, Service, Team, Ticket
from engine.workflow.expressions import NeedLookup, Scope

NOW = datetime(2026, 3, 9, 9, 0, tzinfo=UTC)
ADA = Person("ada", "Ada", email="ada@example.com", known=True)
EVENT = Event("e1", "incident.declared", "pager", NOW, subject="pager:P1", data={"deep": [[{"a": [1, None]}]]})
INCIDENT = Incident("pager:P1", "INC-1", "checkout | down", services=("checkout",), participants=(ADA,))
TICKET = Ticket("local:HW-1", "HW-1", "fix the pool", assignee=ADA, due=NOW, labels=("x", "y"))


class HostileWorld:
    """Answers every question; gives as many records as it may."""

    def field(self, value, name):
        if isinstance(value, Event):
            return None if name in SUBJECTS else getattr(value, name, None)
        return {"idle": Duration(1e6), "members": (ADA,), "vars": {}, "open": True}.get(name)

    def find(self, kind, criteria, last, private):
        return [{"ticket": TICKET, "person": ADA}.get(kind, INCIDENT)] * 1000

    def count(self, kind, criteria, last, private):
        return 10**12

    def events(self, type, criteria, last, private):
        return [EVENT] * 1001

    def count_events(self, type, criteria, last, private):
        return 7

    def person(self, key):
        return ADA if key == "ada" else None

    def team(self, key):
        return Team("sre", "Reliability", lead="ada") if key == "sre" else None

    def service(self, key):
        return Service("checkout", "Checkout") if key == "checkout" else None

    def calendar(self, name):
        return WEEKDAYS_9_TO_5 if name == "office" else None

    def vendor(self, name, args):
        raise NeedLookup(name, args)


def scope(zone="America/New_York", **names):
    known = {"incident": INCIDENT, "ticket": TICKET, "event": EVENT, "steps": {}, "vars": {}, **names}
    return Scope(known, HostileWorld(), NOW, zone, WEEKDAYS_9_TO_5)


def nested(depth, wrap):
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


def doubled(times):
    """Give a list that takes `times` objects and stands for 2 to that power of them."""
    return nested(times, lambda value: [value, value])


FIRST = datetime(1, 1, 1, tzinfo=UTC)
LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
SCALARS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63,
    -(2**63),
    10**4000,
    0.0,
    -0.0,
    1.5,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "a",
    "7d",
    "3bd",
    "2026-03-02T09:00:00+01:00",
    "0001-01-01T00:00:00+00:00",
    "| <b> [x](y) `c` # -",
    "a\nb\r\u2028c\x00",
    "\ud800",
    "é𝄞",
    "x" * 100_000,
    "{{ 1 }}${{ 1 }}{% raw %}",
    NOW,
    FIRST,
    LAST,
    NOW.astimezone(timezone(timedelta(hours=-23, minutes=-59))),
    Duration(0),
    Duration(1e11),
    Duration(-5),
    Duration(0, business_days=3),
    Duration(0, months=10**6),
    INCIDENT,
    TICKET,
    ADA,
    EVENT,
]
LARGE = [
    list(range(10_001)),
    ["ab"] * 9_999,
    {str(number): number for number in range(5_000)},
    nested(5_000, lambda value: [value]),
    nested(5_000, lambda value: {"a": value}),
    doubled(60),
]

scalars = st.sampled_from(SCALARS)
values = st.one_of(
    scalars,
    st.sampled_from(LARGE),
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=8,
    ),
)
