"""The built-in actions and providers, written out."""

from __future__ import annotations

from typing import cast

from actions import calendar, chat, document, event, http, incident, meeting, status_page, ticket
from actions.providers.console import Console
from actions.providers.google_calendar import GoogleCalendarProvider
from actions.providers.google_docs import GoogleDocsProvider
from actions.providers.google_meet import GoogleMeetProvider
from actions.providers.http import Http
from actions.providers.ics import Ics
from actions.providers.jira import JiraProvider
from actions.providers.jitsi import Jitsi
from actions.providers.local import Local
from actions.providers.markdown import Markdown
from actions.providers.pagerduty import PagerDuty
from actions.providers.roster import Roster
from actions.providers.slack import Slack
from actions.providers.static import Static
from engine.plugins import Declaration, Provider

ALL: tuple[Declaration, ...] = (
    *calendar.ALL,
    *chat.ALL,
    *document.ALL,
    event.emit,
    http.request,
    incident.assign,
    incident.capture,
    incident.declare,
    incident.merge,
    incident.note,
    incident.resolve,
    incident.subscribe,
    incident.update,
    *meeting.ALL,
    *status_page.ALL,
    ticket.close,
    ticket.comment,
    ticket.create,
    ticket.link,
    ticket.reopen,
    ticket.search,
    ticket.update,
    Console,
    GoogleCalendarProvider,
    GoogleDocsProvider,
    GoogleMeetProvider,
    Http,
    Ics,
    JiraProvider,
    Jitsi,
    Local,
    cast(Provider, Markdown),  # a type checker does not see that a decorator replaced the class
    PagerDuty,
    Roster,
    Slack,
    Static,
)
