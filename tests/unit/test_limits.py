# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor finds out by asking ELSA and both APIs; tests/contract/test_limits.py asks the services."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.elsa import BUILT_IN_KEY, Elsa
from ansible_collections.meywd.tamma.plugins.module_utils.limits import TABLE, Services, found, refused_key
from tests.unit.servers import Answers, Handler, running, web_server

#: ELSA with workflows, a tamma-api without any, and a .NET API that asks who comes.
TODAY: Answers = {
    "GET /elsa/api/workflow-definitions": (200, {"items": [], "totalCount": 1}),
    "GET /api/workflows/definitions": (200, []),
    "GET /api/health": (200, {"status": "ok", "timestamp": "now"}),
    "GET /health": (200, b"Healthy"),
    "GET /api/mentorship/sessions": (401, None),
}


@pytest.fixture(name="server")
def _server() -> Iterator[Any]:
    with running(web_server(), dict(TODAY)) as server:
        yield server


def services(server: Any) -> Services:
    url = "http://127.0.0.1:%d" % server.server_port
    return Services(Elsa(url), url, url)


def test_what_does_not_work_is_told_by_requests_that_read(server: Any) -> None:
    assert len(found(services(server))) == len(TABLE)
    assert {request.split()[0] for request, _query in server.requests} == {"GET"}


@pytest.mark.parametrize("dotnet", ["", "http://127.0.0.1:1"])
def test_without_the_dotnet_api_nobody_calls_what_is_not_there(server: Any, dotnet: str) -> None:
    assert found(services(server)._replace(dotnet=dotnet)) == []


def test_a_dotnet_api_that_is_unwell_or_has_other_routes(server: Any) -> None:
    server.answers["GET /health"] = (503, b"Unhealthy")
    assert len(found(services(server))) == len(TABLE) - 1
    server.answers["GET /api/mentorship/sessions"] = (404, None)
    assert found(services(server)) == []


class _Keyed(Handler):
    """ELSA that knows one key."""

    known = BUILT_IN_KEY

    def _answer(self) -> None:
        right = self.headers["Authorization"] == "ApiKey " + self.known
        self.server.answers = {"GET /elsa/api/workflow-definitions": (200 if right else 401, {})}
        super()._answer()

    do_GET = _answer


class _KnowsAnother(_Keyed):
    known = "another"


@pytest.mark.parametrize(
    ("handler", "key", "words"),
    [
        (_Keyed, "", ""),
        (_Keyed, "a-key-of-before", "take tamma_stack_elsa_api_key (ELSA_API_KEY) out of the inventory"),
        (
            _KnowsAnother,
            "a-key-of-before",
            "set tamma_stack_elsa_api_key (ELSA_API_KEY) to the key that this ELSA knows",
        ),
        (_KnowsAnother, "another", ""),
    ],
)
def test_a_key_that_elsa_does_not_know(handler: type[Handler], key: str, words: str) -> None:
    server = web_server()
    server.RequestHandlerClass = handler
    with running(server, {}):
        told = refused_key(Services(Elsa("http://127.0.0.1:%d" % server.server_port, key), "", ""))
    assert bool(told) == bool(words)
    assert all(words in text and "a-key-of-before" not in text for text in told)


def test_elsa_that_does_not_answer_refuses_no_key() -> None:
    assert refused_key(Services(Elsa("http://127.0.0.1:1"), "", "")) == []
