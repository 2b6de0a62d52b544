from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from engine import operations, wiring
from engine.domain import Person
from engine.operations import BadInput, NotFound, Refused
from engine.plugins import ActionError, RetryLater, at_most_once
from engine.store.codec import loads
from engine.testing import RecordingChat, World

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROJECT = "timezone: UTC\nowner: ada\n"
PEOPLE = "people:\n  ada: {name: Ada, ids: {os: al}}\n  grace: {name: Grace, email: grace@example.org}\n"
POST = "on: incident.declared\nsteps:\n  - {id: say, uses: chat.post, with: {text: hello}}\n"
TWICE = POST + "  - {id: more, uses: chat.post, with: {text: again}}\n"
WAIT = "on: incident.declared\nsteps:\n  - wait: 3d\n  - {uses: chat.post, with: {text: hello}}\n"
ASK = """\
on: incident.declared
steps:
  - id: ask
    uses: chat.ask
    timeout: 2d
    with: {to: ada, text: "Well?", choices: {go: "Go on", no: "Do not"}}
  - {uses: incident.note, with: {text: "It was ${{ steps.ask.answer }}, by ${{ steps.ask.by.name }}"}}
"""


@pytest.fixture
def engine(tmp_path):
    """Give what makes a world: workflows by name, and providers."""

    def make(workflows=(), **providers):
        (tmp_path / "workflows").mkdir()
        (tmp_path / "hotwash.yaml").write_text(PROJECT)
        (tmp_path / "people.yaml").write_text(PEOPLE)
        for name, text in dict(workflows).items():
            (tmp_path / "workflows" / f"{name}.yaml").write_text(text)
        return World(tmp_path, START, wiring.open_application, providers=providers)

    return make


async def perform(world, name, actor="ada", **inputs):
    done = await operations.perform(world.application, name, inputs, actor)
    await world.settle()
    return done


async def declare(world, **inputs):
    return (await perform(world, "declare_incident", title="Checkout is slow", **inputs)).data["incident"]


def state(world, kind="incident"):
    return world.subjects(kind)[-1]


# --- incidents ---


async def test_a_declared_incident_is_there_with_its_event_and_who_declared_it(engine):
    async with engine() as world:
        done = await perform(world, "declare_incident", title="Checkout is slow", severity="sev2")
        event = world.events("incident.declared")[0]
        assert done.message == "INC-1 is declared: Checkout is slow"
        assert (state(world).severity, event.actor.id, event.own) == ("sev2", "ada", False)


@pytest.mark.parametrize(
    ("name", "status", "column"),
    [
        ("acknowledge_incident", "acknowledged", "acknowledged_at"),
        ("mitigate_incident", "mitigated", "mitigated_at"),
        ("resolve_incident", "resolved", "resolved_at"),
    ],
)
async def test_an_incident_is_brought_forward_by_its_key_in_any_case(engine, name, status, column):
    async with engine() as world:
        await declare(world)
        await world.move("5m")
        await perform(world, name, incident="inc-1")
        assert (state(world).status, getattr(state(world), column)) == (status, world.now)


async def test_doing_it_again_changes_nothing_and_says_so(engine):
    async with engine() as world:
        await declare(world)
        await perform(world, "resolve_incident", incident="INC-1")
        events = len(world.events())
        done = await perform(world, "resolve_incident", incident="INC-1")
        assert (done.message, len(world.events())) == ("INC-1 was resolved already", events)


async def test_only_a_resolved_incident_can_be_reopened(engine):
    async with engine() as world:
        await declare(world)
        with pytest.raises(Refused, match="INC-1 is declared"):
            await perform(world, "reopen_incident", incident="INC-1")
        await perform(world, "resolve_incident", incident="INC-1")
        await perform(world, "reopen_incident", incident="INC-1")
        assert (state(world).status, [e.type for e in world.events()][-1]) == ("declared", "incident.reopened")


async def test_an_unknown_incident_is_answered_with_those_that_there_are(engine):
    async with engine() as world:
        with pytest.raises(NotFound, match="no incident is called 'INC-9'; there are none yet"):
            await perform(world, "resolve_incident", incident="INC-9")
        await declare(world)
        await declare(world, private=True)
        with pytest.raises(NotFound, match=r"there is INC-1$"):
            await perform(world, "resolve_incident", incident="INC-9")


async def test_an_incident_that_a_vendor_keeps_is_changed_there(engine):
    async with engine() as world:
        await world.incident("declared", "pager:P1", key="P1", title="Checkout is slow")
        with pytest.raises(Refused, match="kept by connection 'pager', which only tells us of it"):
            await perform(world, "resolve_incident", incident="P1")


async def test_two_people_at_once_do_not_undo_one_another(engine):
    async with engine() as world:
        await declare(world)
        both = [
            operations.perform(world.application, "resolve_incident", {"incident": "INC-1"}, "ada"),
            operations.perform(world.application, "acknowledge_incident", {"incident": "INC-1"}, "grace"),
        ]
        _, refused = await asyncio.gather(*both, return_exceptions=True)
        assert "INC-1 is resolved: reopen it" in str(refused)
        assert state(world).status == "resolved"


async def test_what_is_asked_for_again_under_the_same_name_is_done_once(engine):
    async with engine() as world:
        first = await perform(world, "declare_incident", title="Checkout is slow", once="view/V1")
        again = await perform(world, "declare_incident", title="Checkout is slow", once="view/V1")
        other = await perform(world, "declare_incident", title="Checkout is slow", once="view/V2")
        assert [one.data["incident"].key for one in (first, again, other)] == ["INC-1", "INC-1", "INC-2"]
        assert again.message == "INC-1 is declared already: Checkout is slow"


async def test_two_requests_of_one_name_at_once_file_one_ticket(engine):
    async with engine() as world:
        both = [perform(world, "create_ticket", title="Add an index", once="C1/1.0") for _ in range(2)]
        done = await asyncio.gather(*both)
        assert {one.data["ticket"].key for one in done} == {"HW-1"} == {one.key for one in world.subjects("ticket")}


async def test_a_severity_is_changed_where_the_incident_is_kept(engine):
    async with engine() as world:
        await declare(world, severity="sev3")
        done = await perform(world, "update_incident", incident="inc-1", severity="sev1")
        assert (done.message, state(world).severity) == ("INC-1 has now severity sev1", "sev1")
        again = await perform(world, "update_incident", incident="inc-1", severity="sev1")
        assert again.message == "INC-1 had already severity sev1"
        with pytest.raises(BadInput, match="nothing to change"):
            await perform(world, "update_incident", incident="inc-1")


async def test_a_note_is_a_line_of_the_timeline_by_whoever_wrote_it(engine):
    async with engine() as world:
        await declare(world)
        await perform(world, "note_incident", incident="INC-1", text="drained the queue")
        entry = world.application.hub.lookups().field(state(world), "timeline")[-1]
        assert (entry.text, entry.by.id) == ("drained the queue", "ada")


async def test_a_role_is_given_to_somebody_of_the_roster_or_whom_a_source_knows(engine):
    async with engine() as world:
        await declare(world)
        done = await perform(world, "assign_incident", incident="INC-1", role="commander", to="grace")
        assert (done.message, state(world).roles["commander"].id) == ("Grace is commander of INC-1", "grace")
        await perform(world, "assign_incident", incident="INC-1", role="scribe", to=Person("slack:U9", "Mary"))
        assert state(world).roles["scribe"].name == "Mary"
        with pytest.raises(BadInput, match="'role'"):
            await perform(world, "assign_incident", incident="INC-1", role="Incident Boss", to="grace")


async def test_what_is_declared_starts_workflows(engine):
    chat = RecordingChat()
    async with engine({"say": POST}, console=chat) as world:
        await declare(world)
        assert (world.runs()[0]["state"], len(chat.sent)) == ("finished", 1)


# --- inputs and actors ---


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "the input 'title' is missing"),
        ({"title": "x", "titel": "y"}, "there is no input 'titel'; there are title, severity"),
        ({"title": ""}, "'title': string should have at least 1 character"),
        ({"title": "x", "started_at": "yesterday"}, "'started_at': input should be"),
    ],
)
async def test_a_wrong_input_is_named(engine, inputs, told):
    async with engine() as world:
        with pytest.raises(BadInput, match=told):
            await operations.perform(world.application, "declare_incident", inputs, "ada")


async def test_an_unknown_operation_is_answered_with_the_nearest(engine):
    async with engine() as world:
        with pytest.raises(NotFound, match="did you mean 'close_ticket'"):
            await operations.perform(world.application, "clos_ticket", {}, "ada")


@pytest.mark.parametrize(
    ("user", "person"), [("ada", "ada"), ("Ada", "ada"), ("al", "ada"), ("somebody", "os:somebody")]
)
async def test_the_actor_is_joined_with_the_roster(engine, user, person):
    async with engine() as world:
        await perform(world, "declare_incident", actor=user, title="x")
        assert world.events("incident.declared")[0].actor.id == person


@pytest.mark.parametrize("user", ["", " \n ", "x" * 201])
async def test_nobody_acts_without_a_name(engine, user):
    async with engine() as world:
        with pytest.raises(BadInput, match="'actor' must be a name"):
            await perform(world, "declare_incident", actor=user, title="x")


# --- tickets ---


async def test_a_ticket_goes_through_its_life_by_the_hands_of_people(engine):
    async with engine() as world:
        await declare(world)
        await perform(
            world, "create_ticket", title="Alert on the queue", assignee="ada", due="2026-03-20", incident="inc-1"
        )
        ticket = state(world, "ticket")
        assert (ticket.key, ticket.assignee.id, ticket.incident) == ("HW-1", "ada", "local:INC-1")
        assert ticket.due == datetime(2026, 3, 20, 23, 59, 59, tzinfo=UTC)
        await perform(world, "comment_ticket", ticket="HW-1", text="half done")
        await perform(world, "assign_ticket", ticket="hw-1", to="grace@example.org")
        await perform(world, "close_ticket", ticket="HW-1", comment="done")
        assert (state(world, "ticket").done, state(world, "ticket").assignee.id) == (True, "grace")
        done = await perform(world, "reopen_ticket", ticket="HW-1")
        assert (done.message, state(world, "ticket").done) == ("HW-1 is open again", False)
        assert [event.type for event in world.events() if event.subject_type == "ticket"] == [
            *("ticket.created", "ticket.commented", "ticket.updated", "ticket.closed", "ticket.reopened")
        ]


@pytest.mark.parametrize(
    ("inputs", "error", "told"),
    [
        ({"assignee": "nobody"}, NotFound, "nobody in the roster is called 'nobody'; there are ada, grace"),
        ({"due": "soon"}, BadInput, "'due' must be a date such as"),
        ({"due": "2026-03-20T09:00:00"}, BadInput, "must say its time zone"),
        ({"incident": "INC-7"}, NotFound, "no incident is called 'INC-7'"),
    ],
)
async def test_a_ticket_is_not_filed_with_what_is_not_there(engine, inputs, error, told):
    async with engine() as world:
        with pytest.raises(error, match=told):
            await perform(world, "create_ticket", title="x", **inputs)
        assert world.subjects("ticket") == []


# --- answers ---


async def test_an_answer_lets_the_run_go_on_and_records_who_gave_and_who_entered_it(engine):
    async with engine({"ask": ASK}) as world:
        await declare(world)
        done = await perform(world, "answer_question", actor="grace", question="q1", choice="go on", person="ada")
        event = world.events("chat.answered")[0]
        assert done.message == "Q1 is answered by Ada: Go on"
        assert (event.actor.id, event.data["entered_by"]) == ("ada", "Grace")
        assert world.runs()[0]["state"] == "finished"
        assert world.effects("incident.note")[0]["inputs"]["text"] == "It was go, by Ada"


async def test_only_those_asked_may_answer_and_only_what_is_offered(engine):
    async with engine({"ask": ASK}) as world:
        await declare(world)
        with pytest.raises(Refused, match="Grace was not asked"):
            await perform(world, "answer_question", actor="grace", question="Q1", choice="go")
        with pytest.raises(Refused, match="Q1 offers go"):
            await perform(world, "answer_question", question="Q1", choice="maybe")
        with pytest.raises(NotFound, match="no question is called 'Q7'; open: Q1"):
            await perform(world, "answer_question", question="Q7", choice="go")
        assert world.events("chat.answered") == []


async def test_of_two_answers_at_once_the_first_counts(engine):
    async with engine({"ask": ASK}) as world:
        await declare(world)
        given = [
            operations.perform(world.application, "answer_question", {"question": "Q1", "choice": choice}, "ada")
            for choice in ("go", "no")
        ]
        first, second = await asyncio.gather(*given, return_exceptions=True)
        await world.settle()
        assert (first.data["answer"], str(second)) == ("go", "Q1 is answered already")
        assert len(world.events("chat.answered")) == 1


# --- retry ---


def failing(times):
    chat, left = RecordingChat(), [times]

    def before(message):
        if message.text in ("hello", "again") and left[0] > 0:
            left[0] -= 1
            raise ActionError("the channel is gone")

    chat.before = before
    return chat


async def test_a_failed_run_goes_on_at_the_step_that_failed(engine):
    chat = RecordingChat()
    broken = [True]

    def before(message):
        if broken[0] and message.text == "again":
            raise ActionError("the channel is gone")

    chat.before = before
    async with engine({"say": TWICE}, console=chat) as world:
        await declare(world)
        assert world.runs()[0]["state"] == "failed"
        broken[0] = False
        await perform(world, "retry_run", run=world.runs()[0]["uid"])
        assert (world.runs()[0]["state"], world.runs()[0]["error"]) == ("finished", None)
        assert [m.text for m in chat.sent if m.to != "ada"] == ["hello", "again"]


async def test_a_run_that_fails_again_has_failed_again(engine):
    async with engine({"say": POST}, console=failing(2)) as world:
        await declare(world)
        await perform(world, "retry_run", run="1")
        assert world.runs()[0]["state"] == "failed"
        await perform(world, "retry_run", run="#1")
        assert world.runs()[0]["state"] == "finished"


async def test_a_retried_run_goes_on_after_a_restart(engine):
    chat = failing(1)
    async with engine({"say": POST}, console=chat) as world:
        await declare(world)
        await world.crash()
        alone = wiring.open_application(world.folder, clock=world.clock, environ={})
        await operations.perform(alone, "retry_run", {"run": "1"}, "ada")
        await alone.stop()
        await world.restart()
        assert (world.runs()[0]["state"], [m.text for m in chat.sent][-1]) == ("finished", "hello")


GROUP = """\
on: incident.declared
steps:
  - timeout: 1d
    steps:
      - wait:
          for: 3d
          until: {ticket.created: event.ticket.key == "HW-1"}
"""


async def test_a_retried_group_has_its_whole_time_out_again(engine):
    async with engine({"nap": GROUP}) as world:
        await declare(world)
        await world.move("2d")
        assert (world.runs()[0]["state"], world.runs()[0]["error"]["code"]) == ("failed", "timeout")
        await perform(world, "retry_run", run="1")
        await world.move("23h")
        assert world.runs()[0]["state"] == "waiting"
        await world.move("2h")
        assert world.runs()[0]["state"] == "failed"


async def test_a_wait_that_a_time_out_cut_off_listens_again_after_a_retry(engine):
    async with engine({"nap": GROUP}) as world:
        await declare(world)
        await world.move("2d")
        await perform(world, "retry_run", run="1")
        await perform(world, "create_ticket", title="x")
        assert world.runs()[0]["state"] == "finished"


async def test_a_question_that_a_time_out_cut_off_is_asked_again_after_a_retry(engine):
    steps = ASK.partition("steps:\n")[2]
    inner = "".join(f"      {line}\n" for line in steps.splitlines())
    async with engine({"ask": f"on: incident.declared\nsteps:\n  - timeout: 1d\n    steps:\n{inner}"}) as world:
        await declare(world)
        await world.move("25h")
        assert world.runs()[0]["state"] == "failed"
        await perform(world, "retry_run", run="1")
        await perform(world, "answer_question", question="Q2", choice="go")
        assert world.runs()[0]["state"] == "finished"


@pytest.mark.parametrize("reference", ["7", "run_x", "nothing"])
async def test_an_unknown_run_is_answered_with_the_newest(engine, reference):
    async with engine({"say": POST}) as world:
        await declare(world)
        with pytest.raises(NotFound, match=f"no run is called '{reference}'; the newest are run_"):
            await perform(world, "retry_run", run=reference)


async def test_a_run_is_named_by_its_id_a_beginning_or_an_end_of_it_or_its_number(engine):
    async with engine({"nap": WAIT}) as world:
        for number in range(4):
            await declare(world)
            uid = world.runs()[number]["uid"]
            end = next(uid[-signs:] for signs in range(6, 20) if not uid[-signs:].isdigit())  # digits are a number
            reference = (uid, uid[:21], end, f"#{number + 1}")[number]
            done = await perform(world, "cancel_run", run=reference)
            assert done.data["runs"] == [uid]


async def test_a_beginning_that_several_runs_share_names_none_of_them(engine):
    async with engine({"nap": WAIT}) as world:
        await declare(world)
        with pytest.raises(NotFound, match="no run is called 'run_'"):
            await perform(world, "cancel_run", run="run_")
        await declare(world)
        await world.application.journal.transact(lambda c: c.execute("UPDATE runs SET uid = 'run_aa' || id").rowcount)
        with pytest.raises(NotFound, match="several runs are called 'aa': run_aa1, run_aa2"):
            await perform(world, "cancel_run", run="aa")


async def test_only_a_failed_run_can_be_retried(engine):
    async with engine({"say": POST}) as world:
        await declare(world)
        with pytest.raises(Refused, match="is finished: only a run that failed can be retried"):
            await perform(world, "retry_run", run="1")


# --- cancel ---


async def test_a_cancelled_run_does_nothing_more(engine):
    chat = RecordingChat()
    async with engine({"nap": WAIT}, console=chat) as world:
        await declare(world)
        await perform(world, "cancel_run", run="1")
        waits = world.application.reader.execute("SELECT count(*) FROM waits WHERE run = 1").fetchone()[0]
        await world.move("4d")
        assert (world.runs()[0]["state"], world.runs()[0]["reason"], waits, chat.sent) == ("cancelled", "by Ada", 0, [])


async def test_a_run_is_cancelled_once(engine):
    async with engine({"nap": WAIT}) as world:
        await declare(world)
        await perform(world, "cancel_run", run="1")
        with pytest.raises(Refused, match="is cancelled already"):
            await perform(world, "cancel_run", run="1")


async def test_all_runs_of_a_workflow_that_go_on_are_cancelled(engine):
    async with engine({"nap": WAIT, "other": WAIT}) as world:
        await declare(world)
        await declare(world)
        done = await perform(world, "cancel_run", workflow="nap")
        assert done.message == "2 runs of 'nap' are cancelled"
        assert [run["state"] for run in world.runs("nap")] == ["cancelled"] * 2
        assert [run["state"] for run in world.runs("other")] == ["waiting"] * 2
        assert (await perform(world, "cancel_run", workflow="nap")).message == "no run of 'nap' goes on"


@pytest.mark.parametrize("inputs", [{}, {"run": "1", "workflow": "nap"}])
async def test_a_run_or_a_workflow_is_cancelled_and_not_both(engine, inputs):
    async with engine({"nap": WAIT}) as world:
        with pytest.raises(BadInput, match="name a run or a workflow"):
            await perform(world, "cancel_run", **inputs)


async def test_an_unknown_workflow_is_answered_with_those_that_there_are(engine):
    async with engine({"nap": WAIT}) as world:
        with pytest.raises(NotFound, match="no workflow is called 'nip'; there are nap"):
            await perform(world, "cancel_run", workflow="nip")


class SlowChat(RecordingChat):
    """A chat whose messages take until `go` is set."""

    def __init__(self):
        super().__init__()
        self.began, self.go = asyncio.Event(), asyncio.Event()

    @at_most_once
    async def post(self, channel, text, *, thread, effect):
        self.began.set()
        await self.go.wait()
        return await super().post(channel, text, thread=thread, effect=effect)


async def test_what_is_under_way_when_a_run_is_cancelled_ends_and_is_written_down(engine):
    chat = SlowChat()
    async with engine({"say": TWICE}, console=chat) as world:
        await operations.perform(world.application, "declare_incident", {"title": "x"}, "ada")
        await chat.began.wait()
        await operations.perform(world.application, "cancel_run", {"run": "1"}, "ada")
        chat.go.set()
        await world.settle()
        assert [message.text for message in chat.sent] == ["hello"]
        assert [effect["state"] for effect in world.effects()] == ["done"]
        assert world.runs()[0]["state"] == "cancelled"


async def test_a_question_of_a_cancelled_run_is_closed(engine):
    async with engine({"ask": ASK}) as world:
        await declare(world)
        await perform(world, "cancel_run", run="1")
        with pytest.raises(Refused, match="Q1 is closed"):
            await perform(world, "answer_question", question="Q1", choice="go")


# --- decide ---


def doubtful():
    """Give a chat of which it is not known whether its first message went out."""
    chat, first = RecordingChat(), [True]

    def before(message):
        if first.pop() if first else False:
            raise RetryLater("no answer", maybe_done=True)

    chat.before = before
    return chat


@pytest.mark.parametrize(
    ("decision", "sent", "states"),
    [
        ("repeat", ["hello", "again"], ["done", "done"]),
        ("done", ["again"], ["done", "done"]),
        ("skip", ["again"], ["skipped", "done"]),
    ],
)
async def test_a_person_decides_what_became_of_an_effect_in_doubt(engine, decision, sent, states):
    chat = doubtful()
    async with engine({"say": TWICE}, console=chat) as world:
        await declare(world)
        assert world.runs()[0]["state"] == "needs_decision"
        await perform(world, "decide_run", run="1", decision=decision)
        assert chat.to("#default") == sent
        assert [effect["state"] for effect in world.effects("chat.post")] == states
        assert world.runs()[0]["state"] == "finished"


async def test_who_decided_stands_in_the_runs_history(engine):
    async with engine({"say": POST}, console=doubtful()) as world:
        await declare(world)
        await perform(world, "decide_run", run="1", decision="done")
        rows = world.application.reader.execute(
            "SELECT data FROM steps WHERE kind = 'done' AND path = 'say'"
        ).fetchall()
        assert loads(rows[0]["data"])["by"].id == "ada"


async def test_where_nothing_is_in_doubt_there_is_nothing_to_decide(engine):
    async with engine({"nap": WAIT}) as world:
        await declare(world)
        with pytest.raises(Refused, match="is waiting: none of its effects is in doubt"):
            await perform(world, "decide_run", run="1", decision="skip")


async def test_of_several_steps_in_doubt_one_is_named(engine):
    chat = RecordingChat()

    def before(message):
        if not message.text.startswith("again"):
            raise RetryLater("no answer", maybe_done=True)

    chat.before = before
    loop = 'on: incident.declared\nsteps:\n  - {id: say, for_each: "[1, 2]", uses: chat.post, with: {text: hello}}\n'
    async with engine({"loop": loop}, console=chat) as world:
        await declare(world)
        with pytest.raises(
            Refused, match=r"several steps of run_\w+ are in doubt, name one of them: say\[1\], say\[2\]"
        ):
            await perform(world, "decide_run", run="1", decision="skip")
        await perform(world, "decide_run", run="1", decision="skip", step="say[1]")
        assert world.runs()[0]["state"] == "needs_decision"
        await perform(world, "decide_run", run="1", decision="done", step="say[2]")
        assert world.runs()[0]["state"] == "finished"


async def test_a_later_run_does_not_repeat_what_a_person_passed_over(engine):
    chat = doubtful()
    text = POST.replace("{id: say,", "{id: say, once_per: \"'all'\",")
    async with engine({"say": text}, console=chat) as world:
        await declare(world)
        await declare(world)
        assert [run["state"] for run in world.runs()] == ["needs_decision", "waiting"]
        await perform(world, "decide_run", run="1", decision="skip")
        assert [run["state"] for run in world.runs()] == ["finished", "finished"]
        assert chat.to("#default") == []


# --- pauses ---


async def test_a_pause_says_what_it_holds_and_a_second_one_that_there_is_one(engine):
    async with engine({"flow": POST}) as world:
        done = await perform(world, "pause")
        assert done.message == "all workflows are paused: effects are held until 'hotwash resume'"
        assert (await perform(world, "pause", actor="grace")).message == "everything is paused by Ada already"
        assert (await perform(world, "pause", workflow="flow")).message.startswith("'flow' is paused: ")


async def test_ending_the_pause_of_all_leaves_those_by_name_and_says_so(engine):
    async with engine({"flow": POST}) as world:
        await perform(world, "pause", workflow="flow")
        with pytest.raises(Refused, match="not everything is paused; paused by name: flow"):
            await perform(world, "resume")
        await perform(world, "pause")
        await declare(world)
        assert (await perform(world, "resume")).message == "all workflows go on; still paused: flow"
        assert world.runs()[0]["state"] == "held"
        assert (await perform(world, "resume", workflow="flow")).message == "'flow' goes on"
        assert world.runs()[0]["state"] == "finished"


async def test_what_is_not_paused_cannot_be_resumed(engine):
    async with engine({"flow": POST}) as world:
        with pytest.raises(Refused, match="nothing is paused"):
            await perform(world, "resume")
        await perform(world, "pause")
        with pytest.raises(Refused, match="'flow' is not paused by its name: everything is paused by Ada"):
            await perform(world, "resume", workflow="flow")


async def test_no_workflow_is_paused_that_there_is_not(engine):
    async with engine({"flow": POST}) as world:
        with pytest.raises(NotFound, match="no workflow is called 'flwo'; did you mean 'flow'"):
            await perform(world, "pause", workflow="flwo")


async def test_the_runs_of_a_workflow_whose_file_is_gone_can_be_paused(engine):
    async with engine({"flow": WAIT}) as world:
        await declare(world)
        (world.folder / "workflows" / "flow.yaml").unlink()
        await world.restart()
        await perform(world, "pause", workflow="flow")
        await world.move("4d")
        assert world.runs()[0]["state"] == "held"
