# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What GitHub says about a token and about an App, and what an App shows it."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ansible_collections.meywd.tamma.plugins.module_utils import github
from ansible_collections.meywd.tamma.plugins.plugin_utils import github_app

TOKEN = "ghp_not-a-token-of-anybody"
PLACE = ("example", "a b")


@contextmanager
def answering(
    status: int, content: Any = None, headers: dict[str, str] | None = None
) -> Iterator[tuple[Any, list[Any]]]:
    """A GitHub that gives one answer to everything; yields how it is reached, and what it was asked."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield lambda: http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5), asked
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "content", "headers", "problem", "words"),
    [
        (200, {"permissions": {"push": True}}, {}, None, ""),
        (200, {}, {}, None, ""),
        (200, None, {}, None, ""),
        (200, {"permissions": ["push"]}, {}, None, ""),
        (200, {"permissions": {"push": False}}, {}, True, "may read example/a b and not write to it: set another"),
        (
            401,
            {},
            {},
            True,
            "GitHub refuses the token: it is wrong, expired or revoked; set another one in tamma_stack",
        ),
        (403, {}, {}, True, "does not let the token use example/a b"),
        (403, {}, {"X-RateLimit-Remaining": "0"}, False, "asked GitHub too often"),
        (404, {}, {}, True, "no repository example/a b for this token: check tamma_stack_github_owner"),
        (301, {}, {"Location": "http://127.0.0.1:1/"}, True, "no repository example/a b"),
        (502, {}, {}, False, "answers 502 for example/a b"),
    ],
)
def test_what_github_says_of_the_token(
    status: int, content: Any, headers: dict[str, str], problem: bool | None, words: str
) -> None:
    with answering(status, content, headers) as (connect, asked):
        found = github.token(TOKEN, *PLACE, connect)
    assert asked == [("/repos/example/a%20b", "Bearer " + TOKEN)]
    assert [item.problem for item in found] == ([] if problem is None else [problem])
    assert all(words in item.words and TOKEN not in item.words for item in found)


def test_a_github_that_does_not_answer_is_nobodys_fault() -> None:
    (found,) = github.token(TOKEN, *PLACE, lambda: http.client.HTTPConnection("127.0.0.1", 1, timeout=1))
    assert not found.problem
    assert "(Connection refused)" in found.words
    assert "tamma_stack_check_github" in found.words


def test_a_token_that_is_no_header_is_not_shown() -> None:
    with answering(200) as (connect, asked):
        for broken in ("two\nlines", "ключ"):
            (found,) = github.token(broken, *PLACE, connect)
            assert broken not in found.words
    assert asked == []


RSA = rsa.generate_private_key(65537, 2048)
PEM = {
    form: RSA.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL)
}
KEY = PEM[serialization.PrivateFormat.PKCS8]
WRITES = dict.fromkeys(("contents", "issues", "pull_requests"), "write")
GOOD = {"id": 22, "permissions": WRITES, "suspended_at": None}


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize("form", PEM)
def test_an_app_shows_who_it_is_and_nothing_of_its_key(form: serialization.PrivateFormat) -> None:
    with answering(200, GOOD) as (connect, asked):
        assert github.app("1", "22", PEM[form], *PLACE, connect) == []
    ((path, authorization),) = asked
    assert path == "/repos/example/a%20b/installation"
    signed, _, signature = authorization.removeprefix("Bearer ").rpartition(".")
    RSA.public_key().verify(decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    head, claims = (json.loads(decoded(part)) for part in signed.split("."))
    assert head == {"alg": "RS256", "typ": "JWT"}
    assert set(claims) == {"iat", "exp", "iss"}
    assert claims["iss"] == "1"
    assert claims["iat"] <= time.time() < claims["exp"] <= claims["iat"] + 600


@pytest.mark.parametrize(
    ("status", "content", "problem", "refused", "words"),
    [
        (401, {"message": "A JSON web token could not be decoded"}, True, True, "GitHub knows no App 1 with this key"),
        (404, {"message": "Integration not found"}, True, True, "GitHub knows no App 1 with this key"),
        (401, {"message": "'Expiration time' claim ('exp') must be in the future"}, False, False, "set its clock"),
        (404, {"message": "Not Found"}, True, True, "The App 1 is not installed in example/a b: install it there"),
        (200, {**GOOD, "id": 23}, True, True, "has the number 23: give that in tamma_stack_github_app_installation_id"),
        (200, {**GOOD, "suspended_at": "2026-01-01T00:00:00Z"}, True, False, "is suspended in example/a b"),
        (200, {**GOOD, "permissions": {**WRITES, "issues": "read"}}, True, False, "may not write issues in example"),
        (502, None, False, False, "answers 502 for example/a b"),
    ],
)
def test_what_github_says_of_the_app(status: int, content: Any, problem: bool, refused: bool, words: str) -> None:
    variables = {
        "tamma_stack_github_app_id": 1,
        "tamma_stack_github_app_installation_id": "22",
        "tamma_stack_github_app_private_key": KEY,
        "tamma_stack_github_owner": "example",
        "tamma_stack_github_repo": "a b",
    }
    with answering(status, content) as (connect, _asked):
        (found,) = github.app("1", "22", KEY, *PLACE, connect)
        assert list(github_app.unknown(variables, connect)) == ([found.words] if refused else [])
    assert (found.problem, found.refused) == (problem, refused)
    assert words in found.words


def test_who_has_no_app_asks_nobody() -> None:
    for given in ({}, {"tamma_stack_github_token": TOKEN, "tamma_stack_github_owner": "example"}):
        assert list(github_app.unknown(given, lambda: pytest.fail("somebody is asked"))) == []


def test_nobody_is_refused_because_github_does_not_answer() -> None:
    def connect() -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", 1, timeout=1)

    (found,) = github.app("1", "22", KEY, *PLACE, connect)
    assert (found.problem, found.refused) == (False, False)
    assert "nobody knows whether it knows the App" in found.words
    # A key that somebody has broken on the host.
    for broken in ("-----BEGIN x-----\nAAAA\n-----END x-----", "", "-----a-----MAA=-----"):
        (found,) = github.app("1", "22", broken, *PLACE, connect)
        assert found.words == "The key of the App 1 cannot be read: run site.yml, which writes it."
