"""JSON web tokens signed with a shared secret (HS256)."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any


def sign(claims: dict[str, Any], secret: str) -> str:
    head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = _encode(json.dumps(claims).encode())
    return f"{head}.{body}.{_signature(f'{head}.{body}', secret)}"


def valid(text: str, secret: str) -> bool:
    """Say whether a token was signed with the secret and has not expired."""
    try:
        head, body, signature = text.split(".")
        algorithm = json.loads(_decode(head))["alg"]
        expires = json.loads(_decode(body)).get("exp")
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    if algorithm != "HS256" or not hmac.compare_digest(signature, _signature(f"{head}.{body}", secret)):
        return False
    return expires is None or float(expires) > time.time()


def _signature(text: str, secret: str) -> str:
    return _encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
