"""Credentials of Google's kinds for stand-ins, made on the spot: no real key stands in the tree."""

from __future__ import annotations

import json
from functools import cache

CLIENT = "104857600000000000001"
ROBOT = "hotwash@example-project.iam.gserviceaccount.com"


@cache
def _private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode()


def service_account(token_uri: str, **more: str) -> str:
    """Give the JSON of a service account's key, whose tokens come from `token_uri`."""
    known = {"client_email": ROBOT, "client_id": CLIENT, "private_key": _private_key(), "private_key_id": "1"}
    return json.dumps({"type": "service_account", "token_uri": token_uri, **known, **more})


def authorized_user(token_uri: str, **more: str) -> str:
    """Give the JSON of a user who consented, whose tokens come from `token_uri`."""
    known = {"client_id": CLIENT, "client_secret": "very-secret", "refresh_token": "1//also-secret"}
    return json.dumps({"type": "authorized_user", "token_uri": token_uri, **known, **more})
