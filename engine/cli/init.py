"""`hotwash init`: write a project to start from."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.cli import exits, output

if TYPE_CHECKING:
    from engine.cli.vendors import Vendor

app = typer.Typer(add_completion=False, rich_markup_mode=None)

#: The ready-made workflows that a new project begins with.
STARTER = ("postmortem", "action-items", "stale-action-items", "weekly-digest")
#: Those that it has besides, where one of the systems that were named does the job they are about.
_BY_JOB = {"chat": "incident-response", "calendar": "declined-review"}

_PROJECT = """\
# What this project is made of. 'hotwash check' says what is wrong with it.
# Values here may name environment variables, ${NAME}, and files, ${file:PATH}.

timezone: UTC  # an IANA name such as Europe/Prague; the machine's own zone is never read
owner: OWNER  # who is told when a workflow names nobody: a person or a team of people.yaml

connections:
CONNECTIONS
# Which connection does which job. JOBS
use:
USED

calendars:
  office:
    hours: {mon-fri: "09:00-17:00"}
    # holidays: [CZ, company-days.ics]

people: people.yaml

# vars:  # constants that every workflow may read as vars.NAME
#   sla: {sev1: 14d, sev2: 30d}
"""

_PAGER = """\
  # PagerDuty posts its webhooks to /hooks/pager. Put the secret that it shows for the subscription into the file,
  # or sign events of your own with the one that is there: 'hotwash events sign'.
  pager:
    provider: pagerduty
    webhook_secret: ${file:.hotwash/secrets/pager}
    severity: {P1: sev1, P2: sev2, P3: sev3}  # severity by the name of PagerDuty's priority
"""

#: Who does which job where no account is needed.
_WITHOUT_ACCOUNT = {
    "document": "markdown  # files in documents/",
    "ticket": "local  # in the engine's own database",
    "calendar": "ics  # people's calendars are read from calendars/, invitations are written to reviews/",
    "chat": "console  # printed, and kept in an inbox",
    "status_page": "static  # a page and its RSS feed in status/, from its first entry on",
    "meeting": "jitsi  # links to rooms of meet.jit.si",
}

_PEOPLE = """\
# Who there is. People are joined with those that PagerDuty and others name by e-mail, else by 'ids'.

people:
  OWNER:
    name: OWNER
    # email: OWNER@example.org
    # timezone: Europe/Prague
    # manager: somebody-else
    # ids: {pagerduty: PXXXXXX}
    calendar: OWNER.ics  # in calendars/; what stands in it is not booked over

teams:
  sre:
    lead: OWNER
    members: [OWNER]
    channel: "#sre"
    rotation: default

services: {}
#   checkout: {team: sre}  # by the name that PagerDuty has for it

rotations:
  default:  # who is on call where a service or team names no rotation
    members: [OWNER]
    every: 7d
    from: "2024-01-01T09:00"
"""

_CALENDAR = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//hotwash//init//EN\r\nEND:VCALENDAR\r\n"

_YAMLLINT = """\
extends: default
rules:
  truthy: {check-keys: false}  # 'on:' is a key of workflows
  document-start: disable
  line-length: disable
ignore: [.hotwash/]
"""

_IGNORED = ".hotwash/"
#: Files that other tools may have written already; they are kept as they are.
_KEPT = frozenset({".yamllint"})
_SETTLE_TIME = re.compile(r"^(?P<indent>[ ]+)  for: (?P<rest>\d+[smh]\b.*)$", re.MULTILINE)
_WORDS_OF_YAML = ("null", "true", "false")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where; by default here.")] = Path("."),
    systems: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="NAMES", help="Systems that you have, such as slack,jira,google,pagerduty."),
    ] = None,
) -> None:
    """Write a project that runs at once: configuration, people, four workflows and their templates.

    With '--with' the systems that you name do their jobs in it, once their credentials are filled in; for a chat and a
    calendar there are more workflows.
    """
    wanted = [name.strip() for one in systems or () for name in one.split(",") if name.strip()]
    found = _vendors(wanted) if wanted else []
    files = dict(starter(_owner(), found))
    taken = [name for name in files if (folder / name).exists() and name not in _KEPT]
    if taken:
        hint = "nothing was written; choose another folder, or move them away"
        raise exits.CommandError(f"these are there already: {', '.join(taken)}", hint=hint, code=exits.PROBLEMS)
    try:
        written = [name for name, content in files.items() if _write(folder / name, content)]
        for name in (name for one in found for name in one.files):
            (folder / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _ignore(folder / ".gitignore")
    except OSError as error:
        reason = (error.strerror or "unknown").lower()
        raise exits.CommandError(f"'{error.filename}' cannot be written: {reason}", code=exits.PROBLEMS) from None
    _say_what_next(folder, written, found)


def _vendors(names: list[str]) -> list[Vendor]:
    from engine import wiring
    from engine.cli.vendors import vendors

    return vendors(wiring.catalogue(), names)


def starter(owner: str, found: Sequence[Vendor] = ()) -> Iterator[tuple[str, str]]:
    """Give the files of a new project: path in its folder, and content. Secrets are new each time."""
    from engine.config import library

    ready_made = library()
    yield "hotwash.yaml", _project(found).replace("OWNER", owner)
    yield "people.yaml", _PEOPLE.replace("OWNER", owner)
    from engine.cli import vendors

    done = vendors.jobs(found)
    for name in (*STARTER, *(name for job, name in _BY_JOB.items() if job in done)):
        text = (ready_made / f"{name}.yaml").read_text("utf-8")
        yield f"workflows/{name}.yaml", _without_settle_time(text) if name == "postmortem" else text
    for path in sorted((ready_made / "templates").rglob("*")):
        if path.is_file():
            yield f"templates/{path.relative_to(ready_made / 'templates').as_posix()}", path.read_text("utf-8")
    yield f"calendars/{owner}.ics", _CALENDAR
    yield ".yamllint", _YAMLLINT
    if found:
        yield ".hotwash/env", vendors.environment(found)
    else:
        yield ".hotwash/secrets/pager", secrets.token_hex(32) + "\n"
    yield ".hotwash/token", secrets.token_hex(32) + "\n"


def _project(found: Sequence[Vendor]) -> str:
    from engine.cli import vendors

    done = vendors.jobs(found)
    used = done | {job: who for job, who in _WITHOUT_ACCOUNT.items() if job not in done}
    known = "These need no account; other providers are configured under 'connections:'."
    text = _PROJECT.replace("JOBS", known if not found else "'hotwash list providers' says which can do what.")
    text = text.replace("USED", "\n".join(f"  {job}: {who}" for job, who in used.items()))
    return text.replace("CONNECTIONS", "\n".join([*vendors.connections(found), ""]) if found else _PAGER)


def _without_settle_time(text: str) -> str:
    """Comment the trigger's `for:` out, so that a first try is answered at once."""
    head, steps, rest = text.partition("\nsteps:")
    return _SETTLE_TIME.sub(r"\g<indent>#   for: \g<rest>", head, count=1) + steps + rest


def _owner() -> str:
    """Give a roster key for whoever is at the keyboard."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = ""
    key = re.sub(r"[^a-z0-9_.-]+", "-", user.lower()).strip("-.")
    if not key or key in _WORDS_OF_YAML:
        return "owner"
    return key if key[0].isalpha() else f"user-{key}"


def _write(path: Path, content: str) -> bool:
    """Write a new file; False where one that is kept is there. What lies in `.hotwash` only its owner can read."""
    private = ".hotwash" in path.parts
    for parent in reversed(path.parents):
        if not parent.exists():
            parent.mkdir(mode=0o700 if ".hotwash" in parent.parts else 0o777)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    except FileExistsError:
        if path.name in _KEPT:
            return False
        raise
    with open(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(content)
    return True


def _ignore(path: Path) -> None:
    """Keep what is private and what changes all the time out of git."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    if _IGNORED not in lines and _IGNORED.rstrip("/") not in lines:
        path.write_text("\n".join([*lines, _IGNORED]) + "\n", "utf-8")


def _say_what_next(folder: Path, written: list[str], found: Sequence[Vendor]) -> None:
    here = folder.resolve() == Path.cwd()
    place = "this folder" if here else f"'{folder}'"
    output.say(f"A project in {place}:")
    for name in written:
        output.say(f"  {name}")
    if found:
        _say_what_to_fill_in(found)
    output.say("\nTry:")
    if not here:
        output.say(f"  cd {shlex.quote(str(folder))}")
    output.say("  hotwash check")
    if found:
        output.say("  hotwash doctor  # what is missing, and what to do about it")
    output.say("  hotwash run")
    output.say('  hotwash incident declare "Checkout is slow" --severity sev2  # beside it, in another terminal')


def _say_what_to_fill_in(found: Sequence[Vendor]) -> None:
    output.say("\nFill in:")
    variables = [name for one in found for name in one.variables]
    if variables:
        output.say(f"  in .hotwash/env, or in the environment: {', '.join(dict.fromkeys(variables))}")
    for name in dict.fromkeys(name for one in found for name in one.files):
        output.say(f"  the file {name}")
    output.say("  in hotwash.yaml: what is marked '# yours'")
    hooks = [one.name for one in found if one.hears]
    if hooks:
        output.say(f"  webhooks come in at {', '.join(f'/hooks/{name}' for name in hooks)}")
