"""The project that the crash test runs: workflows that between them have whatever a kill can cut in two.

An event's `key` names its occasion; a run that another calls has one of its own, `k17/x`. What an effect does says so
with that key: `k17/post`, `k17/ticket/b`. So the recorder can tell two performances of one effect from two effects
without trusting the engine's identities.
"""

from __future__ import annotations

import shutil
from pathlib import Path

SECRET = "a-secret-of-the-crash-test"
TOKEN = "a-token-of-the-crash-test"

#: One attempt of an effect takes at most this long, in seconds.
ATTEMPT = 0.6
#: How long a `wait` of the workflow `chain` lasts, and what is between two iterations of `chase`, in seconds.
WAIT, EVERY = 0.7, 0.4
#: How long `chase` waits to be released, and `ask` for an answer, in seconds.
RELEASE, ANSWER = 2.5, 3.0
#: How long an alert must fire, in seconds.
SETTLE = 0.5
#: How long messages wait to be told together, in seconds.
FOLDING = 0.4

_CAREFUL = f"timeout: {ATTEMPT}s\n    retry: {{max: 30, every: 0.3s, at_most: 1s}}"
_DEEP = _CAREFUL.replace("\n    ", "\n        ")

PROJECT = """\
timezone: UTC
owner: grace
server: {{host: 127.0.0.1, port: 0}}
people: people.yaml
connections:
  recorder: {{provider: recorder, url: "{url}", webhook_secret: "${{file:secret}}"}}
  orders:
    provider: generic
    scheme: hmac
    header: X-Signature
    delivery_id: X-Delivery
    webhook_secret: "${{file:secret}}"
  alerts: {{provider: alertmanager, token: "${{file:secret}}"}}
  crowd: {{provider: crowd}}
  web: {{provider: http, base_url: "{url}", allow: ["127.0.0.1"]}}
calendars:
  tides: {{hours: {{mon-sun: "{hours}"}}}}
use: {{document: recorder, ticket: recorder, chat: recorder, http: web, people: crowd}}
"""

PEOPLE = """\
people:
  ada: {name: Ada, email: ada@example.org}
  grace: {name: Grace, email: grace@example.org}
"""

CHAIN = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "chain"
once_per: event.data.key
steps:
  - id: doc
    uses: document.create
    {_CAREFUL}
    with:
      title: "${{{{ event.data.key }}}}/doc"
      text: nothing
  - id: first
    uses: ticket.update
    {_CAREFUL}
    with:
      ticket: ${{{{ event.data.key }}}}
      title: first
  - id: nap
    wait: {WAIT}s
  - id: post
    uses: chat.post
    {_CAREFUL}
    with:
      text: "${{{{ event.data.key }}}}/post"
  - id: put
    uses: http.request
    {_CAREFUL}
    with:
      method: PUT
      path: /web
      body:
        meaning: "${{{{ event.data.key }}}}/put"
  - id: mail
    uses: http.request
    {_CAREFUL}
    with:
      method: POST
      path: /web
      body:
        meaning: "${{{{ event.data.key }}}}/mail"
  - id: last
    uses: ticket.update
    {_CAREFUL}
    with:
      ticket: ${{{{ event.data.key }}}}
      title: last
  - id: tell
    uses: event.emit
    with:
      type: order.done
      data:
        key: ${{{{ event.data.key }}}}
"""

AFTER = f"""\
on: order.done
steps:
  - id: nudge
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/after"
"""

ASK = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "ask"
once_per: event.data.key
steps:
  - id: each
    for_each: event.data.list
    item_key: item
    steps:
      - id: ask
        uses: chat.ask
        timeout: {ANSWER}s
        retry: {{max: 30, every: 0.3s, at_most: 1s}}
        with:
          to: ada
          text: "${{{{ event.data.key }}}}/ask/${{{{ item }}}}"
          choices: {{go: Go, stop: Stop}}
      - if: steps.ask.answer == "go"
        id: file
        uses: ticket.create
        {_DEEP}
        with:
          title: "${{{{ event.data.key }}}}/ticket/${{{{ item }}}}"
      - if: steps.ask.answer == "stop"
        id: say
        uses: ticket.comment
        {_DEEP}
        with:
          ticket: T
          text: "${{{{ event.data.key }}}}/comment/${{{{ item }}}}"
      - if: steps.ask.timed_out
        id: remind
        uses: chat.nudge
        {_DEEP}
        with:
          to: ada
          text: "${{{{ event.data.key }}}}/remind/${{{{ item }}}}"
"""

CHASE = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "chase"
once_per: event.data.key
vars:
  key: ${{{{ event.data.key }}}}
steps:
  - id: again
    repeat: {{every: {EVERY}s, max: 3}}
    steps:
      - id: nudge
        uses: chat.nudge
        {_DEEP}
        with:
          to: ada
          text: "${{{{ vars.key }}}}/nudge/${{{{ iteration }}}}"
      - id: file
        uses: ticket.create
        {_DEEP}
        with:
          title: "${{{{ vars.key }}}}/ticket/${{{{ iteration }}}}"
  - id: release
    wait:
      for: {RELEASE}s
      until:
        webhook: event.data.about == vars.key
  - id: end
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ vars.key }}}}/${{{{ 'late' if steps.release.timed_out else 'released' }}}}"
"""

REFUSE = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "refuse"
once_per: event.data.key
steps:
  - id: nudge
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/nudge"
  - id: file
    uses: ticket.create
    {_CAREFUL}
    with:
      title: "${{{{ event.data.key }}}}/refused"
on_failure:
  - id: sorry
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/sorry"
"""

FOLD = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "fold"
once_per: event.data.key
steps:
  - id: note
    uses: chat.nudge
    with:
      to: grace
      text: "${{{{ event.data.key }}}}/note"
      digest: {{window: {FOLDING}s}}
  - id: word
    uses: chat.post
    with:
      channel: "#words"
      text: "${{{{ event.data.key }}}}/word"
      digest: {{window: {FOLDING}s}}
"""

ALERT = f"""\
on:
  alert.firing:
    for: {SETTLE}s
steps:
  - id: begin
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ alert.fingerprint }}}}/firing"
  - id: over
    wait:
      for: {RELEASE}s
      until: alert.resolved
  - id: end
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ alert.fingerprint }}}}/${{{{ 'late' if steps.over.timed_out else 'released' }}}}"
"""

CALLS = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "calls"
once_per: event.data.key
steps:
  - id: before
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/before"
  - id: one
    uses: workflow.called
    with:
      about: "${{{{ event.data.key }}}}/one"
  - id: each
    for_each: '["x", "y"]'
    uses: workflow.called
    with:
      about: "${{{{ event.data.key }}}}/${{{{ item }}}}"
  - id: end
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ steps.one.key }}}}/end"
"""

CALLED = f"""\
inputs:
  about: {{type: text, required: true}}
steps:
  - id: file
    uses: ticket.create
    {_CAREFUL}
    with:
      title: "${{{{ inputs.about }}}}/ticket"
  - id: nap
    wait: {EVERY}s
  - id: tell
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ inputs.about }}}}/told"
outputs:
  key: ${{{{ inputs.about.split("/") | first }}}}
"""

TURNS = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "turns"
once_per: event.data.key
concurrency: {{key: event.data.lane}}
steps:
  - id: begin
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/begin"
  - id: file
    uses: ticket.create
    {_CAREFUL}
    with:
      title: "${{{{ event.data.key }}}}/ticket"
"""

LATEST = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "latest"
once_per: event.data.key
concurrency: {{key: event.data.lane, on_conflict: replace}}
steps:
  - id: begin
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/begin"
  - id: nap
    wait: {EVERY}s
  - id: over
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/over"
"""

TIDES = f"""\
on:
  webhook: {{name: orders}}
if: event.data.kind == "tides"
once_per: event.data.key
during: tides
steps:
  - id: note
    uses: chat.nudge
    {_CAREFUL}
    with:
      to: ada
      text: "${{{{ event.data.key }}}}/note"
  - id: nap
    wait: {WAIT}s
  - id: file
    uses: ticket.create
    {_CAREFUL}
    with:
      title: "${{{{ event.data.key }}}}/ticket"
"""

WORKFLOWS = {
    "chain": CHAIN,
    "after": AFTER,
    "ask": ASK,
    "chase": CHASE,
    "refuse": REFUSE,
    "fold": FOLD,
    "alert": ALERT,
    "calls": CALLS,
    "called": CALLED,
    "turns": TURNS,
    "latest": LATEST,
    "tides": TIDES,
}


def write_project(folder: Path, url: str, open_minutes: int = 0) -> None:
    """Write the project whose providers call the recorder at `url`; the tide is high in even minutes (0), or odd."""
    for name in ("workflows", "plugins", ".hotwash"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "hotwash.yaml").write_text(PROJECT.format(url=url, hours=_hours(open_minutes)), "utf-8")
    (folder / "people.yaml").write_text(PEOPLE, "utf-8")
    (folder / "secret").write_text(SECRET, "utf-8")
    (folder / ".hotwash" / "token").write_text(TOKEN, "utf-8")
    for name, text in WORKFLOWS.items():
        (folder / "workflows" / f"{name}.yaml").write_text(text, "utf-8")
    shutil.copy(Path(__file__).with_name("plugin.py"), folder / "plugins" / "recording.py")


def is_high(instant: float, open_minutes: int) -> bool:
    """Whether the tide is high, by a clock's seconds since 1970."""
    return int(instant // 60) % 2 == open_minutes


def _hours(open_minutes: int) -> str:
    times = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(1441)]
    return ", ".join(f"{times[n]}-{times[n + 1]}" for n in range(open_minutes, 1440, 2))
