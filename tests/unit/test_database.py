# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is compared after a restore, and which roles a server lacks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.database import (
    Client,
    Database,
    identifier,
    literal,
    major,
    missing_roles,
)
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError

# Of pg_dumpall --roles-only, PostgreSQL 15, shortened.
ROLES = """\
--
-- Roles
--

CREATE ROLE reader;
ALTER ROLE reader WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS;
CREATE ROLE tamma;
ALTER ROLE tamma WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';
CREATE ROLE "odd ""name"" ;";
ALTER ROLE "odd ""name"" ;" WITH LOGIN;
ALTER ROLE reader SET search_path TO 'x';

--
-- Role memberships
--

GRANT reader TO tamma GRANTED BY tamma;
GRANT tamma TO "odd ""name"" ;" GRANTED BY tamma;
"""
EVERY: set[str | None] = {"reader", "tamma", 'odd "name" ;'}


def test_only_what_is_missing_is_made() -> None:
    assert missing_roles(ROLES, {"tamma", "reader"}) == [
        'CREATE ROLE "odd ""name"" ;";',
        'ALTER ROLE "odd ""name"" ;" WITH LOGIN;',
        'GRANT tamma TO "odd ""name"" ;" GRANTED BY tamma;',
    ]
    assert missing_roles(ROLES, EVERY) == []


def test_a_membership_comes_with_either_side() -> None:
    assert "GRANT reader TO tamma GRANTED BY tamma;" in missing_roles(ROLES, EVERY - {"reader"})
    assert not [line for line in missing_roles(ROLES, EVERY - {"reader"}) if "odd" in line or "ROLE tamma" in line]


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_any_name_of_a_role_is_understood(name: str) -> None:
    dump = "CREATE ROLE %s;\n" % identifier(name)
    assert [one.replace('"', "") for one in missing_roles(dump, set())] == [dump.rstrip("\n").replace('"', "")]
    assert missing_roles(dump, {name}) == []


@given(st.text(), st.text())
def test_quoting_cannot_be_left(one: str, other: str) -> None:
    for quote, sign in ((identifier, '"'), (literal, "'")):
        inside = quote(one)[1:-1]
        assert inside.replace(sign * 2, "").count(sign) == 0
        assert (quote(one) == quote(other)) == (one == other)


@pytest.mark.parametrize(("text", "number"), [("15.18", 15), ("16beta1", 0), ("", 0), ("9.6", 9)])
def test_the_major_version(text: str, number: int) -> None:
    if text == "16beta1":
        with pytest.raises(ValueError, match="invalid literal"):
            major(text)
    else:
        assert major(text) == number


def test_no_password_is_in_a_command_line_and_a_name_cannot_leave_its_place() -> None:
    argv = Client(["docker", "exec", "-i", "x"], "tamma", "tamma-operator-0123").dump("odd ' \\ name", 60)
    assert "dbname='odd \\' \\\\ name' application_name=tamma-operator-0123" in argv
    assert "--no-password" in argv


def test_an_archive_goes_through_the_engine_where_there_is_no_pipe() -> None:
    """Who reads the pipe has nothing on standard input; what takes the archive from the disk needs no pipe."""
    engine = ["docker", "exec", "-i", "x"]
    for pipe in ("", "/volume/tamma-pipe"):
        client = Client(engine, "tamma", "tamma-operator-0123", "/data", pipe)
        streams = [client.dump("a", 60), client.restore_data("a"), client.restore_stream("a"), client.read_through()]
        for argv in streams:
            assert ("/data/tamma-pipe" in argv) == bool(pipe)
            assert ("-i" in argv) != bool(pipe)
        assert "/data/tamma-pipe" not in client.restore_rest("a", "database.dump", 2)


@pytest.mark.parametrize(("may", "refused"), [([["t"]], False), ([["f"]], True), ([], False)])
def test_a_role_that_may_make_no_database_is_told_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, may: list[list[str]], refused: bool
) -> None:
    """For an update as well as for a restore."""
    monkeypatch.setattr(Database, "query", lambda *_: may)
    server = SimpleNamespace(database="tamma", user="app")
    known = Database(cast(Any, SimpleNamespace(name="tamma", server=lambda: server)))
    if not refused:
        known.check_privileges()
        return
    with pytest.raises(OperatorError, match="Updates and restores make a database beside tamma") as left:
        known.check_privileges()
    assert "needs CREATEDB" in left.value.message
    assert '(ALTER ROLE "app" CREATEDB)' in left.value.message


def test_a_statement_may_have_several_lines() -> None:
    made = 'CREATE ROLE "a\nb";'
    others = ["ALTER ROLE a SET x TO 'one;\ntwo''s';", "COMMENT ON ROLE a IS 'CREATE ROLE c;\nof two';"]
    dump = "".join(f"{one}\n" for one in [made, *others])
    assert missing_roles(dump, {"a"}) == [made]
    assert missing_roles(dump, {"a\nb"}) == others
