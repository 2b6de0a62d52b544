"""Receive the webhooks of Prometheus Alertmanager, version 4 of its payload.

Alertmanager signs nothing; it sends the credentials of its `http_config`: a bearer token, or a user and a password.
It sends a group of alerts at a time, and again at every `repeat_interval`: each alert is a fact of its own, known by
its fingerprint, its start and its status.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import field_validator, model_validator

from engine.plugins import Connection, Fact, Field, Options, Received, Secret, Unauthorized, source
from triggers.sources import payload
from triggers.sources.signing import header, same

_AUTHORIZATION = "Authorization"
#: Go's zero time, which Alertmanager sends for an alert that has not ended.
_NEVER = "0001-01-01T00:00:00Z"


class AlertmanagerOptions(Options):
    """What comes in by a webhook receiver of Alertmanager.

    Example:
        alerts:
          provider: alertmanager
          token: ${ALERTMANAGER_TOKEN}
          severity: {critical: sev1, warning: sev3}
    """

    token: Secret | None = Field(default=None, description="The bearer token of the receiver's `http_config`.")
    username: str | None = Field(default=None, description="In its place, the user of its `basic_auth`.")
    password: Secret | None = Field(default=None, description="The password that goes with `username`.")
    severity: dict[str, str] = Field(
        default={}, description="Severity by the value of the label `severity`; else that value."
    )
    service_label: str = Field(default="service", description="The label that names the service.")
    team_label: str = Field(default="team", description="The label that names the team.")

    @field_validator("token", "username", "password")
    @classmethod
    def _something(cls, value: str | None) -> str | None:
        if value is None or not value.strip():
            raise ValueError("must not be empty")
        return value

    @model_validator(mode="after")
    def _one_way_in(self) -> AlertmanagerOptions:
        if (self.username is None) != (self.password is None):
            raise ValueError("'username' and 'password' go together")
        if (self.token is None) == (self.username is None):
            raise ValueError("give either 'token', or 'username' and 'password'")
        return self


class AlertmanagerWebhooks:
    """Take in what one webhook receiver of Alertmanager posts."""

    def __init__(self, options: AlertmanagerOptions, connection: Connection, provider: object) -> None:
        self._options = options
        self._connection = connection.name

    def authenticate(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Accept a delivery with our token, or with our user and password.

        Raises:
            Unauthorized: the credentials are missing, of another kind, or not ours.
        """
        kind, _, given = header(headers, _AUTHORIZATION).partition(" ")
        wanted = "Bearer" if self._options.token is not None else "Basic"
        if kind.lower() != wanted.lower():
            raise Unauthorized(f"the header {_AUTHORIZATION} is not of the kind '{wanted}'")
        given = given.strip()
        if self._options.token is not None:
            if not same(given, self._options.token):
                raise Unauthorized(f"the token in {_AUTHORIZATION} is not that of this connection")
        elif not same(_decoded(given), f"{self._options.username}:{self._options.password}"):
            raise Unauthorized(f"the user or the password in {_AUTHORIZATION} is not that of this connection")

    def sign(self, body: bytes, now: datetime) -> dict[str, str]:
        """Give the headers that `authenticate` accepts."""
        if self._options.token is not None:
            return {"authorization": f"Bearer {self._options.token}"}
        both = f"{self._options.username}:{self._options.password}"
        return {"authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """Give a fact for each alert of the group.

        Raises:
            ValueError: it is not what Alertmanager documents.
        """
        group = payload.mapping(payload.parse(body), "the body")
        alerts = group.get("alerts")
        if not isinstance(alerts, list):
            raise ValueError(f"'alerts' must be a list, not {payload.shown(alerts)}")
        if not alerts:
            return Received(ignored="a group without alerts")
        return Received([self._fact(alert, f"alerts[{index}]", group, now) for index, alert in enumerate(alerts)])

    def _fact(self, raw: Any, where: str, group: Mapping[str, Any], now: datetime) -> Fact:
        alert = payload.mapping(raw, f"'{where}'")
        firing = _firing(alert.get("status"), where)
        fingerprint = payload.text(alert.get("fingerprint"), f"'{where}.fingerprint'")
        start = payload.text(alert.get("startsAt"), f"'{where}.startsAt'")
        started_at = payload.instant(start, f"'{where}.startsAt'")
        ended_at = None if firing else _end(alert.get("endsAt"), f"'{where}.endsAt'")
        labels = payload.texts(alert.get("labels"), f"'{where}.labels'")
        annotations = payload.texts(alert.get("annotations"), f"'{where}.annotations'")
        name = labels.get("alertname") or fingerprint
        severity = labels.get("severity")
        return Fact(
            "alert.firing" if firing else "alert.resolved",
            started_at if firing else ended_at or now,
            subject_type="alert",
            subject=f"{self._connection}:{fingerprint}",
            fields={
                "fingerprint": fingerprint,
                "name": name,
                "title": annotations.get("summary") or annotations.get("description") or name,
                "severity": self._options.severity.get(severity, severity) if severity else None,
                "firing": firing,
                "labels": labels,
                "service": labels.get(self._options.service_label),
                "team": labels.get(self._options.team_label),
                "started_at": started_at,
                "ended_at": ended_at,
            },
            data={
                "annotations": annotations,
                "generator_url": alert.get("generatorURL") or None,
                "group_key": group.get("groupKey"),
                "receiver": group.get("receiver"),
            },
            id=f"{fingerprint}/{start}/{'firing' if firing else 'resolved'}",
        )


def _firing(status: Any, where: str) -> bool:
    if status not in ("firing", "resolved"):
        raise ValueError(f"'{where}.status' must be firing or resolved")
    return bool(status == "firing")


def _end(value: Any, what: str) -> datetime | None:
    return None if value in (None, _NEVER) else payload.instant(value, what)


def _decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.encode(errors="replace"), validate=True).decode(errors="replace")
    except binascii.Error:
        return ""


Alertmanager = source("alertmanager", AlertmanagerOptions, headers=("content-type", "user-agent"))(AlertmanagerWebhooks)
