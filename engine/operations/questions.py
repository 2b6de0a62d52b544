"""Answer a question that a run asked, for those chats whose inbox the engine keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import Field

from engine.application import Application
from engine.domain import Person
from engine.operations.base import Done, Inputs, NotFound, Refused, person_of
from engine.plugins import ActionError


class AnswerQuestion(Inputs):
    """An answer to a question of the inbox."""

    question: str = Field(min_length=1, max_length=1000, description="Its name, such as Q3.")
    choice: str = Field(min_length=1, max_length=100, description="One of its choices, by name or label.")
    person: str | None = Field(default=None, description="Who answers, where it is not the actor.")


async def answer_question(application: Application, actor: Person, params: AnswerQuestion) -> Done:
    """Give the answer of somebody who was asked; the event records both that person and the actor who entered it."""
    person = person_of(application, params.person) if params.person else actor
    connection, provider, question = _find(application, params.question)
    try:
        fact = provider.answer(question.name, params.choice, person, application.clock.now())
    except ActionError as error:
        raise Refused(str(error)) from None
    answer = fact.data["answer"]
    # the delivery id makes the first answer the only one, however many come at once
    fact = replace(fact, id=f"answer/{question.name}", data={**fact.data, "entered_by": actor.name})
    accepted = await application.intake.commit([(connection, fact)])
    if accepted.duplicates:
        raise Refused(f"{question.name} is answered already")
    label = question.choices.get(answer, answer)
    return Done(f"{question.name} is answered by {person.name}: {label}", {"question": question.name, "answer": answer})


def _find(application: Application, ref: str) -> tuple[str, Any, Any]:
    """Give the connection, provider and question of a name or of an effect's identity."""
    unknown = "no connection keeps questions that can be answered here"
    for connection, provider in _inboxes(application).items():
        try:
            return connection, provider, provider.question(ref)
        except ActionError as error:
            unknown = str(error)
    raise NotFound(unknown)


def _inboxes(application: Application) -> Mapping[str, Any]:
    """Give the chats that keep an inbox, the one that `use:` names first."""
    first = application.config.use.get("chat")
    chats = sorted(application.providers.items(), key=lambda pair: pair[0] != first)
    return {name: one for name, one in chats if hasattr(one, "question") and hasattr(one, "answer")}
