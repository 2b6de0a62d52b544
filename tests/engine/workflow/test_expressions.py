"""The rules of LANGUAGE 4 at run time: null, booleans, time, reading, calls, bounds; and what the API gives."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from expression_world import ADA, DAY, GRACE, INCIDENT, NOW, RESOLVED, TICKETS, FakeWorld, scope, value
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.calendars import Duration
from engine.domain import Event
from engine.workflow.expressions import (
    EvaluationError,
    Expression,
    ExpressionError,
    NeedLookup,
    compile_expression,
    index_key,
)


def fault(text, **names):
    with pytest.raises(EvaluationError) as caught:
        value(text, **names)
    error = caught.value
    return error.message, text[error.offset : error.offset + error.length]


# --- null ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["null in [null]", "null in ['a']", "'a' in null", "null not in ['a']", "'a' not in null"]
)
def test_in_and_not_in_with_null_on_either_side_are_false(text):
    assert value(text) is False


@pytest.mark.parametrize(
    "text",
    [
        "null.a",
        "vars.none.name.first",
        "vars.none[0]",
        "[1, 2][2]",
        "[1, 2][-3]",
        "'ab'[2]",
        "vars.absent",
        'vars["absent"]',
        "steps.later.url",
        "incident.roles.scribe.name",
        "null[1:2]",
    ],
)
def test_reading_null_or_past_the_end_or_an_absent_key_gives_null(text):
    assert value(text) is None


@pytest.mark.parametrize("text", ["null + 1", "1 - null", "null * 2", "null / 2", "null % 2", "-null", "now() - null"])
def test_arithmetic_with_null_is_null(text):
    assert value(text) is None


@pytest.mark.parametrize("text", ["null < 1", "1 <= null", "null > null", "null >= 'a'", "1 < null < 3"])
def test_an_order_with_null_is_false(text):
    assert value(text) is False


def test_equality_sees_null():
    assert value("null == null")
    assert value("vars.none == null and incident.url == null and incident.title != null")
    assert value("0 != null and '' != null and false != null")


PASSING_NULL = (
    "null | first; null | join; null | duration; null | local; null | length; null | group('x'); null | sum; "
    "null | markdown; person(null); team(null); tickets(team=vars.none); tickets(team=vars.none) | length; "
    "null.lower(); 'a'.replace('a', null); [x for x in null]; duration(null); is_open(null)"
)


@pytest.mark.parametrize("text", PASSING_NULL.split("; "))
def test_filters_and_look_ups_pass_null_through(text):
    assert value(text) is None


def test_default_replaces_null_alone():
    assert value("vars.none | default('x')") == "x"
    assert value("0 | default(1)") == 0
    assert value("false | default(true)") is False


def test_a_null_that_is_written_out_looks_for_empty_fields():
    world = FakeWorld()
    assert value("tickets(assignee=null)", world) == list(TICKETS)
    assert world.asked == [("ticket", {"assignee": None}, None, False)]


# --- and, or, not ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("0 or 1", 0),
        ("'' or 1", ""),
        ("[] or 1", []),
        ("null or 1", 1),
        ("false or 1", 1),
        ("false or null", None),
        ("null or false", False),
        ("0 and 1", 1),
        ("null and 1", None),
        ("false and 1", False),
        ("1 and null", None),
        ("null or false or 2 or 3", 2),
        ("1 and 2 and 3 and null and 4", None),
        ("not null", True),
        ("not false", True),
        ("not true", False),
        ("not 0", False),
        ("not not null", False),
        ("1 < 2 and 3", 3),
        ("1 > 2 or 3", 3),
    ],
)
def test_only_null_and_false_are_not_true(text, result):
    found = value(text)
    assert found == result
    assert type(found) is type(result)


def test_the_right_side_is_reached_only_where_it_counts():
    assert value("true or on_call('x')") is True
    assert value("incident.roles.commander or on_call('x')") == ADA
    assert value("false and on_call('x')") is False
    assert value("1 if true else on_call('x')") == 1


def test_a_chain_of_any_length_stays_shallow():
    assert value(" and ".join(["x.on"] * 400), x={"on": True}) is True
    assert value(" or ".join(["x.on"] * 400), x={"on": None}) is None


def test_a_condition_must_end_as_a_boolean_and_null_counts_as_false():
    assert compile_expression("incident.drill == false").test(scope()).value is True
    assert compile_expression("vars.none").test(scope()).value is False
    with pytest.raises(EvaluationError, match="must be true or false, not a text"):
        compile_expression("incident.title").test(scope())


def test_the_condition_inside_an_expression_must_be_a_boolean_too():
    assert value("1 if null else 2") == 2
    message, place = fault("1 if incident.title else 2")
    assert message.startswith("a condition must be true or false, not a text")
    assert place == "incident.title"
    assert fault("[x for x in [1] if 'a']")[1] == "'a'"
    assert fault("1 if 0 else 2")[1] == "0"


# --- comparing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1 < 2 < 3", "3 >= 3 > 2 != 1", "1 == 1.0", "'a' < 'b'", "[1, 'a'] == [1, 'a']"])
def test_comparisons_that_hold(text):
    assert value(text) is True


@pytest.mark.parametrize(
    "text", ["1 < 2 > 3", "1 == '1'", "true == 1", "false == 0", "[1] == [2]", "{'a': 1} == {'a': 2}"]
)
def test_comparisons_that_do_not_hold(text):
    assert value(text) is False


def test_subjects_and_people_compare_by_id():
    renamed = replace(ADA, name="Ada L.", email=None)
    assert value("x == y and x in [y] and x != z", x=ADA, y=renamed, z=GRACE)
    assert value("[x, y, z] | unique | length", x=ADA, y=renamed, z=GRACE) == 2
    assert value("x == y", x=INCIDENT, y=replace(INCIDENT, title="other"))
    assert not value("x == y", x=INCIDENT, y=replace(TICKETS[0], id=INCIDENT.id))


def test_values_without_a_common_order_are_an_error():
    assert fault("3 > 'x'") == ("a number and a text have no order", "3 > 'x'")
    assert fault("true < false")[0] == "a boolean and a boolean have no order"
    assert fault("incident > 1")[0] == "an incident and a number have no order"


def test_in_looks_into_lists_texts_and_keys():
    assert value("'sev1' in ['sev1', 'sev2'] and 'check' in incident.services[0] and 'a' in {'a': 1}")
    assert value("incident.severity not in ['sev3'] and 3 not in [1, 2]")
    assert fault("1 in 'abc'")[0] == "only a text can be in a text, not a number"
    assert fault("1 in 2")[0] == "a number holds nothing that could be in it"


# --- time ------------------------------------------------------------------------------------------------------------


def test_an_instant_less_an_instant_is_a_duration():
    assert value("now() - incident.resolved_at") == Duration(7 * DAY)


def test_a_duration_is_added_to_and_taken_from_an_instant():
    assert value("incident.resolved_at + duration('1h')") == RESOLVED + timedelta(hours=1)
    assert value("duration('1h') + incident.resolved_at") == RESOLVED + timedelta(hours=1)
    assert value("incident.resolved_at - duration('1h')") == RESOLVED - timedelta(hours=1)


def test_durations_are_added_and_scaled():
    assert value("duration('1h') + '30m' - '15m'") == Duration(4500)
    assert value("ticket.idle * 2") == value("2 * ticket.idle") == Duration(16 * DAY)
    assert value("ticket.idle / 2") == Duration(4 * DAY)


def test_a_text_beside_a_time_is_read_as_one():
    assert value("ticket.idle > '7d' and '7d' < ticket.idle and ticket.idle == '8d' and ticket.idle != '7d'")
    assert value("ticket.idle in ['1d', '8d']")
    assert value("incident.resolved_at + '5bd'") == RESOLVED + timedelta(days=7)
    assert value("incident.resolved_at - '1bd'") == RESOLVED - timedelta(days=3)
    assert value("incident.resolved_at + 'P1M'") == datetime(2026, 4, 2, 9, tzinfo=UTC)
    assert value("incident.resolved_at == '2026-03-02T10:00:00+01:00'")
    assert value("incident.resolved_at < '2026-03-02T09:00:01Z'")
    assert value("incident.resolved_at - '2026-03-01T09:00:00Z'") == Duration(DAY)


@pytest.mark.parametrize(
    "text", ["ticket.idle > 'soon'", "incident.resolved_at + 'soon'", "now() < 'soon'", "duration('soon')"]
)
def test_an_unreadable_time_is_an_error(text):
    assert "not 'soon'" in fault(text)[0]


def test_an_instant_needs_its_zone():
    assert "with its zone" in fault("now() > '2026-03-02T09:00:00'")[0]


@pytest.mark.parametrize(
    "text", ["duration('3bd') + '1h'", "duration('P1M') * 2", "-duration('3bd')", "ticket.idle < '3bd'"]
)
def test_working_days_and_months_go_only_with_instants(text):
    assert "no fixed length" in fault(text)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'a' * 3", "not a text and a number"),
        ("[1] * 3", "not a list and a number"),
        ("'%s' % 3", "'%' takes numbers"),
        ("ticket.idle * ticket.idle", "not a duration and a duration"),
        ("ticket.idle / ticket.idle", "by a number"),
        ("1 / ticket.idle", "by a number"),
        ("now() + now()", "cannot be added"),
        ("ticket.idle - now()", "cannot be taken from"),
        ("1 + 'a'", "a number and a text cannot be added"),
        ("true + 1", "a boolean and a number cannot be added"),
        ("1 / 0", "divided by 0"),
        ("1 % 0", "divided by 0"),
        ("9223372036854775807 * 9", "between -2^63 and 2^63"),
        ("1e18 * 1e18", "between -2^63 and 2^63"),
        ("now() + duration('9999999w')", "three thousand years"),
        ("duration('200000w') * 1000", "three thousand years"),
    ],
)
def test_operators_refuse_what_has_no_meaning(text, message):
    found, place = fault(text)
    assert message in found
    assert place


@pytest.mark.parametrize(
    ("text", "result"), [("6 / 2", 3), ("7 / 2", 3.5), ("7 % 3", 1), ("1 + 2 * 3", 7), ("'a' + 'b'", "ab")]
)
def test_numbers_and_texts_compute(text, result):
    assert value(text) == result
    assert type(value(text)) is type(result)


# --- reading, lists, comprehensions, methods -------------------------------------------------------------------------


def test_stored_and_derived_fields_are_read_alike():
    assert value("[incident.key, incident.open, ticket.assignee.name]") == ["INC-1", False, "Ada"]


def test_a_record_has_no_other_fields():
    assert fault("incident.sevrity") == ("an incident has no field 'sevrity'", "incident.sevrity")
    assert fault("ticket.active_at")[0] == "a ticket has no field 'active_at'"
    assert fault("incident.title.size")[0] == "a text has no fields, so no 'size'"
    assert fault("incident.services.size")[0] == "a list has no fields, so no 'size'"


def test_an_unknown_name_is_an_error_with_its_place():
    assert fault("1 + nobody.name") == ("nothing is called 'nobody' here", "nobody")


def test_a_mistake_of_the_world_is_not_taken_for_an_unknown_name():
    class Broken(FakeWorld):
        def find(self, kind, criteria, last, private):
            raise KeyError(kind)

    with pytest.raises(KeyError):
        value("tickets()", Broken())


def test_the_subject_of_an_event_is_read_by_its_type():
    event = Event(
        "e", "document.published", "docs", NOW, after={"id": "d:1", "title": "Report"}, data={"a": {"b": [1]}}
    )
    assert value("event.document.title", event=event) == "Report"
    assert value("event.data.a.b[0]", event=event) == 1
    assert value("event.data.absent.b", event=event) is None


def test_slices_of_lists_and_texts():
    assert value("[1, 2, 3][1:]") == [2, 3]
    assert value("[1, 2, 3][::-1]") == [3, 2, 1]
    assert value("'abcdef'[1:-1]") == "bcde"
    assert value("'abc'[null:2]") == "ab"
    assert fault("[1][::0]")[0] == "the step of a slice must not be 0"
    assert fault("[1]['a']")[0] == "a place in a list must be a whole number, not a text"


def test_comprehensions_of_lists_and_mappings():
    assert value("[t.key for t in tickets() if t.team == 'sre' if not t.done]") == ["HW-1"]
    assert value("{t.key: t.done for t in tickets()}") == {"HW-1": False, "HW-2": False, "HW-3": True}
    assert value("[[x + y for x in a] for y in a]", a=[]) == []
    assert value("[[x, y] for x in [1]][0]", y=2) == [1, 2]
    assert value("[k for k in {'a': 1, 'b': 2}]") == ["a", "b"]


def test_a_comprehension_sees_its_own_name_and_the_outer_ones():
    assert value("[[x * y for x in [1, 2]] for y in [10, 20]]") == [[10, 20], [20, 40]]
    assert value("[incident.key for incident in tickets()][0] + incident.key") == "HW-1INC-1"


def test_a_text_is_not_gone_through():
    assert fault("[x for x in 'abc']") == ("must be a list, not a text", "'abc'")


def test_methods_of_texts():
    assert value("' A b '.strip().lower().replace('b', 'c').upper().split(' ')") == ["A", "C"]
    assert value("incident.title.startswith('checkout') and incident.title.endswith('down')")
    assert fault("incident.key.lower(1)")[0] == "'lower' takes no arguments, not 1"
    assert fault("[1].lower()")[0] == "'lower()' works on a text, not on a list"
    assert fault("'a'.format(1)")[0] == "no method is called 'format'"


# --- functions and look-ups ------------------------------------------------------------------------------------------


def test_functions():
    assert value("now()") == NOW
    assert value("is_open('office')") is True
    assert value("person('ada')") == ADA
    assert value("person('nobody')") is None
    assert value("team('sre').lead.name") == "Ada"
    assert value("service('checkout').name") == "Checkout"
    assert value("instant('2026-03-09T09:00:00Z') == now()")
    assert fault("is_open('nowhere')")[0] == "no calendar is called 'nowhere'"
    assert fault("foo(1)") == ("no function is called 'foo'", "foo(1)")
    assert fault("person()")[0] == "'person' needs its argument 'key'"


def test_a_look_up_hands_its_keywords_and_bounds_to_the_store():
    world = FakeWorld()
    assert value("tickets(label='postmortem', assignee=ticket.assignee, last='30d', private=true)", world)
    assert world.asked == [("ticket", {"label": "postmortem", "assignee": ADA}, Duration(30 * DAY), True)]
    value("events('incident.resolved', subject=incident.id, foo=1)", world)
    assert world.asked[-1] == ("incident.resolved", {"subject": "pager:P1", "foo": 1}, None, False)


def test_more_than_a_thousand_records_are_an_error_but_are_counted_in_the_store():
    assert len(value("tickets()", FakeWorld(many=1000))) == 1000
    world = FakeWorld(many=1001)
    with pytest.raises(EvaluationError, match=r"more than 1,000 records: narrow it, or count them with '\| length'"):
        value("tickets()", world)
    assert value("tickets(team='sre') | length > 100000", world) is True
    assert world.asked[-1] == ("count", "ticket", {"team": "sre"})
    assert value("events('x') | length") == 7


def test_a_look_up_refuses_unknown_keywords():
    assert fault("tickets(colour='red')")[0] == "'tickets' cannot be narrowed by 'colour'"
    assert fault("teams(last='1d')")[0] == "'teams' cannot be narrowed by 'last'"
    assert fault("tickets('sre')")[0].startswith("'tickets' takes its arguments by name")
    assert "'soon'" in fault("tickets(last='soon')")[0]


def test_a_vendor_is_asked_for_what_is_reached_and_the_answer_is_used():
    with pytest.raises(NeedLookup) as caught:
        value("vars.none or on_call(incident.services | first)")
    assert (caught.value.name, caught.value.args) == ("on_call", ("checkout", None))
    assert value("on_call('checkout').name", FakeWorld(answers={("checkout", None): GRACE})) == "Grace"
    assert value("on_call(null)", FakeWorld(answers={(None, None): ADA})) == ADA
    assert value("on_call(team('sre'), at=now())", FakeWorld(answers={("sre", NOW): ADA})) == ADA


# --- filters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("ticket.idle | duration", "8 days"),
        ("'2h15m' | duration", "2 h 15 min"),
        ("'3bd' | duration", "3 working days"),
        ("incident.resolved_at | local", "Mon 2 Mar 2026 10:00 CET"),
        ("incident.resolved_at | local('America/New_York')", "Mon 2 Mar 2026 04:00 EST"),
        ("incident.resolved_at | ago", "7 days ago"),
        ("(now() + '2h') | ago", "in 2 h"),
        ("incident.participants | join", "Ada, Grace"),
        ("['a', null, 3] | join(' ')", "a 3"),
        ("tickets() | join(' ', by='key')", "HW-1 HW-2 HW-3"),
        ("incident.services | first", "checkout"),
        ("incident.services | last", "cart"),
        ("[] | first", None),
        ("[3, null, 1] | sort", [1, 3, None]),
        ("[1, 3, 2] | sort(reverse=true)", [3, 2, 1]),
        ("[x.key for x in tickets() | sort('title')]", ["HW-2", "HW-1", "HW-3"]),
        ("[x.key for x in tickets() | sort('assignee.name')]", ["HW-1", "HW-3", "HW-2"]),
        ("['a', 'b'] | length", 2),
        ("'abc' | length", 3),
        ("[[g.key, g.list | length] for g in tickets() | group('team')]", [["sre", 2], ["web", 1]]),
        ("[1, 1.0, '1', 1] | unique", [1, "1"]),
        ("[1, 2.5] | sum", 3.5),
        ("[] | sum", 0),
        ("['1h', '2h'] | min", "1h"),
        ("[3, 1, null] | max", 3),
        ("[] | max", None),
        ("[1, 2, 10] | median", 2),
        ("[1, 2] | median", 1.5),
        ("[] | median", None),
        ("tickets() | first | default(1) == null", False),
    ],
)
def test_filters(text, result):
    assert value(text) == result


def test_durations_are_summed_and_put_in_order():
    durations = [Duration(3600), Duration(7200), Duration(60)]
    assert value("x | sum", x=durations) == Duration(10860)
    assert value("x | max", x=durations) == Duration(7200)
    assert value("x | median", x=durations) == Duration(3600)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'abc' | first", "'first' takes a list, not a text"),
        ("3 | length", "'length' takes a list, a mapping or a text, not a number"),
        ("[1, 'a'] | sort", "'sort' takes values of one kind"),
        ("['a', 'b'] | sum", "'sum' takes numbers or durations, not a text"),
        ("[1] | sort('_x')", "'_x' is no name of a field"),
        ("[1] | nope", "no filter is called 'nope'"),
        ("[1] | group", "'group' needs its argument 'by'"),
        ("[1] | first(1)", "'first' takes no arguments, not 1"),
        ("[1] | join(colour=1)", "'join' has no argument 'colour'"),
        ("3 | local", "must be an instant, not a number"),
        ("[[1]] | join", "a list cannot stand in a text: use '| join'"),
    ],
)
def test_filters_refuse_what_they_do_not_work_on(text, message):
    assert message in fault(text)[0]


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_a_doubly_nested_comprehension_runs_out_of_steps():
    message, _ = fault("[[[x for x in a] for y in a] for z in a]", a=list(range(100)))
    assert "too many steps" in message


def test_texts_and_lists_have_a_largest_size():
    assert "256 KiB" in fault("a + a", a="x" * 200_000)[0]
    assert "256 KiB" in fault("a.replace('x', a)", a="x" * 1000)[0]
    assert "10,000 items" in fault("a + a", a=[0] * 6000)[0]
    assert "10,000 items" in fault("a.split('x')", a="x" * 20_000)[0]


def test_many_large_texts_run_out_of_steps():
    assert "too many steps" in fault("[a + 'y' for x in b]", a="x" * 100_000, b=list(range(100)))[0]


def test_values_that_are_too_deep_are_an_error():
    deep = []
    for _ in range(5000):
        deep = [deep]
    assert "too large or too deep" in fault("a == b", a=deep, b=[deep[0]])[0]


def test_code_sees_no_builtins_and_no_private_names():
    for text in ("open", "print", "run", "names", "field", "kept_1"):
        assert fault(text)[0] == f"nothing is called '{text}' here"


# --- what the API gives ----------------------------------------------------------------------------------------------


def test_a_verdict_names_the_first_false_part_with_what_it_met():
    verdict = compile_expression('incident.severity == "sev1" and ticket.team == "web" and ticket.done').test(scope())
    assert verdict.value is False
    assert verdict.failed == 'ticket.team == "web"'
    assert verdict.values == {"ticket.team": "sre"}
    assert verdict.nulls == ()


def test_a_verdict_names_the_shortest_path_that_was_null():
    verdict = compile_expression("(vars.owner.manager.name == 'x') and true").test(scope(vars={"owner": None}))
    assert verdict.failed == "vars.owner.manager.name == 'x'"
    assert verdict.values == {"vars.owner.manager.name": None}
    assert verdict.nulls == ("vars.owner",)


def test_a_verdict_names_only_what_was_reached():
    verdict = compile_expression("false and vars.none or ticket.done").test(scope())
    assert verdict.values == {"ticket.done": False}


def test_a_verdict_shows_what_look_ups_and_filters_gave():
    verdict = compile_expression("tickets(team='web') | length > 200000").test(scope())
    assert verdict.values == {"tickets(team='web') | length": 123_456}


def test_a_true_verdict_has_no_trace():
    assert compile_expression("ticket.done == false").test(scope()) == compile_expression("true").test(scope())


def test_a_trace_tells_the_empty_link_of_a_value():
    trace = compile_expression("vars.none.manager or team('web').lead").trace(scope())
    assert trace.value is None
    assert trace.nulls == ("vars.none", "team('web')")


def test_an_expression_says_what_it_reads():
    found = compile_expression('steps.doc.url == data["from"].x and [y.z for y in tickets(team=vars.t)] | length > 1')
    assert found.names == {"steps", "data", "vars"}
    assert found.reads == {"steps.doc.url", "data.from.x", "vars.t"}
    assert found.lookups == {"tickets"}
    assert not found.vendor


@pytest.mark.parametrize(
    "text",
    [
        "now() > x",
        "ticket.idle > '1d'",
        "tickets(last='1d')",
        "x | ago",
        "on_call(x)",
        "is_open('a')",
        "x | max('idle')",
    ],
)
def test_an_expression_says_that_time_changes_it(text):
    assert compile_expression(text).uses_now


def test_an_expression_that_time_does_not_change_says_so():
    assert not compile_expression("ticket.done and incident.resolved_at | local == 'x'").uses_now
    assert compile_expression("on_call(x)").vendor


def test_equalities_are_found_where_one_side_is_known():
    text = "event.document.id == steps.doc.id and 'a' == event.kind and event.n in [1, vars.n] and event.x > 3"
    first, second, third = compile_expression(text).equalities(lambda name: name != "event")
    assert first.path == "event.document.id"
    assert first.values[0].evaluate(scope(steps={"doc": {"id": "d:1"}})) == "d:1"
    assert (second.path, second.values) == ("event.kind", ("a",))
    assert third.values[0] == 1
    assert isinstance(third.values[1], Expression)


@pytest.mark.parametrize(
    "text",
    [
        "event.a == event.b",
        "event.a == 'x' or event.b == 'y'",
        "event.a != 'x'",
        "event.a in vars.list",
        "not (event.a == 'x')",
        "event.a == now()",
        "event.a == (tickets() | length)",
        "vars.a == 'x'",
        "person(event.a) == 'x'",
    ],
)
def test_what_is_no_equality_with_known_values_is_left_out(text):
    assert compile_expression(text).equalities(lambda name: name != "event") == []


def test_index_keys_agree_with_equality():
    assert index_key(1) == index_key(1.0)
    assert index_key(ADA) == index_key(replace(ADA, name="x"))
    assert len({index_key(one) for one in (None, "null", 1, "1", True, ADA, INCIDENT)}) == 7
    assert index_key(Duration(1)) is index_key(NOW) is index_key([1]) is None


def test_a_whole_placeholder_is_taken_and_its_offsets_stay_right():
    text = "  ${{ incident.nope }} "
    with pytest.raises(EvaluationError) as caught:
        compile_expression(text).evaluate(scope())
    assert text[caught.value.offset :].startswith("incident.nope }}")


def test_places_are_characters_after_wide_letters():
    assert fault("'žluť 漢' == nobody")[1] == "nobody"


# --- anything at all -------------------------------------------------------------------------------------------------

_WORDS = (
    "incident ticket vars a b 1 2.5 'x' \"7d\" null true false and or not in if else for ( ) [ ] { } , . : | + - * / % "
    "== != < > <= >= first join length sort sum group default now() tickets() person('ada') on_call(a) .title .idle "
    "[0] [1:] x"
)
_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


_FILTERS = "duration local ago join first last sort length unique sum min max median escape markdown"


def _outcome(text, names):
    try:
        expression = compile_expression(text)
        expression.equalities(lambda name: name == "a")
        expression.evaluate(scope(**names))
        expression.test(scope(**names))
        return expression.trace(scope(**names))
    except (ExpressionError, EvaluationError, NeedLookup) as error:
        return error


def _survives(text, **names):
    outcome = _outcome(text, names)
    if isinstance(outcome, ExpressionError | EvaluationError):
        assert outcome.message
        assert 0 <= outcome.offset <= outcome.offset + outcome.length <= len(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gives_a_value_or_an_error_of_the_language(text):
    _survives(text, a=1, b=None)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.sampled_from(_WORDS.split(" ")), max_size=14), _DATA, _DATA)
def test_any_words_over_any_data_give_a_value_or_an_error_of_the_language(words, a, b):
    _survives(" ".join(words), a=a, b=b)
    _survives("".join(words), a=a, b=b)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["+", "-", "*", "/", "%", "==", "<", "in", "and", "or"]), _DATA, _DATA)
def test_any_operator_takes_any_data(operator, a, b):
    _survives(f"a {operator} b", a=a, b=b)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(_FILTERS.split(" ")), _DATA)
def test_any_filter_takes_any_data(name, a):
    _survives(f"a | {name}", a=a)
