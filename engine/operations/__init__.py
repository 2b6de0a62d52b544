"""What people do to a running engine: the one definition that the command line and the HTTP API share.

Each operation is an async function of the application, the person who acts, and its inputs. It gives a `Done`, or
raises an `OperationError` with a sentence, having changed nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.application import Application
from engine.domain import Person
from engine.operations.base import (
    BadInput,
    Done,
    Inputs,
    NotFound,
    NotYet,
    OperationError,
    Refused,
    actor_of,
    read_inputs,
)
from engine.operations.connections import CheckConnections, check_connections
from engine.operations.incidents import (
    AssignIncident,
    DeclareIncident,
    MergeIncident,
    NamedIncident,
    NoteIncident,
    Subscription,
    UpdateIncident,
    acknowledge_incident,
    assign_incident,
    declare_incident,
    merge_incident,
    mitigate_incident,
    note_incident,
    reopen_incident,
    resolve_incident,
    subscribe_incident,
    unsubscribe_incident,
    update_incident,
)
from engine.operations.mutes import MutedSubject, MuteSubject, mute_subject, unmute_subject
from engine.operations.pauses import PauseWorkflow, pause, resume
from engine.operations.questions import AnswerQuestion, answer_question
from engine.operations.replaying import ReplayEvent, replay_event
from engine.operations.runs import CancelRun, DecideRun, RetryRun, cancel_run, decide_run, retry_run
from engine.operations.starting import StartWorkflow, start_workflow
from engine.operations.tickets import (
    AssignTicket,
    CommentTicket,
    CreateTicket,
    TurnTicket,
    assign_ticket,
    close_ticket,
    comment_ticket,
    create_ticket,
    reopen_ticket,
)
from engine.operations.upkeep import Prune, prune
from engine.problems import did_you_mean

__all__ = ["OPERATIONS", "BadInput", "Done", "NotFound", "NotYet", "Operation", "OperationError", "Refused", "perform"]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its function, and the model of its inputs."""

    function: Callable[[Application, Person, Any], Awaitable[Done]]
    params: type[Inputs]

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""


#: Every operation by its name.
OPERATIONS: Mapping[str, Operation] = {
    "declare_incident": Operation(declare_incident, DeclareIncident),
    "acknowledge_incident": Operation(acknowledge_incident, NamedIncident),
    "mitigate_incident": Operation(mitigate_incident, NamedIncident),
    "resolve_incident": Operation(resolve_incident, NamedIncident),
    "reopen_incident": Operation(reopen_incident, NamedIncident),
    "update_incident": Operation(update_incident, UpdateIncident),
    "note_incident": Operation(note_incident, NoteIncident),
    "assign_incident": Operation(assign_incident, AssignIncident),
    "merge_incident": Operation(merge_incident, MergeIncident),
    "subscribe_incident": Operation(subscribe_incident, Subscription),
    "unsubscribe_incident": Operation(unsubscribe_incident, Subscription),
    "create_ticket": Operation(create_ticket, CreateTicket),
    "comment_ticket": Operation(comment_ticket, CommentTicket),
    "assign_ticket": Operation(assign_ticket, AssignTicket),
    "close_ticket": Operation(close_ticket, TurnTicket),
    "reopen_ticket": Operation(reopen_ticket, TurnTicket),
    "answer_question": Operation(answer_question, AnswerQuestion),
    "replay_event": Operation(replay_event, ReplayEvent),
    "start_workflow": Operation(start_workflow, StartWorkflow),
    "retry_run": Operation(retry_run, RetryRun),
    "cancel_run": Operation(cancel_run, CancelRun),
    "decide_run": Operation(decide_run, DecideRun),
    "mute_subject": Operation(mute_subject, MuteSubject),
    "unmute_subject": Operation(unmute_subject, MutedSubject),
    "pause": Operation(pause, PauseWorkflow),
    "resume": Operation(resume, PauseWorkflow),
    "prune": Operation(prune, Prune),
    "check_connections": Operation(check_connections, CheckConnections),
}


async def perform(application: Application, name: str, inputs: Mapping[str, Any], actor: str | Person) -> Done:
    """Do what is named; `actor` is a person, or the name of a user of the operating system.

    Raises:
        NotFound: there is no such operation, or something that it names is not there.
        BadInput: an input is missing, unknown or not of its kind.
        Refused: it cannot be done as things are.
        StorageUnavailable: the database cannot be written; nothing was changed.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise NotFound(f"no operation is called '{name}'; {did_you_mean(name, OPERATIONS, 'operations')}")
    person = actor if isinstance(actor, Person) else actor_of(application, actor)
    return await operation.function(application, person, read_inputs(operation.params, inputs))
