from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from actions.incident import (
    AssignRole,
    CaptureIncident,
    DeclareIncident,
    MergeIncident,
    NoteIncident,
    ResolveIncident,
    SubscribeToIncident,
    UpdateIncident,
    assign,
    capture,
    declare,
    merge,
    note,
    resolve,
    subscribe,
    update,
)
from engine.domain import Entry, Incident, Ticket
from engine.plugins import ActionError, EffectClass
from tests.fakes import ADA, GRACE, MONDAY, FakeContext, FakePeople, an_effect

PAGED = Incident("pager:P1", "P1", "Slow", roles={"commander": GRACE})
OURS = Incident("local:INC-1", "INC-1", "Slower")


class RecordingIncidents:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.given: Any = OURS

    async def declare(self, title, **details):
        details.pop("effect")
        self.calls.append(("declare", title, details))
        return OURS

    async def update(self, incident, changes, *, effect):
        self.calls.append(("update", incident, dict(changes)))
        return self.given

    async def note(self, incident, text, *, effect):
        self.calls.append(("note", incident, text))
        return "pager/PNOTE1"

    async def log(self, incident):
        return [Entry(MONDAY, "Escalated", id="pager/R1"), Entry(MONDAY, "Drained.", by=ADA, id="pager/PNOTE1")]

    async def get(self, incident):
        return OURS if incident in ("INC-1", "local:INC-1") else None


def a_context(**more):
    return FakeContext(incidents=RecordingIncidents(), **({"incident": PAGED} | more))


def validated(params, **values):
    return params.model_validate(values, context={"people": FakePeople()})


async def test_a_role_is_written_as_a_field_of_the_engine_whoever_keeps_the_incident():
    ctx = a_context()
    given = await assign.function(validated(AssignRole, role="postmortem_owner", to="ada"), ctx)
    [(connection, fact)] = ctx.effect.emitted
    assert (connection, fact.type, fact.subject, fact.time) == ("hotwash", "incident.updated", "pager:P1", MONDAY)
    assert (fact.fields, fact.engine, fact.own) == ({"roles": {"postmortem_owner": ADA}}, True, True)
    assert given.roles == {"commander": GRACE, "postmortem_owner": ADA}


async def test_what_a_person_does_through_us_is_theirs():
    ctx = a_context(effect=an_effect(actor=ADA))
    await note.function(validated(NoteIncident, text="Drained by hand."), ctx)
    fact = ctx.effect.emitted[0][1]
    assert (fact.actor, fact.own, fact.note) == (ADA, False, Entry(MONDAY, "Drained by hand.", by=ADA))


async def test_a_note_changes_no_field():
    ctx = a_context()
    assert await note.function(validated(NoteIncident, text="x"), ctx) == PAGED
    assert ctx.effect.emitted[0][1].fields == {}


@pytest.mark.parametrize("named", [OURS, "INC-1", "local:INC-1"])
async def test_another_incident_is_named_by_record_key_or_id(named):
    ctx = a_context()
    await assign.function(validated(AssignRole, role="scribe", to="ada", incident=named), ctx)
    assert ctx.effect.emitted[0][1].subject == "local:INC-1"


async def test_an_incident_nobody_knows_gets_no_role():
    ctx = a_context()
    with pytest.raises(ActionError, match="no incident is called 'INC-9'"):
        await assign.function(validated(AssignRole, role="scribe", to="ada", incident="INC-9"), ctx)
    assert not ctx.effect.emitted


async def test_a_run_without_an_incident_must_name_one():
    with pytest.raises(ActionError, match="name one with 'incident'"):
        await note.function(validated(NoteIncident, text="x"), a_context(incident=None))


def test_a_role_for_nobody_is_refused():
    with pytest.raises(ValidationError, match="not null"):
        validated(AssignRole, role="scribe", to=None)


async def test_a_declared_incident_is_handed_on_with_its_details():
    ctx = a_context()
    await declare.function(validated(DeclareIncident, title="Slow", severity="sev2", services=["checkout"]), ctx)
    [(_, title, details)] = ctx.incidents.calls
    assert (title, details["severity"], details["services"], details["drill"]) == ("Slow", "sev2", ["checkout"], False)


async def test_only_fields_that_are_given_are_changed():
    ctx = a_context()
    await update.function(validated(UpdateIncident, severity="sev1", labels=["x"], title=None), ctx)
    assert ctx.incidents.calls == [("update", "pager:P1", {"severity": "sev1", "labels": ("x",)})]


async def test_an_update_of_nothing_is_an_error():
    with pytest.raises(ActionError, match="nothing to change"):
        await update.function(validated(UpdateIncident, severity=None), a_context())


async def test_resolving_sets_the_status_and_notes_why():
    ctx = a_context(incident=OURS)
    await resolve.function(validated(ResolveIncident, note="Quiet for an hour."), ctx)
    assert ctx.incidents.calls == [("update", "local:INC-1", {"status": "resolved"})]
    assert ctx.effect.emitted[0][1].note.text == "Quiet for an hour."


async def test_an_incident_action_does_not_change_what_is_no_incident():
    ctx = a_context()
    ctx.incidents.given = Ticket("local:HW-1", "HW-1", "x")
    with pytest.raises(ActionError, match="'HW-1' is no incident"):
        await update.function(validated(UpdateIncident, incident="HW-1", title="x"), ctx)


@pytest.mark.parametrize(("at_source", "kind"), [(False, EffectClass.OWN_ROWS), (True, None)])
def test_a_note_is_rows_of_our_own_unless_the_source_gets_it_too(at_source, kind):
    assert note.class_of(validated(NoteIncident, text="x", at_source=at_source)) is kind


async def test_a_note_for_the_source_is_handed_to_it():
    ctx = a_context()
    await note.function(validated(NoteIncident, text="Quiet for an hour.", at_source=True), ctx)
    assert ctx.incidents.calls == [("note", ctx.incident.id, "Quiet for an hour.")]
    told = ctx.effect.emitted[0][1].note
    assert (told.text, told.id) == ("Quiet for an hour.", "pager/PNOTE1")


async def test_what_was_written_down_elsewhere_is_told_line_by_line_with_an_id_and_as_nobodys_new_act():
    ctx = a_context()
    found = await capture.function(validated(CaptureIncident), ctx)
    assert found.entries == 2
    facts = [fact for _, fact in ctx.effect.emitted]
    assert [(fact.note.text, fact.time, fact.own, fact.engine) for fact in facts] == [
        ("Escalated", MONDAY, True, True),
        ("Drained.", MONDAY, True, True),
    ]
    assert len({fact.id for fact in facts}) == 2


def test_roles_last_and_notes_pass():
    assert (assign.lasts, note.lasts, declare.lasts) == (True, False, True)
    assert assign.class_of(None) is EffectClass.OWN_ROWS
    assert (resolve.capability, resolve.method) == ("incident", "update")


async def test_a_duplicate_and_the_one_that_is_kept_both_say_so():
    ctx = a_context(incident=replace(PAGED, subscribers=(ADA,)))
    assert await merge.function(validated(MergeIncident, into=OURS), ctx) == OURS
    duplicate, kept = (fact for _, fact in ctx.effect.emitted)
    assert (duplicate.subject, duplicate.fields, duplicate.note.text) == (
        "pager:P1",
        {"merged_into": "local:INC-1"},
        "Merged into INC-1: Slower",
    )
    assert (kept.subject, kept.fields, kept.note.text) == (
        "local:INC-1",
        {"subscribers": (ADA,)},
        "P1 was merged into this one: Slow",
    )


async def test_merging_again_writes_nothing():
    ctx = a_context(incident=replace(PAGED, merged_into="local:INC-1"))
    assert await merge.function(validated(MergeIncident, into=OURS), ctx) == OURS
    assert not ctx.effect.emitted


@pytest.mark.parametrize(
    ("duplicate", "kept", "why"),
    [
        (OURS, OURS, "'INC-1' cannot be merged into itself"),
        (replace(PAGED, merged_into="pager:P9"), OURS, "'P1' was merged into 'pager:P9': open it again first"),
        (PAGED, replace(OURS, merged_into="pager:P9"), "'INC-1' was merged into 'pager:P9': merge into that one"),
        (replace(PAGED, private=True), OURS, "'P1' is private and 'INC-1' is not"),
        (PAGED, replace(OURS, private=True), "'INC-1' is private and 'P1' is not"),
    ],
)
async def test_what_cannot_be_one_is_not_merged(duplicate, kept, why):
    ctx = a_context(incident=duplicate)
    with pytest.raises(ActionError, match=why):
        await merge.function(validated(MergeIncident, into=kept), ctx)
    assert not ctx.effect.emitted


async def test_who_subscribes_is_added_once_and_takes_no_part():
    ctx = a_context(incident=replace(PAGED, subscribers=(GRACE,)), effect=an_effect(actor=ADA))
    given = await subscribe.function(validated(SubscribeToIncident, people=["grace", "ada", "ada"]), ctx)
    [(_, fact)] = ctx.effect.emitted
    assert (fact.type, fact.fields, fact.own) == ("incident.subscribed", {"subscribers": (ADA,)}, True)
    assert given.subscribers == (GRACE, ADA)


async def test_who_is_told_already_changes_nothing():
    ctx = a_context(incident=replace(PAGED, subscribers=(GRACE,)))
    await subscribe.function(validated(SubscribeToIncident, people=["grace"]), ctx)
    assert not ctx.effect.emitted
