"""A small world for tests of expressions and templates: a plain World over lists, and a scope in it."""

from datetime import UTC, datetime

from engine.calendars import WEEKDAYS_9_TO_5, Duration
from engine.domain import SUBJECTS, Event, Incident, Person, Service, Team, Ticket
from engine.workflow.expressions import NeedLookup, Scope, compile_expression

NOW = datetime(2026, 3, 9, 9, 0, tzinfo=UTC)  # a Monday
RESOLVED = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DAY = 86400

ADA = Person("ada", "Ada", email="ada@example.com", known=True)
GRACE = Person("grace", "Grace", known=True)
INCIDENT = Incident(
    "pager:P1",
    "INC-1",
    "checkout | down",
    severity="sev1",
    status="resolved",
    services=("checkout", "cart"),
    roles={"commander": ADA},
    participants=(ADA, GRACE),
    resolved_at=RESOLVED,
)
TICKETS = (
    Ticket("local:HW-1", "HW-1", "fix the pool", team="sre", assignee=ADA, labels=("postmortem",)),
    Ticket("local:HW-2", "HW-2", "add an alert", team="web", due=NOW),
    Ticket("local:HW-3", "HW-3", "write it down", team="sre", done=True, assignee=GRACE),
)


class FakeWorld:
    """Knows Ada and Grace, the team sre, and three tickets; says of every call what it was asked."""

    def __init__(self, many=3, answers=()):
        self.many = many
        self.answers = dict(answers)
        self.asked = []

    def field(self, value, name):
        if isinstance(value, Event):
            return SUBJECTS[name](**value.after) if name in SUBJECTS and value.after else getattr(value, name, None)
        if name == "idle":
            return Duration(8 * DAY)
        if name == "open":
            return value.status != "resolved"
        if name == "lead":
            return self.person(value.lead)
        if name in ("manager", "members", "vars"):
            return None
        return getattr(value, name)

    def find(self, kind, criteria, last, private):
        self.asked.append((kind, dict(criteria), last, private))
        return [TICKETS[number % 3] for number in range(self.many)]

    def count(self, kind, criteria, last, private):
        self.asked.append(("count", kind, dict(criteria)))
        return 123_456

    def events(self, type, criteria, last, private):
        self.asked.append((type, dict(criteria), last, private))
        return []

    def count_events(self, type, criteria, last, private):
        return 7

    def person(self, key):
        return {"ada": ADA, "grace": GRACE}.get(key)

    def team(self, key):
        return Team("sre", "Reliability", lead="ada") if key == "sre" else None

    def service(self, key):
        return Service("checkout", "Checkout") if key == "checkout" else None

    def calendar(self, name):
        return WEEKDAYS_9_TO_5 if name == "office" else None

    def vendor(self, name, args):
        if args not in self.answers:
            raise NeedLookup(name, args)
        return self.answers[args]


def scope(world=None, zone="Europe/Prague", **names):
    known = {"incident": INCIDENT, "ticket": TICKETS[0], "steps": {}, "vars": {"none": None}, **names}
    return Scope(known, world or FakeWorld(), NOW, zone, WEEKDAYS_9_TO_5)


def value(text, world=None, **names):
    return compile_expression(text).evaluate(scope(world, **names))
