"""JSON web tokens: made and read with a shared secret (HS256), read with the key of an authority (RS256)."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

#: How PKCS #1 says that a SHA-256 digest follows.
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
#: How far the clocks of two machines may differ for .NET.
_SKEW_SECONDS = 300


def sign(claims: dict[str, Any], secret: str) -> str:
    head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = _encode(json.dumps(claims).encode())
    return f"{head}.{body}.{_hs256(f'{head}.{body}', secret)}"


def valid(text: str, secret: str) -> bool:
    """Say whether a token was signed with the secret and has not expired."""
    try:
        head, body, signature = text.split(".")
        algorithm = json.loads(_decode(head))["alg"]
        expires = json.loads(_decode(body)).get("exp")
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    if algorithm != "HS256" or not hmac.compare_digest(signature, _hs256(f"{head}.{body}", secret)):
        return False
    return expires is None or float(expires) > time.time()


def claims_of(text: str, keys: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the claims of a token that one of an authority's keys has signed. Raises ValueError for any other."""
    try:
        head, body, signature = text.split(".")
        header, claims = json.loads(_decode(head)), json.loads(_decode(body))
        given = int.from_bytes(_decode(signature), "big")
        usable = [key for key in keys if key.get("kid") == header.get("kid")] if header["alg"] == "RS256" else []
        signed = any(_signed_by(f"{head}.{body}".encode(), given, key) for key in usable)
        expires = float(claims["exp"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None
    if not signed or expires < time.time() - _SKEW_SECONDS:
        raise ValueError("not signed by the authority, or expired")
    found: dict[str, Any] = claims
    return found


def _signed_by(text: bytes, signature: int, key: dict[str, Any]) -> bool:
    modulus, exponent = (int.from_bytes(_decode(key[name]), "big") for name in ("n", "e"))
    size = (modulus.bit_length() + 7) // 8
    ending = b"\x00" + _SHA256 + hashlib.sha256(text).digest()
    wanted = b"\x00\x01" + b"\xff" * (size - len(ending) - 2) + ending
    return pow(signature, exponent, modulus) == int.from_bytes(wanted, "big")


def _hs256(text: str, secret: str) -> str:
    return _encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
