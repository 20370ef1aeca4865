# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack asks of its host, where its names lead, who has its ports, and what the clocks say."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from ansible_collections.meywd.tamma.plugins.action.tamma_preflight import addresses_of
from ansible_collections.meywd.tamma.plugins.module_utils import authority, clock, demands, dns, published
from ansible_collections.meywd.tamma.plugins.module_utils.demands import Demand
from ansible_collections.meywd.tamma.plugins.module_utils.dns import Answer

DEMANDS = [Demand("postgres", 1, 2.0, 2048, 512, []), Demand("elsa-server", 2, 1.0, 1024, 512, [("", 443)])]

# -- memory and processors ------------------------------------------------------------------


def test_a_host_that_has_enough() -> None:
    assert demands.problems(DEMANDS, 4096, 2) == []
    assert demands.advice(DEMANDS, 4096) == []


def test_limits_above_the_memory_are_a_warning_and_reservations_a_problem() -> None:
    assert demands.problems(DEMANDS, 1536, 2) == []
    (hint,) = demands.advice(DEMANDS, 4095)
    assert hint.startswith("The services may use 4096 MB of memory together and this host has 4095")
    (problem,) = demands.problems(DEMANDS, 1535, 2)
    assert problem.startswith("The services reserve 1536 MB of memory and this host has 1535")


def test_without_limits_a_container_counts_by_what_it_needs() -> None:
    unlimited = [item._replace(memory_mb=0, replicas=2) for item in DEMANDS]
    needs = 2 * 512 * len(DEMANDS)
    assert demands.advice(unlimited, needs) == []
    (hint,) = demands.advice(unlimited, needs - 1)
    assert hint.startswith("The services may use %d MB of memory together" % needs)
    assert hint.endswith("the kernel ends one (without a limit one counts as 512).")


def test_a_limit_of_processors_that_the_engine_would_refuse() -> None:
    (problem,) = demands.problems(DEMANDS, 4096, 1)
    assert "than the 1 that this host has for postgres (2): set deploy.resources.limits.cpus" in problem


def test_a_second_container_of_what_should_be_alone() -> None:
    alone = Demand("elsa-server", 2, 1.0, 1024, 512, [], "timers fire twice")
    assert demands.advice([alone], 4096) == ["elsa-server has 2 containers: timers fire twice."]
    assert demands.advice([alone._replace(replicas=1)], 4096) == []


# -- the authority --------------------------------------------------------------------------


class _Authority(http.server.BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {
        "/good": (200, b'{"jwks_uri": "https://a.example.org/keys"}'),
        "/none": (404, b""),
        "/page": (200, b"<html>"),
        "/keyless": (200, b"{}"),
    }

    def do_GET(self) -> None:
        status, body = self.answers[self.path.partition("/.well-known/openid-configuration")[0]]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture(name="issuer", scope="module")
def _issuer() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Authority) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "http://127.0.0.1:%d" % server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/none", "it answers 404"),
        ("/page", "it answers no JSON"),
        ("/keyless", "it names no keys (jwks_uri)"),
    ],
)
def test_an_authority_that_says_no_keys_is_told(issuer: str, path: str, words: str) -> None:
    (told,) = authority.advice(issuer + path)
    assert "%s%s/.well-known/openid-configuration: %s)" % (issuer, path, words) in told
    assert "every token is refused (401 at /api/mentorship)" in told


def test_an_authority_that_answers_and_none_at_all(issuer: str) -> None:
    assert authority.advice(issuer + "/good/") == authority.advice("") == []


def test_an_authority_that_is_away_or_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "http://127.0.0.1:%d" % silent.getsockname()[1]
        (told,) = authority.advice(address, 0.2)
        assert "timed out" in told
    (told,) = authority.advice(address)
    assert "Connection refused" in told


# -- names ----------------------------------------------------------------------------------


def test_names_of_this_machine() -> None:
    assert "127.0.0.1" in dns.look_up("localhost").addresses
    unknown = dns.look_up("tamma.invalid")
    assert unknown.addresses == []
    assert unknown.reason


def test_addresses_of_this_machine() -> None:
    assert dns.is_own("127.0.0.1")
    assert not dns.is_own("192.0.2.7")
    assert not dns.is_own("2001:db8::7")
    assert not dns.is_own("no address")
    assert all(dns.is_own(address) for address in dns.outward())


def judged(answer: Answer, own: list[str], expected: str = "host") -> str:
    return "".join(dns.problems([answer], own, expected, ["10.0.0.5"]))


@pytest.mark.parametrize(
    ("addresses", "own", "expected", "words"),
    [
        (["10.0.0.5"], ["10.0.0.5"], "host", ""),
        (["10.0.0.5", "192.0.2.7"], ["10.0.0.5"], "host", "a.org leads to 192.0.2.7 and not to this host (10.0.0.5): "),
        (["192.0.2.7", "192.0.2.8"], [], "host", "leads to 192.0.2.7 and 192.0.2.8 and not to this host"),
        (["192.0.2.7"], [], "anywhere", ""),
        (
            [],
            [],
            "anywhere",
            "a.org is not known to this host's DNS (no such name): add a record that leads to this host",
        ),
    ],
)
def test_where_a_name_leads(addresses: list[str], own: list[str], expected: str, words: str) -> None:
    said = judged(Answer("a.org", addresses, "no such name"), own, expected)
    assert words in said
    assert bool(words) == bool(said)


def test_a_host_without_any_route_is_just_this_host() -> None:
    assert "not to this host: correct" in dns.problems([Answer("a.org", ["192.0.2.7"])], [], "host", [])[0]


def test_a_name_that_the_host_keeps_to_itself() -> None:
    assert dns.advice([Answer("a.org", ["127.0.1.1", "::1"])]) == [
        "a.org leads to 127.0.1.1 on this host, so where it leads others was not checked."
    ]
    assert dns.advice([Answer("a.org", ["127.0.0.1", "192.0.2.7"]), Answer("b.org", [])]) == []


def test_where_the_controller_connects_to() -> None:
    assert addresses_of("192.0.2.7") == ["192.0.2.7"]
    assert addresses_of("localhost") == []
    assert addresses_of("an-alias-of-the-ssh-client.invalid") == []


# -- ports ----------------------------------------------------------------------------------


def listed(project: str, port: int, address: str = "0.0.0.0", state: str = "running") -> dict[str, Any]:
    return {
        "Names": ["/somebody"],
        "State": state,
        "Labels": {"com.docker.compose.project": project},
        "Ports": [{"IP": address, "PublicPort": port, "Type": "tcp"}, {"PrivatePort": 9}],
    }


@pytest.fixture
def listener() -> Any:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server


def test_a_port_that_a_process_has(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    (problem,) = published.taken([("edge", "", port)], [], "tamma")
    assert problem.startswith(f"Port {port}, which edge would publish, is taken by python")
    assert published.taken([("edge", "", port)], [listed("tamma", port)], "tamma") == []
    listener.close()
    assert published.taken([("edge", "", port)], [], "tamma") == []


def test_a_port_that_a_container_has(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    (problem,) = published.taken([("edge", "127.0.0.1", port)], [listed("other", port)], "tamma")
    assert "is taken by the container somebody: stop that" in problem
    listener.close()
    assert published.taken([("edge", "127.0.0.1", port)], [listed("other", port, state="exited")], "tamma") == []
    assert published.taken([("edge", "127.0.0.1", port)], [listed("other", port, "10.0.0.5")], "tamma") == []


# -- clocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("at", "seconds"), [(100.0, 0.0), (105.0, 0.0), (110.0, 0.0), (175.0, 65.0), (20.0, -80.0)])
def test_a_clock_is_right_when_it_shows_a_moment_between(at: float, seconds: float) -> None:
    assert clock.ahead(at, 100, 110) == seconds


def test_clocks_that_differ() -> None:
    assert clock.problem(30, 30) is None
    assert "The clock of this host is 65 seconds ahead of the controller's" in str(clock.problem(65, 30))
    assert "is 80 seconds behind the controller's" in str(clock.problem(-80, 30))
