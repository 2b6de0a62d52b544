"""Receive any JSON from anybody who can sign it: as Standard Webhooks has it, or with an HMAC in a header.

Standard Webhooks (https://www.standardwebhooks.com): the headers `webhook-id`, `webhook-timestamp` (seconds since 1970)
and `webhook-signature` (`v1,BASE64`, several with spaces), HMAC-SHA256 over `ID.TIMESTAMP.BODY`, with a secret that is
base64 and may have `whsec_` before it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationInfo, field_validator, model_validator

from engine.plugins import Connection, Fact, Field, Options, Received, Secret, Unauthorized, source
from triggers.sources import payload
from triggers.sources.signing import MOST_SIGNATURES, Secrets, any_same, header

_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
#: How far the sender's clock may be from ours.
WINDOW = timedelta(minutes=5)


class GenericOptions(Options):
    """What comes in by webhooks that have no source of their own.

    Example:
        deploys:
          provider: generic
          webhook_secret: ${DEPLOYS_SECRET}

    Example:
        builds:
          provider: generic
          scheme: hmac
          webhook_secret: ${BUILDS_SECRET}
          header: X-Hub-Signature-256
          prefix: sha256=
          delivery_id: X-GitHub-Delivery
    """

    scheme: Literal["standard", "hmac"] = Field(
        default="standard", description="Standard Webhooks, or an HMAC of the body in a header."
    )
    webhook_secret: Secrets = Field(
        description="The secret, or a list of two while it is replaced; for `standard` in base64, as in whsec_…"
    )
    header: str | None = Field(default=None, description="For `hmac`: the header with the signature.")
    algorithm: Literal["sha256", "sha512", "sha1"] = Field(default="sha256", description="For `hmac`: the hash.")
    prefix: str = Field(default="", description="For `hmac`: what stands before the signature, such as `sha256=`.")
    encoding: Literal["hex", "base64"] = Field(default="hex", description="For `hmac`: how the signature is written.")
    delivery_id: str | None = Field(
        default=None,
        description="The header that names a delivery, so that one that is sent again changes nothing. "
        "By default webhook-id for `standard`; none for `hmac`: each post is new.",
    )

    @field_validator("webhook_secret")
    @classmethod
    def _usable(cls, value: tuple[Secret, ...], info: ValidationInfo) -> tuple[Secret, ...]:
        if info.data.get("scheme") == "standard":
            for secret in value:
                _key(secret)
        return value

    @model_validator(mode="after")
    def _whole(self) -> GenericOptions:
        if self.scheme == "hmac":
            if not (self.header or "").strip():
                raise ValueError("'scheme: hmac' needs 'header', the name of the header with the signature")
            return self
        given = [name for name in ("header", "algorithm", "prefix", "encoding") if name in self.model_fields_set]
        if given:
            raise ValueError(f"'{given[0]}' goes with 'scheme: hmac'")
        return self


def _key(secret: str) -> bytes:
    """Give the key that a secret of Standard Webhooks stands for."""
    text = secret.strip().removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("must be base64, such as whsec_…; a secret of another form goes with 'scheme: hmac'")
    return key


class GenericWebhooks:
    """Take in the webhooks of one sender that has no source of its own."""

    def __init__(self, options: GenericOptions, connection: Connection, provider: object) -> None:
        self._options = options
        standard = options.scheme == "standard"
        self._keys = [_key(secret) if standard else secret.encode() for secret in options.webhook_secret]
        self._delivery_id = (options.delivery_id or (_ID if standard else "")).lower()

    def authenticate(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Accept a body that one of our secrets has signed, with Standard Webhooks within five minutes.

        Raises:
            Unauthorized: a header is missing, the time stamp is outside the window, the signature is not ours.
        """
        if self._options.scheme == "hmac":
            self._authenticate_hmac(headers, body)
        else:
            self._authenticate_standard(headers, body, now)

    def _authenticate_hmac(self, headers: Mapping[str, str], body: bytes) -> None:
        name = str(self._options.header)
        given = header(headers, name)
        if not given.startswith(self._options.prefix):
            raise Unauthorized(f"the header {name} does not begin with '{self._options.prefix}'")
        given = given.removeprefix(self._options.prefix).strip()
        if self._options.encoding == "hex":
            given = given.lower()
        if not any_same([given], self._hmacs(body)):
            raise Unauthorized(f"the signature in {name} is not made with this connection's webhook_secret")

    def _authenticate_standard(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        delivery, stamp = header(headers, _ID), header(headers, _TIMESTAMP)
        listed = header(headers, _SIGNATURE).split()
        given = [part.removeprefix("v1,") for part in listed if part.startswith("v1,")]
        if not given:
            raise Unauthorized(f"the header {_SIGNATURE} holds no signature of the form v1,BASE64")
        if len(given) > MOST_SIGNATURES:
            raise Unauthorized(f"the header {_SIGNATURE} holds more than {MOST_SIGNATURES} signatures")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            raise Unauthorized(f"the header {_TIMESTAMP} is not a number of seconds since 1970")
        if abs(now.timestamp() - int(stamp)) > WINDOW.total_seconds():
            raise Unauthorized(f"the time in {_TIMESTAMP} is more than five minutes from ours")
        if not any_same(given, self._standard(delivery, stamp, body)):
            raise Unauthorized(f"no signature in {_SIGNATURE} is made with this connection's webhook_secret")

    def sign(self, body: bytes, now: datetime) -> dict[str, str]:
        """Give the headers that `authenticate` accepts for a body at an instant.

        The delivery is named after both: the same body signed at the same second is the same delivery.
        """
        stamp = str(int(now.timestamp()))
        delivery = f"msg_{hashlib.sha256(stamp.encode() + b'.' + body).hexdigest()[:24]}"
        named = {self._delivery_id: delivery} if self._delivery_id else {}
        if self._options.scheme == "hmac":
            return {**named, str(self._options.header).lower(): self._options.prefix + self._hmacs(body)[0]}
        signatures = " ".join(f"v1,{signature}" for signature in self._standard(delivery, stamp, body))
        return {**named, _ID: delivery, _TIMESTAMP: stamp, _SIGNATURE: signatures}

    def _hmacs(self, body: bytes) -> list[str]:
        made = [hmac.digest(key, body, self._options.algorithm) for key in self._keys]
        return [mac.hex() if self._options.encoding == "hex" else base64.b64encode(mac).decode() for mac in made]

    def _standard(self, delivery: str, stamp: str, body: bytes) -> list[str]:
        signed = f"{delivery}.{stamp}.".encode(errors="replace") + body
        return [base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self._keys]

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Received:
        """Give one fact whose data are the JSON object; another JSON value becomes `event.data.body`.

        Raises:
            ValueError: the body is not JSON.
        """
        value: Any = payload.parse(body)
        data = value if isinstance(value, dict) else {"body": value}
        delivery = headers.get(self._delivery_id, "").strip() if self._delivery_id else ""
        return Received([Fact("webhook", now, data=data, id=delivery or None)])


Generic = source("generic", GenericOptions, headers=("content-type", "user-agent", _ID, _TIMESTAMP))(GenericWebhooks)
