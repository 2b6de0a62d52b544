import pytest
from pydantic import ValidationError

from actions.event import EmitEvent, emit
from engine.domain import Incident
from engine.plugins import EffectClass
from tests.fakes import ADA, MONDAY, FakeContext, an_effect


async def test_an_event_is_emitted_with_its_data_at_the_effects_time():
    ctx = FakeContext()
    await emit.function(EmitEvent(type="deploy.finished", data={"version": 7}), ctx)
    [(connection, fact)] = ctx.effect.emitted
    assert (connection, fact.type, fact.time, fact.data) == ("hotwash", "deploy.finished", MONDAY, {"version": 7})
    assert (fact.subject_type, fact.subject, fact.actor) == (None, None, None)


async def test_an_event_may_start_workflows_although_it_is_ours():
    ctx = FakeContext()
    await emit.function(EmitEvent(type="deploy.finished"), ctx)
    assert ctx.effect.emitted[0][1].own is False


async def test_an_event_about_an_incident_speaks_about_none_of_the_sources_fields():
    ctx = FakeContext(effect=an_effect(actor=ADA))
    await emit.function(EmitEvent(type="deploy.finished", subject=Incident("pager:P1", "P1", "Slow")), ctx)
    fact = ctx.effect.emitted[0][1]
    assert (fact.subject_type, fact.subject, fact.actor) == ("incident", "pager:P1", ADA)
    assert fact.engine
    assert not fact.fields


@pytest.mark.parametrize("name", ["incident.resolved", "ticket.ours", "workflow.failed", "chat.answered"])
def test_an_event_that_the_engine_derives_is_refused_with_a_name_to_take_instead(name):
    with pytest.raises(ValidationError, match=f"such as 'our.{name}'"):
        EmitEvent(type=name)


@pytest.mark.parametrize(
    "name", ["deploy", "Deploy.finished", "deploy.", ".deploy", "deploy finished.now", "1.a", "a.b\n"]
)
def test_a_type_is_words_with_dots_between(name):
    with pytest.raises(ValidationError, match="words in lower case"):
        EmitEvent(type=name)


@pytest.mark.parametrize("subject", ["pager:P1", ADA, 7])
def test_a_subject_is_a_record(subject):
    with pytest.raises(ValidationError, match="must be a subject"):
        EmitEvent(type="deploy.finished", subject=subject)


def test_it_is_rows_of_our_own():
    assert (emit.class_of(None), emit.capability, emit.lasts) == (EffectClass.OWN_ROWS, None, False)
