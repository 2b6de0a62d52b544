"""`review.scheduled` on the real engine: what starts, what is waited for, and what the review is afterwards."""

from datetime import UTC, datetime

from engine.domain import Person
from engine.plugins import Fact
from engine.testing import RecordingChat, World
from engine.wiring import open_application

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
PEOPLE = "people: {ada: {name: Ada, email: ada@example.org}, grace: {name: Grace, email: grace@example.org}}\n"
BOOK = """\
on: incident.resolved
steps:
  - id: review
    uses: calendar.schedule
    with: {title: Review, attendees: [ada], duration: 1h}
"""
HEARD = """\
on: review.scheduled
steps:
  - uses: chat.post
    with:
      text: "${{ review.title }} of ${{ review.incident.title }} at ${{ review.start }},
        before ${{ event.before.start }}"
"""


class Desk:
    """A project with the given workflows, its engine, and a chat that records."""

    def __init__(self, folder, **workflows):
        self.chat = RecordingChat()
        (folder / "workflows").mkdir()
        (folder / "hotwash.yaml").write_text("timezone: UTC\nowner: grace\npeople: people.yaml\n")
        (folder / "people.yaml").write_text(PEOPLE)
        for name, text in workflows.items():
            (folder / "workflows" / f"{name}.yaml").write_text(text)
        self.world = World(folder, MONDAY, open_application, providers={"console": self.chat})

    @property
    def said(self):
        return [message.text for message in self.chat.sent]


async def test_a_review_that_we_book_starts_what_listens_to_reviews(tmp_path):
    desk = Desk(tmp_path, book=BOOK, heard=HEARD)
    async with desk.world as world:
        await world.incident("resolved", title="Checkout is slow")
        assert desk.said == ["Review of Checkout is slow at 2026-03-02T09:15:00+00:00, before "]
        (review,) = world.subjects("review")
        assert (review.start.hour, review.end.hour, review.cancelled) == (9, 10, False)


async def test_a_review_that_is_moved_starts_it_again_and_one_that_is_called_off_does_not(tmp_path):
    more = (
        "  - wait: 10m\n  - uses: calendar.reschedule\n    with: {review: '${{ steps.review.id }}', not_before: 1d}\n"
    )
    more += "  - wait: 10m\n  - uses: calendar.cancel\n    with: {review: '${{ reviews() | first }}', reason: Enough}\n"
    desk = Desk(tmp_path, book=BOOK + more, heard=HEARD)
    async with desk.world as world:
        await world.incident("resolved", title="Checkout is slow")
        await world.move("10m")
        (review,) = world.subjects("review")
        assert (review.start, review.cancelled) == (datetime(2026, 3, 3, 9, 15, tzinfo=UTC), False)
        await world.move("10m")
        (review,) = world.subjects("review")
        assert (review.cancelled, [event.type for event in world.events() if event.subject_type == "review"]) == (
            True,
            ["review.scheduled", "review.scheduled", "review.updated"],
        )
        assert [text.partition(" at ")[2] for text in desk.said] == [
            "2026-03-02T09:15:00+00:00, before ",
            "2026-03-03T09:15:00+00:00, before 2026-03-02T09:15:00+00:00",
        ]


async def test_a_run_waits_until_its_review_is_moved(tmp_path):
    until = "event.review.id == steps.review.id and event.review.start != steps.review.start"
    waits = f"  - id: moved\n    wait: {{for: 2d, until: {{review.scheduled: '{until}'}}}}\n"
    waits += "  - uses: chat.post\n    with: {text: 'moved: ${{ not steps.moved.timed_out }}'}\n"
    mover = "on: incident.updated\nsteps:\n  - uses: calendar.reschedule\n"
    mover += "    with: {review: '${{ reviews(incident=incident) | first }}', not_before: 2h}\n"
    desk = Desk(tmp_path, book=BOOK + waits, mover=mover)
    async with desk.world as world:
        await world.incident("resolved", title="Checkout is slow")
        await world.move("1h")
        assert desk.said == []
        await world.incident("updated", title="Checkout was slow")
        assert desk.said == ["moved: true"]


async def test_a_run_about_a_review_reads_it_again_and_stops_when_it_is_called_off(tmp_path):
    remind = (
        "on: review.scheduled\nstop_when: review.cancelled\nsteps:\n  - wait: {at: \"${{ review.start - '15m' }}\"}\n"
    )
    remind += "  - uses: chat.nudge\n    with: {to: '${{ review.attendees | first }}', text: In a quarter of an hour}\n"
    book = BOOK.replace("duration: 1h", "duration: 1h, not_before: 3h")
    desk = Desk(tmp_path, book=book, remind=remind)
    async with desk.world as world:
        await world.incident("resolved", title="Checkout is slow")
        (path,) = (tmp_path / "reviews").iterdir()
        path.write_bytes(path.read_bytes().replace(b"STATUS:CONFIRMED", b"STATUS:CANCELLED"))
        await world.move("4h")
        assert (desk.said, world.runs("remind")[0]["state"]) == ([], "stopped")


async def test_a_review_that_is_moved_where_it_is_heard_of_is_not_moved_without_end(tmp_path):
    loop = "on: review.scheduled\nsteps:\n  - uses: calendar.reschedule\n"
    desk = Desk(tmp_path, book=BOOK, loop=loop)
    async with desk.world as world:
        await world.incident("resolved", title="Checkout is slow")
        assert world.verdicts("loop") == ["start"] * 8 + ["cut"]


# --- review.declined ---

ADA = Person("ada", "Ada", email="ada@example.org")
GRACE = Person("grace", "Grace", email="grace@example.org")
DECLINED = """\
on: review.declined
steps:
  - uses: chat.post
    with: {text: "${{ event.actor.name }} cannot come to ${{ review.title }}; ${{ review.declined | length }} cannot"}
"""


async def says(world, *declined, optional=(), actor=ADA, **fields):
    """Let the calendar say who has declined."""
    known = {"title": "Review", "start": MONDAY, "end": MONDAY, "attendees": (ADA, GRACE), "optional": tuple(optional)}
    fact = Fact("review.updated", world.now, "review", "work:r1", known | {"declined": declined, **fields}, actor=actor)
    await world.happens("work", fact)
    await world.move("5m")


async def test_each_who_must_come_and_declines_starts_it_once(tmp_path):
    desk = Desk(tmp_path, declined=DECLINED)
    async with desk.world as world:
        await says(world)
        await says(world, ADA)
        await says(world, ADA)
        await says(world, ADA, GRACE, actor=GRACE)
        assert desk.said == ["Ada cannot come to Review; 1 cannot", "Grace cannot come to Review; 2 cannot"]


async def test_one_who_declines_again_after_the_review_was_moved_starts_it_again(tmp_path):
    desk = Desk(tmp_path, declined=DECLINED)
    async with desk.world as world:
        for declined in ((), (ADA,), (), (ADA,)):
            await says(world, *declined)
        assert len(desk.said) == 2


async def test_one_who_may_stay_away_or_a_review_that_is_called_off_starts_nothing(tmp_path):
    desk = Desk(tmp_path, declined=DECLINED)
    async with desk.world as world:
        await says(world)
        await says(world, ADA, optional=[ADA])
        await says(world, ADA, GRACE, optional=[ADA], cancelled=True)
        await says(world, ADA, optional=[ADA], accepted=(GRACE,))
        assert (desk.said, len(world.events("review.declined"))) == ([], 0)
