# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GitHub says about the login of a stack, be it a token or an App. Every request only reads."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
import time
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Tuple
from urllib.parse import quote

# Compiled into the engine.
HOST = "api.github.com"
SECONDS = 5.0

_REMEDY = (
    "set another one in tamma_stack_github_token and run rotate_secrets.yml with -e tamma_stack_rotate=GITHUB_TOKEN"
)
# What an issue's way needs: a branch, comments, a pull request.
_RIGHTS = ("contents", "issues", "pull_requests")

# What comes before the digest in a signature by RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 9.2).
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
_SEQUENCE = 0x30
# GitHub takes ten minutes at most, and clocks differ.
_SECONDS_BEFORE, _SECONDS_AFTER = 60, 540

Connect = Callable[[], http.client.HTTPConnection]


class Verdict(NamedTuple):
    """What is wrong. problem: whether it keeps the engine from its work; else that is not known.

    refused: whether such a login can never work.
    """

    words: str
    problem: bool = True
    refused: bool = False


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Dict[str, Any]:
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def connection() -> http.client.HTTPConnection:
    """To GitHub's API, with a time limit."""
    return http.client.HTTPSConnection(HOST, timeout=SECONDS, context=ssl.create_default_context())


def token(token_itself: str, owner: str, repository: str, connect: Connect = connection) -> List[Verdict]:
    """Ask for the repository with a token, as the engine does."""
    called = "%s/%s" % (owner, repository)
    try:
        answer = _ask(token_itself, "/repos/%s/%s" % (quote(owner, safe=""), quote(repository, safe="")), connect)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return [_no_answer(exc, "the token is good")]
    if answer.status == 401:
        return [Verdict("GitHub refuses the token: it is wrong, expired or revoked; %s." % _REMEDY)]
    if answer.status in (403, 429) and answer.headers.get("X-RateLimit-Remaining") == "0":
        return [Verdict("The token has asked GitHub too often: the engine waits until that is over.", problem=False)]
    if answer.status == 403:
        return [
            Verdict(
                "GitHub does not let the token use %s (an organisation may want it approved, or single sign-on): "
                "look at the token's page at GitHub, or %s." % (called, _REMEDY)
            )
        ]
    if answer.status in (301, 404):
        return [
            Verdict(
                "GitHub has no repository %s for this token: check tamma_stack_github_owner and "
                "tamma_stack_github_repo, and that the token may read it." % called
            )
        ]
    if answer.status != 200:
        return [_other(answer.status, called)]
    rights = answer.content.get("permissions")
    # What says nothing about it counts as yes.
    if not isinstance(rights, dict) or rights.get("push") is not False:
        return []
    return [Verdict("The token may read %s and not write to it: %s." % (called, _REMEDY))]


def app(
    number: str, installation: str, key: str, owner: str, repository: str, connect: Connect = connection
) -> List[Verdict]:
    """Ask, as the App that has this key, for its installation in the repository. key: RSA in PEM form."""
    called = "%s/%s" % (owner, repository)
    place = "/repos/%s/%s/installation" % (quote(owner, safe=""), quote(repository, safe=""))
    try:
        shown = _web_token(number, key, time.time())
    except (ValueError, IndexError):
        return [Verdict("The key of the App %s cannot be read: run site.yml, which writes it." % number)]
    try:
        answer = _ask(shown, place, connect)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return [_no_answer(exc, "it knows the App")]
    said = str(answer.content.get("message") or "")
    if answer.status == 401 and "claim" in said:
        # Of its time: the key was good enough for GitHub to read it.
        words = "GitHub takes nothing that is signed with the time of this machine: set its clock."
        return [Verdict(words, problem=False)]
    if answer.status == 401 or (answer.status == 404 and "ntegration" in said):
        return [
            Verdict(
                "GitHub knows no App %s with this key, so tamma_stack_github_app_private_key belongs to nobody: give "
                "the number and a private key of one App, from its settings on GitHub." % number,
                refused=True,
            )
        ]
    if answer.status in (301, 404):
        return [
            Verdict(
                "The App %s is not installed in %s: install it there (the App's settings on GitHub, Install App), or "
                "check tamma_stack_github_owner and tamma_stack_github_repo." % (number, called),
                refused=True,
            )
        ]
    if answer.status != 200:
        return [_other(answer.status, called)]
    return _judge_installation(answer.content, number, installation, called)


def _judge_installation(known: Mapping[str, Any], number: str, installation: str, called: str) -> List[Verdict]:
    there = str(known.get("id") or installation)
    if there != installation:
        return [
            Verdict(
                "The installation of the App %s in %s has the number %s: give that in "
                "tamma_stack_github_app_installation_id, which has %s." % (number, called, there, installation),
                refused=True,
            )
        ]
    if known.get("suspended_at"):
        return [Verdict("The App %s is suspended in %s: its settings on GitHub end that." % (number, called))]
    rights = known.get("permissions")
    lacking = [name for name in _RIGHTS if isinstance(rights, dict) and rights.get(name) != "write"]
    if not lacking:
        return []
    words = "The App %s may not write %s in %s: give it these permissions in its settings on GitHub."
    return [Verdict(words % (number, ", ".join(lacking), called))]


def _ask(bearer: str, path: str, connect: Connect) -> _Answer:
    opened = connect()
    try:
        headers = {
            "Authorization": "Bearer " + bearer,
            "Accept": "application/vnd.github+json",
            "User-Agent": "meywd.tamma",
        }
        opened.request("GET", path, headers=headers)
        answer = opened.getresponse()
        return _Answer(answer.status, dict(answer.headers), answer.read(1 << 20))
    finally:
        opened.close()


def _no_answer(failure: Exception, what: str) -> Verdict:
    reason = failure.strerror if isinstance(failure, OSError) and failure.strerror else type(failure).__name__
    return Verdict(
        "GitHub (%s) does not answer this host within %d s (%s), so nobody knows whether %s: look at its firewall and "
        "name resolution, or set tamma_stack_check_github to false." % (HOST, SECONDS, reason, what),
        problem=False,
    )


def _other(status: int, called: str) -> Verdict:
    return Verdict("GitHub answers %d for %s: look at githubstatus.com." % (status, called), problem=False)


# -- what an App shows ---------------------------------------------------------------------------


def _web_token(number: str, key: str, now: float) -> str:
    claims = {"iat": int(now) - _SECONDS_BEFORE, "exp": int(now) + _SECONDS_AFTER, "iss": number}
    signed = ".".join(_url_safe(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    return "%s.%s" % (signed, _url_safe(_signature(signed.encode(), key)))


def _url_safe(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _signature(content: bytes, key: str) -> bytes:
    modulus, exponent = _numbers(base64.b64decode(key.split("-----")[2]))
    length = (modulus.bit_length() + 7) // 8
    ending = b"\0" + _SHA256 + hashlib.sha256(content).digest()
    padded = b"\0\1" + b"\xff" * (length - len(ending) - 2) + ending
    return pow(int.from_bytes(padded, "big"), exponent, modulus).to_bytes(length, "big")


def _numbers(der: bytes) -> Tuple[int, int]:
    """The modulus and the private exponent of a key in the form of PKCS #1, or of that in PKCS #8."""
    fields = _elements(_elements(der)[0][1])
    if fields[1][0] == _SEQUENCE:
        return _numbers(fields[2][1])
    return int.from_bytes(fields[1][1], "big"), int.from_bytes(fields[3][1], "big")


def _elements(der: bytes) -> List[Tuple[int, bytes]]:
    """The elements that stand one after the other: tag and content of each."""
    found = []
    while der:
        tag, length, begins = der[0], der[1], 2
        if length & 0x80:
            begins += length & 0x7F
            length = int.from_bytes(der[2:begins], "big")
        found.append((tag, der[begins : begins + length]))
        der = der[begins + length :]
    return found
