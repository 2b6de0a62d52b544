"""What `check` finds in expressions before they run: kinds, names, fields, calls, comparisons, times."""

import pytest

from engine.domain import FIELDS, Field
from engine.workflow.expressions import compile_expression
from engine.workflow.kinds import TypeEnv, check_expression

ENV = TypeEnv(
    names={"incident": "incident", "ticket": "ticket", "event": "event", "steps": "steps", "vars": "vars"},
    records={
        "steps": {"doc": Field("step:doc", "")},
        "step:doc": {**FIELDS["document"], "failed": Field("boolean", "")},
        "vars": {"owner": Field("person", ""), "sla": Field("map[duration]", ""), "free": Field("any", "")},
    },
    explanations={"item": "it stands in no for_each", "steps.later": "it comes later"},
    people=frozenset({"ada", "grace"}),
    teams=frozenset({"sre"}),
    services=frozenset({"checkout"}),
    calendars=frozenset({"office"}),
    events=frozenset({"incident.resolved"}),
)


def check(text, **options):
    return check_expression(compile_expression(text), ENV, **options)


def only(text, **options):
    _, problems = check(text, **options)
    assert len(problems) == 1, [problem.message for problem in problems]
    return problems[0], text[problems[0].offset : problems[0].offset + problems[0].length]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("incident.severity", "text"),
        ("incident.participants", "list[person]"),
        ("incident.roles.anybody.name", "text"),
        ("incident.services | first", "text"),
        ("ticket.assignee.manager or team(ticket.team).lead", "person"),
        ("incident.open and not incident.drill", "boolean"),
        ("incident.url or 3", "any"),
        ("incident.url or null", "text"),
        ("now() - incident.resolved_at", "duration"),
        ("incident.resolved_at + '5bd'", "instant"),
        ("ticket.idle * 2 + '1h'", "duration"),
        ("1 + 2 * 3", "number"),
        ("'a' + 'b'", "text"),
        ("[1, 2]", "list[number]"),
        ("[1, 'a']", "list[any]"),
        ("[t.assignee for t in tickets() if t.done]", "list[person]"),
        ("{t.key: t.idle for t in tickets()}", "map[duration]"),
        ("tickets() | length", "number"),
        ("tickets() | sort('due') | first", "ticket"),
        ("[g.list[0].key for g in tickets() | group('team')]", "list[text]"),
        ("tickets() | group('team') | first", "group"),
        ("[t.idle for t in tickets()] | max", "duration"),
        ("tickets() | max('idle')", "duration"),
        ("incident.key.split('-')", "list[text]"),
        ("incident.key.startswith('a')", "boolean"),
        ("incident.key[1:]", "text"),
        ("on_call(incident.services | first).email", "text"),
        ("event.document.id == steps.doc.id", "boolean"),
        ("event.data.anything.at.all", "any"),
        ("vars.sla.sev1", "duration"),
        ("vars.free.x | first", "any"),
        ("incident.resolved_at | local | default('never')", "text"),
        ("ticket.due | default(now())", "instant"),
        ("events('incident.resolved', last='30d')", "list[any]"),
        ("1 if incident.open else null", "number"),
    ],
)
def test_kinds_of_right_expressions(text, kind):
    assert check(text) == (kind, [])


@pytest.mark.parametrize(
    ("text", "code", "found", "hint"),
    [
        ("incidnt.open", "unknown-name", "incidnt", "did you mean 'incident'?"),
        ("incident.severity == sev1", "unknown-name", "sev1", "a text goes in quotes"),
        ("now", "unknown-name", "now", "write now(…)"),
        ("incident.url == none", "unknown-name", "none", "write null"),
        ("incident.sevrity", "unknown-field", "sevrity", "did you mean 'severity'?"),
        ("incident['sevrity']", "unknown-field", "incident['sevrity']", "did you mean 'severity'?"),
        ("steps.dok.url", "unknown-field", "dok", "did you mean 'doc'?"),
        ("steps.doc.nope", "unknown-field", "nope", "fields: failed, id"),
        ("incident.participants.name", "unknown-field", "name", "write [x.name for x in …]"),
        ("incident.title.lower", "unknown-field", "lower", "write .lower()"),
        ("tickets() | sort('assignee.nme')", "unknown-field", "'assignee.nme'", "did you mean 'name'?"),
        ("persn('ada')", "unknown-function", "persn", "did you mean 'person'?"),
        ("length(incident.labels)", "unknown-function", "length", "write … | length"),
        ("incident.title.lowr()", "unknown-function", "incident.title.lowr()", "did you mean 'lower'?"),
        ("incident.labels | lenght", "unknown-filter", "lenght", "did you mean 'length'?"),
        ("'ada' | person", "unknown-filter", "person", "write person(…)"),
        ("tickets(lable='x')", "unknown-keyword", "lable", "did you mean 'label'?"),
        ("tickets(labels='x')", "unknown-keyword", "labels", "write label="),
        ("people(last='1d')", "unknown-keyword", "last", "keywords:"),
        ("person('adda')", "unknown-reference", "'adda'", "did you mean 'ada'?"),
        ("team('sra')", "unknown-reference", "'sra'", "did you mean 'sre'?"),
        ("service('check-out')", "unknown-reference", "'check-out'", "did you mean 'checkout'?"),
        ("is_open('offce')", "unknown-reference", "'offce'", "did you mean 'office'?"),
        ("events('incident.resolvd')", "unknown-reference", "'incident.resolvd'", "did you mean 'incident.resolved'?"),
        ("now(1)", "wrong-arguments", "now(1)", None),
        ("incident.labels | group", "wrong-arguments", "group", None),
        ("tickets('x')", "wrong-arguments", "tickets('x')", None),
        ("events()", "wrong-arguments", "events()", None),
        ("incident.title + 3", "wrong-kind", "incident.title + 3", "put both into a text"),
        ("incident.title * 3", "wrong-kind", "incident.title * 3", None),
        ("now() + now()", "wrong-kind", "now() + now()", None),
        ("ticket.idle - now()", "wrong-kind", "ticket.idle - now()", None),
        ("ticket.idle / ticket.idle", "wrong-kind", "ticket.idle / ticket.idle", None),
        ("incident.title > 3", "wrong-kind", "3", "numbers, texts, instants or durations"),
        ("incident.open < true", "wrong-kind", "true", None),
        ("3 in incident.title", "wrong-kind", "3", None),
        ("'a' in incident", "wrong-kind", "incident", "write a list"),
        ("incident.title | first", "wrong-kind", "incident.title", None),
        ("ticket.idle | local", "wrong-kind", "ticket.idle", None),
        ("incident.labels | sum", "wrong-kind", "incident.labels", None),
        ("[x for x in incident.title]", "wrong-kind", "incident.title", None),
        ("1 if incident.title else 2", "wrong-kind", "incident.title", "compare it"),
        ("incident.labels.lower()", "wrong-kind", "incident.labels", None),
        ("incident.services['x']", "wrong-kind", "'x'", None),
        ("duration(3)", "wrong-kind", "3", None),
        ("-incident.title", "wrong-kind", "incident.title", None),
        ("incident.severity == 3", "never-holds", "3", None),
        ("ticket.assignee == 'ada'", "never-holds", "'ada'", ".id == …"),
        ("ticket.done == 'yes'", "never-holds", "'yes'", "true or false"),
        ("event.document == steps.doc", "never-holds", "steps.doc", None),
        ("incident.severity > null", "never-holds", "null", "== null"),
        ("ticket.assignee in ['ada']", "never-holds", "ticket.assignee", None),
        ("tickets(done='yes')", "never-holds", "'yes'", None),
        ("ticket.idle > 'sevn days'", "unreadable-time", "'sevn days'", None),
        ("ticket.idle > '3bd'", "unreadable-time", "'3bd'", "add it to an instant"),
        ("incident.resolved_at + 'soon'", "unreadable-time", "'soon'", None),
        ("incident.resolved_at - 'soon'", "unreadable-time", "'soon'", None),
        ("incident.resolved_at > '2026-03-02'", "unreadable-time", "'2026-03-02'", None),
        ("ticket.idle in ['7d', 'x']", "unreadable-time", "'x'", None),
        ("duration('x')", "unreadable-time", "'x'", None),
        ("tickets(last='soon')", "unreadable-time", "'soon'", None),
        ("'x' | duration", "unreadable-time", "'x'", None),
    ],
)
def test_each_mistake_has_its_code_its_place_and_its_hint(text, code, found, hint):
    problem, place = only(text)
    assert (problem.code, place) == (code, found)
    assert (hint is None and not (problem.hint or "").startswith("did")) or hint in problem.hint


@pytest.mark.parametrize(
    "text",
    [
        "ticket.assignee.id == 'ada'",
        "tickets(assignee='ada', label=['a', 'b'], incident=incident, team=null, done=false, last='30d', private=true)",
        "people(team=team('sre'))",
        "ticket.idle == '3bd'",
        "vars.free > 3 and vars.free == incident and vars.free in incident.labels",
        "incident.resolved_at - vars.free",
        "events('incident.resolved', subject=incident.id, anything=1)",
        "incident.url == null and null != ticket",
        "incident.resolved_at - '2026-03-02T00:00Z'",
    ],
)
def test_what_may_hold_is_let_through(text):
    assert check(text)[1] == []


def test_all_mistakes_are_found_at_once_in_the_order_of_their_places():
    _, problems = check("incident.nope == nobody.x or (tickets(lable='x') | lenght) > 'a'")
    assert [problem.code for problem in problems] == [
        "unknown-field",
        "unknown-name",
        "unknown-keyword",
        "unknown-filter",
    ]


def test_a_name_that_exists_but_not_here_is_explained():
    assert only("item.id")[0].message == "'item' cannot be read here: it stands in no for_each"
    problem, place = only("steps.later.url")
    assert problem.message == "'steps.later' cannot be read here: it comes later"
    assert place == "later"


def test_look_ups_and_vendors_are_refused_where_they_may_not_stand():
    assert only("tickets() | length", allow_lookups=False)[0].code == "lookup-not-here"
    assert only("on_call('checkout').name", allow_vendor=False)[0].code == "vendor-not-here"


def test_a_condition_must_be_a_boolean():
    assert check("incident.open", condition=True)[1] == []
    assert check("vars.free", condition=True)[1] == []
    problem, place = only("incident.severity", condition=True)
    assert problem.message == "a condition must be true or false, not a text"
    assert place == "incident.severity"


def test_records_of_the_environment_go_before_those_of_the_domain():
    env = TypeEnv({"event": "event"}, {"event": {"data": Field("data", "")}, "data": {"status": Field("text", "")}})
    assert check_expression(compile_expression("event.data.status"), env) == ("text", [])
    _, problems = check_expression(compile_expression("event.data.stats"), env)
    assert problems[0].hint == "did you mean 'status'?"
