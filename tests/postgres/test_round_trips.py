# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of object comes back from every operation as it was.

What came back is compared with what PostgreSQL's own programs make of the same database on the same trip; a copy, which
is no such trip, with the database itself.
"""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.database import COMPARED, Database
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from tests.postgres import zoo
from tests.postgres.facts import Facts, contents, differences, kind_of, of_database, of_roles, reference
from tests.postgres.server import DATABASE, Server, Servers

OPERATIONS = ("copy", "drill server", "drill container", "restore", "recovery")
#: These take the half of the time.
QUICK_ONES = ("copy", "drill server", "restore")
#: Of what differs in one thing.
SHOWN = 1500
GUARD, AWAY = "zoo_guard", "zoo_away"


class Table:
    """Kind x operation: how many things are not what they were."""

    def __init__(self, kinds: list[str]) -> None:
        self.rows = list(dict.fromkeys(["(operation)", *kinds, "database", "roles"]))
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
        if self.exists(name) and not name.endswith(COMPARED):
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


def everything(server: Server, database: str = DATABASE) -> Facts:
    """What is in a database, and what belongs to it."""
    return contents(server.run, database) | of_database(server.run, database)


def round_trips(server: Server, kinds: list[str], operations: tuple[str, ...]) -> Table:
    """Take some kinds through operations."""
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

    def drill(operation: str) -> None:
        with seen_before_it_goes() as seen:
            attempt(operation, lambda: server.drill(operation.removeprefix("drill ")))
        table.compare(operation, seen[-1] if seen else {}, wanted)

    def restore(operation: str) -> None:
        with seen_before_it_goes() as seen:
            done = attempt(operation, server.restore)
        if done:
            table.compare(
                operation, {**contents(server.run, DATABASE), **of_database(server.run, DATABASE)}, wanted | own
            )
        else:
            table.compare(operation, seen[-1] if seen else {}, wanted)

    def recovery(operation: str) -> None:
        server.emptied()
        restore(operation)
        table.compare(operation, of_roles(server), roles)

    def copy(operation: str) -> None:
        copying = server.database()
        if not attempt(operation, lambda: copying.copy(GUARD)):
            return
        table.compare(operation, everything(server, GUARD), original | own)
        for way, (coming, leaving) in {"swap": (GUARD, AWAY), "swap back": (AWAY, GUARD)}.items():
            if attempt(way, functools.partial(copying.swap, coming, leaving)):
                table.compare(way, everything(server), original | own)

    acts: dict[str, Callable[[str], None]] = {
        "copy": copy,
        "restore": restore,
        "recovery": recovery,
    }
    if attempt("backup", server.backup):
        for operation in operations:
            acts.get(operation, drill)(operation)
    return table


@pytest.mark.parametrize(
    ("version", "operations"),
    [(15, OPERATIONS), (17, QUICK_ONES), pytest.param(17, OPERATIONS, marks=pytest.mark.fault_matrix)],
)
def test_every_kind_comes_back_from_every_operation(
    servers: Servers, version: int, operations: tuple[str, ...]
) -> None:
    table = round_trips(servers(version), zoo.kinds(version), operations)
    print(table)
    assert table.well, str(table)


@pytest.mark.parametrize(
    ("version", "options"),
    [
        (15, "LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' IS_TEMPLATE true"),
        pytest.param(15, "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", marks=pytest.mark.fault_matrix),
        pytest.param(17, "LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '& V << w'", marks=pytest.mark.fault_matrix),
        pytest.param(17, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'", marks=pytest.mark.fault_matrix),
    ],
)
def test_a_database_comes_back_as_it_was_made(servers: Servers, version: int, options: str) -> None:
    server = servers(version)
    server.fresh(options)
    table = round_trips(server, ["database", "mentorship"], ("copy", "recovery"))
    print(table)
    assert table.well, str(table)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_drill_in_a_container_has_the_encoding_of_the_database(servers: Servers, encoding: str) -> None:
    server = servers()
    server.fresh(f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    server.sql("CREATE TABLE t (a text CHECK (octet_length(a) = 2))")
    server.sql("INSERT INTO t SELECT convert_from(decode('e4e9', 'hex'), current_setting('server_encoding'))")
    server.backup()
    server.drill("container")


def test_what_does_not_come_back_shows_in_the_table() -> None:
    table = Table(["checks", "views"])
    wanted = {"checks: TABLE a": "a", "views: VIEW b": "b", "views: r b": "1 rows"}
    table.compare("restore", {"checks: TABLE a": "a", "views: VIEW b": "c"}, wanted)
    assert table.cells == {("checks", "restore"): "equal", ("views", "restore"): "2 differ"}
    assert not table.well


@pytest.mark.fault_matrix
@pytest.mark.parametrize("version", [15, 17])
@pytest.mark.parametrize("kind", zoo.kinds(17))
def test_each_kind_comes_back_alone(servers: Servers, kind: str, version: int) -> None:
    if kind not in zoo.kinds(version):
        pytest.skip(f"PostgreSQL {version} does not know it")
    table = round_trips(servers(version), [kind], QUICK_ONES)
    assert table.well, str(table)
