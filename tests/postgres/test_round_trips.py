# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of object comes back from every operation as it was.

What came back is compared with what PostgreSQL's own programs make of the same database on the same trip; a copy, which
is no such trip, with the database itself.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.database import Database
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from tests.postgres import zoo
from tests.postgres.facts import Facts, contents, differences, kind_of, of_database, of_roles, reference
from tests.postgres.server import DATABASE, Server, Servers

SETTINGS = {"wal_level": "logical"}
#: Of what differs in one thing.
SHOWN = 1500
GUARD, AWAY = "zoo_guard", "zoo_away"


class Table:
    """Kind x operation: how many things are not what they were."""

    def __init__(self, kinds: list[str]) -> None:
        self.rows = ["(operation)", *kinds, "database", "roles"]
        self.cells: dict[tuple[str, str], str] = {}
        self.told: list[str] = []

    def refused(self, operation: str, words: str) -> None:
        """An operation did not succeed."""
        self.cells["(operation)", operation] = "refused"
        self.told.append(f"{operation}: {words}")

    def compare(self, operation: str, found: Facts, wanted: Facts) -> None:
        """Note what is not as it was; more than once for different facts."""
        for key in wanted:
            self.cells.setdefault((kind_of(key, self.rows), operation), "equal")
        wrong = differences(found, wanted)
        for kind in {kind_of(key, self.rows) for key in wrong}:
            which = [key for key in wrong if kind_of(key, self.rows) == kind]
            self.cells[kind, operation] = f"{len(which)} differ"
            self.told += [f"{operation}: {key}\n{wrong[key][:SHOWN]}" for key in which]

    @property
    def well(self) -> bool:
        """Whether everything came back from everywhere."""
        return bool(self.cells) and set(self.cells.values()) <= {"equal", "well"}

    def __str__(self) -> str:
        """The table, and below it what differs."""
        operations = list(dict.fromkeys(operation for _kind, operation in self.cells))
        lines = [["", *operations]]
        lines += [[kind, *(self.cells.get((kind, one), "-") for one in operations)] for kind in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join(["", *table, "", *self.told])


@contextmanager
def seen_before_it_goes() -> Iterator[list[Facts]]:
    """What is in a database, or in a server that is thrown away, right before somebody removes it."""
    seen: list[Facts] = []
    drop, discard = Database.drop, Engine.discard

    def look(container: str, database: str) -> None:
        def run(*words: str, stdin: str = "") -> str:
            argv = ["docker", "exec", "-i", container, *words]
            return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=True).stdout

        seen.append(contents(run, database))

    def looked_through(self: Database, name: str) -> None:
        if self.exists(name):
            look(self._stack.running("postgres")[0]["Id"], name)
        drop(self, name)

    def looked_into(self: Engine, identifier: str) -> None:
        # The database of a drill has this name.
        look(identifier, "drill")
        discard(self, identifier)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "drop", looked_through)
        patch.setattr(Engine, "discard", looked_into)
        yield seen


def round_trips(server: Server, kinds: list[str]) -> Table:
    """Take some kinds through every operation."""
    table = Table(kinds)
    zoo.populate(server, kinds)
    original = contents(server.run, DATABASE)
    own, roles = of_database(server.run, DATABASE), of_roles(server)
    wanted = reference(server, DATABASE)

    def attempt(operation: str, act: Callable[[], object]) -> bool:
        try:
            act()
        except (OperatorError, AssertionError) as failure:
            table.refused(operation, str(failure))
            return False
        table.cells["(operation)", operation] = "well"
        return True

    def drill(where: str) -> None:
        with seen_before_it_goes() as seen:
            attempt(f"drill {where}", lambda: server.drill(where))
        table.compare(f"drill {where}", seen[-1] if seen else {}, wanted)

    def restore(operation: str) -> None:
        with seen_before_it_goes() as seen:
            done = attempt(operation, server.restore)
        if done:
            table.compare(
                operation, {**contents(server.run, DATABASE), **of_database(server.run, DATABASE)}, wanted | own
            )
        else:
            table.compare(operation, seen[-1] if seen else {}, wanted)

    def copy() -> None:
        copying = server.database()
        copying.copy(GUARD)
        table.compare("copy", {**contents(server.run, GUARD), **of_database(server.run, GUARD)}, original | own)
        copying.swap(GUARD, AWAY)
        table.compare("swap", {**contents(server.run, DATABASE), **of_database(server.run, DATABASE)}, original | own)
        copying.swap(AWAY, GUARD)
        table.compare(
            "swap back", {**contents(server.run, DATABASE), **of_database(server.run, DATABASE)}, original | own
        )

    attempt("copy", copy)
    if attempt("backup", server.backup):
        drill("server")
        drill("container")
        restore("restore")
        server.emptied()
        restore("recovery")
        table.compare("recovery", of_roles(server), roles)
    return table


@pytest.mark.parametrize("version", [15, 17])
def test_every_kind_comes_back_from_every_operation(servers: Servers, version: int) -> None:
    kinds = [kind for kind in zoo.kinds(version) if kind not in zoo.APART]
    table = round_trips(servers(version, SETTINGS), kinds)
    print(table)
    assert table.well, str(table)


@pytest.mark.parametrize("kind", zoo.APART)
def test_what_changes_the_ways_of_a_database_comes_back(servers: Servers, kind: str) -> None:
    table = round_trips(servers(15, SETTINGS), [kind])
    assert table.well, str(table)


@pytest.mark.fault_matrix
@pytest.mark.parametrize("version", [15, 17])
@pytest.mark.parametrize("kind", zoo.kinds(17))
def test_each_kind_comes_back_alone(servers: Servers, kind: str, version: int) -> None:
    if kind not in zoo.kinds(version):
        pytest.skip(f"PostgreSQL {version} does not know it")
    # Some refer to what others make.
    table = round_trips(servers(version, SETTINGS), [kind])
    assert table.well, str(table)
