# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A production stack on the sandbox host: what is played against it, and what its servers let in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ansible_collections.meywd.tamma.plugins.module_utils.formats import parse_dotenv
from tests.bench import hosts
from tests.bench.edge import AUTHORITY, LOGIN, Edge
from tests.bench.names import domain_name
from tests.bench.patience import wait_until
from tests.integration.conftest import HOST, SANDBOX, Stack
from tests.tools.outcome import Outcome

CONTAINER = f"tamma-bench-{SANDBOX}-{HOST}"
JOURNAL = "/opt/tamma/.tamma/rotation.json"
# Made up on the host, so that they can be made up anew.
MADE_UP = {"tamma_stack_postgres_password": "", "tamma_stack_rabbitmq_password": "", "tamma_stack_jwt_secret": ""}
PRODUCTION = {
    "tamma_stack_profile": "production",
    "tamma_stack_secret_delivery": "files",
    "tamma_stack_edge_drain": 3,
    **MADE_UP,
}


def seconds_held(outcome: Outcome) -> float:
    """For how long a guarded update let requests wait."""
    told = re.search(r"connections waited or came through, ([0-9.]+) s in all", outcome.output)
    assert told, outcome.output
    return float(told[1])


def goes_on(came: Callable[[], int]) -> None:
    """Wait until more comes than there is now."""
    before = came()
    wait_until(lambda: came() > before, 30, "the stream to go on")


class Production:
    """A stack behind its edge, and what its servers let in."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def play(self, playbook: str, *rotate: str, **variables: object) -> Outcome:
        named = {"tamma_stack_rotate": list(rotate)} if rotate else {}
        return self.stack.play(playbook, variables={**PRODUCTION, **named, **variables})

    def secrets(self) -> dict[str, str]:
        return parse_dotenv(self.stack.shell("cat /opt/tamma/secrets/secrets.env"))

    def edge(self) -> Edge:
        (host,) = hosts.existing(self.stack.sandbox)
        # Podman's Compose says nothing to somebody who has no standard input.
        root = f"docker exec $(docker ps --quiet --filter label=com.docker.compose.service=edge) cat {AUTHORITY}"
        return Edge(host.domain, host.address, self.stack.shell(root), LOGIN)

    @contextmanager
    def stream(self, path: str = "/api/engine/events/state") -> Iterator[Callable[[], int]]:
        """Keep a stream open, as a browser does that connects again; yields how many bytes have come."""
        domain, login, shell = domain_name(self.stack.sandbox, HOST), ":".join(LOGIN), self.stack.shell
        ask = f"curl -skN -u {login} --resolve {domain}:443:127.0.0.1 https://{domain}{path}"
        file = "/root/stream" + path.replace("/", "-")
        loop = f"while :; do {ask} >> {file} & echo $! > {file}.pid; wait; sleep 0.2; done"
        process = shell(f"rm -f {file}; nohup sh -c '{loop}' >/dev/null 2>&1 & echo $!").strip()
        try:
            yield lambda: int(shell(f"stat -c %s {file} 2>/dev/null || echo 0"))
        finally:
            shell(f"kill {process}; kill $(cat {file}.pid) || true")

    def postgres_lets_in(self, password: str) -> bool:
        """Log in over the network, where PostgreSQL asks for the password."""
        psql = f"docker compose exec -T -e PGPASSWORD='{password}' postgres psql -h postgres -U tamma -d tamma -Atc"
        return "yes" in self.stack.shell(f"cd /opt/tamma && {psql} \"SELECT 'yes'\" 2>&1 || true")

    def rabbitmq_lets_in(self, password: str) -> bool:
        check = f"docker compose exec -T rabbitmq rabbitmqctl -q authenticate_user tamma -- '{password}'"
        return "Success" in self.stack.shell(f"cd /opt/tamma && {check} 2>&1 || true")

    def admissions(self) -> str:
        return self.stack.shell("cd /opt/tamma && docker compose exec -T postgres sh -c 'cat $PGDATA/pg_hba.conf'")

    def runs_on(self, values: dict[str, str], *, not_on: dict[str, str]) -> None:
        """Make sure that everybody has these values, and that no other ones are taken."""
        assert self.postgres_lets_in(values["POSTGRES_PASSWORD"])
        assert self.rabbitmq_lets_in(values["RABBITMQ_PASSWORD"])
        assert not self.postgres_lets_in(not_on["POSTGRES_PASSWORD"])
        assert not self.rabbitmq_lets_in(not_on["RABBITMQ_PASSWORD"])
        assert "trust # tamma" not in self.admissions()
        assert self.stack.shell(f"test -e {JOURNAL} || echo gone").strip() == "gone"
        again = self.play("site")
        assert again.status == 0, again.output
        assert again.unchanged, again.output
