# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a production host around an update, as Molecule's tests do through testinfra."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from testinfra.host import Host

from tests.bench import data, releases
from tests.bench.edge import Edge
from tests.bench.load import SESSIONS, Load
from tests.bench.names import container_name
from tests.bench.patience import wait_until
from tests.tools.deployed import DIRECTORY, edge_of, engine, env, inspect_all, playbook, site
from tests.tools.outcome import Outcome

OLD = "0.2.0"
VERSION = "org.opencontainers.image.version"
SERVICE = "com.docker.compose.service"
#: The table into which the load writes while everything else has to stay as it is, and its sequence.
WRITTEN = "future_sessions"
HISTORY = """SELECT "MigrationId" FROM "{}"."__EFMigrationsHistory" ORDER BY 1"""


def replaced(before: dict[str, set[str]], after: dict[str, set[str]]) -> set[str]:
    """The services of which no container is left."""
    return {service for service, identifiers in before.items() if not identifiers & after[service]}


class Production:
    """The host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.container = container_name(os.environ["TAMMA_SANDBOX"], host.check_output("hostname"))
        self.edge: Edge = edge_of(host)

    def play(self, name: str, **variables: Any) -> Outcome:
        return playbook(f"playbooks/{name}.yml", variables)

    def update(self, version: str, **variables: Any) -> Outcome:
        return self.play("update", **{"tamma_stack_version": version, **variables})

    def site(self, version: str, **variables: Any) -> Outcome:
        return site({"tamma_stack_version": version, **variables})

    def write(self, title: str) -> str:
        """Write a row through the API; return what `rows` has then."""
        answer = self.edge.ask("POST", SESSIONS, json={"title": title})
        assert answer.status_code == 201, answer.text
        return f"{answer.json()['id']} {title}"

    def rows(self) -> list[str]:
        sql = f"SELECT id || ' ' || title FROM {WRITTEN} ORDER BY id"
        return data.ask(self.container, sql).splitlines()

    def lost(self, load: Load) -> list[str]:
        """The acknowledged rows of a load that are not there, or that are there twice."""
        found = data.ask(self.container, load.rows)
        return load.missing(found) + load.twice(found)

    def differences(self, before: data.State) -> list[str]:
        """What is not as it was, but for what is written all the time."""
        return [line for line in data.state(self.container).differences(before) if WRITTEN not in line]

    def databases(self) -> set[str]:
        return set(data.ask(self.container, "SELECT datname FROM pg_database").splitlines())

    def containers(self) -> dict[str, set[str]]:
        """Service → ids of its containers."""
        found: dict[str, set[str]] = {}
        for item in inspect_all(self.host):
            found.setdefault(item["Config"]["Labels"][SERVICE], set()).add(item["Id"])
        return found

    def versions(self) -> set[str]:
        """The versions of Tamma that run, by what is in their images."""
        return {
            item["Config"]["Labels"][VERSION] for item in inspect_all(self.host) if VERSION in item["Config"]["Labels"]
        }

    def secrets(self) -> dict[str, str]:
        return env(self.host)

    def postgres_lets_in(self, password: str) -> bool:
        """Log in over the network, where PostgreSQL asks for the password."""
        psql = f"exec -T -e PGPASSWORD='{password}' postgres psql -h postgres -U tamma -d tamma -Atc 'SELECT 1'"
        return bool(self.host.run(f"cd {DIRECTORY} && {engine(self.host)} compose {psql}").rc == 0)

    def serves(self, version: str, **variables: Any) -> None:
        """Make sure that a version answers, that nothing else runs, and that another run finds nothing to do."""
        paths = ("/api/health", "/elsa-api/health", "/version.json")
        assert {path: self.edge.ask("GET", path).json()["version"] for path in paths} == dict.fromkeys(paths, version)
        assert self.versions() == {version}
        history = {name: data.ask(self.container, HISTORY.format(name)).splitlines() for name in ("Elsa", "public")}
        assert history == releases.migrations(version)
        again = self.site(version, **variables)
        assert again.status == 0, again.output
        assert again.unchanged, again.output

    def fill(self, mebibytes: int) -> None:
        """Generate data, and write some through the API."""
        data.generate(self.container, mebibytes)
        with Load(self.edge, rate=10, streams=0, writes=20) as load:
            wait_until(lambda: load.written >= 40, 60, "written rows")
        assert not load.failures, load.report()
        reviews = "INSERT INTO future_reviews (session_id, verdict) SELECT id, 'well done'"
        data.ask(self.container, f"{reviews} FROM {WRITTEN}")

    @contextmanager
    def unharmed(self, **variables: Any) -> Iterator[None]:
        """What is done meanwhile must not last: the same values, schema, definitions and files, and the old version."""
        row = self.write("before")
        before, rows = data.state(self.container), self.rows()
        yield
        assert self.differences(before) == []
        assert row in rows
        assert self.rows()[: len(rows)] == rows
        self.serves(OLD, **variables)
