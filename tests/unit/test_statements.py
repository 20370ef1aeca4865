# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL out of a backup: what PostgreSQL writes comes through, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.database import identifier, literal, missing_roles
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.statements import properties

GOOD = [
    "CREATE ROLE reader;",
    "ALTER ROLE reader WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS;",
    "ALTER ROLE reader WITH CONNECTION LIMIT 5 PASSWORD 'SCRAM-SHA-256$4096:x' VALID UNTIL '2030-01-01 00:00:00+00';",
    "ALTER ROLE reader SET search_path TO 'x', 'y';",
    "ALTER ROLE reader IN DATABASE tamma SET work_mem TO '9MB';",
    "COMMENT ON ROLE reader IS 'of; the';",
    "GRANT reader TO tamma WITH ADMIN OPTION GRANTED BY tamma;",
    "GRANT reader TO tamma WITH INHERIT TRUE GRANTED BY tamma;",
    "GRANT reader TO tamma WITH ADMIN OPTION, INHERIT FALSE, SET FALSE GRANTED BY tamma;",
]
BAD = [
    "CREATE ROLE reader; DROP DATABASE tamma",
    "CREATE ROLE reader SUPERUSER;",
    "CREATE ROLE reader ADMIN tamma;",
    "ALTER ROLE reader SET x TO $$;$$;",
    "ALTER ROLE reader SET x TO 'a' /* ' */ ; DROP DATABASE tamma; --';",
    "ALTER ROLE reader SET x TO U&'\\0027';",
    'ALTER ROLE reader RENAME TO "tamma";',
    "GRANT reader TO tamma, other;",
    "CREATE ROLE réader;",
    "ALTER ROLE reader WITH LOGIN PASSWORD 'x",
]


@pytest.mark.parametrize("statement", GOOD)
def test_what_postgresql_writes_of_roles_comes_through(statement: str) -> None:
    before = "SET default_transaction_read_only = off;\n\nSET client_encoding = 'UTF8';\n"
    dump = '--\n-- Roles; and "others\n--\n\n\\restrict aB1\n\n' + before + "\n%s\n\n\\unrestrict aB1\n"
    assert missing_roles(dump % statement, set()) == [statement]


@pytest.mark.parametrize("statement", BAD)
def test_what_it_does_not_write_is_refused(statement: str) -> None:
    made = []
    with pytest.raises(
        OperatorError, match=r"^The roles in the backup are not what PostgreSQL writes of them \('"
    ) as no:
        made = missing_roles(statement + "\n", set())
    assert made == []
    assert no.value.message.count("\n") == 0


def test_a_backslash_means_itself_whatever_the_server_thinks() -> None:
    (statement,) = missing_roles("COMMENT ON ROLE reader IS 'a\\';\n", set())
    assert statement == "COMMENT ON ROLE reader IS E'a\\\\';"


def test_what_is_no_statement_about_roles_is_not_told() -> None:
    dump = "ALTER ROLE reader SET x TO E'\\''; DROP DATABASE tamma; --';\n"
    assert missing_roles(dump, set()) == ["ALTER ROLE reader SET x TO %s;" % literal("'")]


def test_a_role_that_would_be_everybody_is_a_name() -> None:
    dump = "ALTER ROLE all SET x TO '1';\nALTER ROLE current_user WITH LOGIN;\n"
    assert missing_roles(dump, set()) == ["ALTER ROLE \"all\" SET x TO '1';", 'ALTER ROLE "current_user" WITH LOGIN;']


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_value_and_name_keep_their_place(text: str) -> None:
    name = identifier(text or "x")
    (statement,) = missing_roles("COMMENT ON ROLE %s IS %s;\n" % (name, literal(text)), set())
    again = missing_roles(statement, set())
    assert again == [statement]
    with pytest.raises(OperatorError):
        missing_roles("COMMENT ON ROLE %s IS %s DROP;\n" % (name, literal(text)), set())


@pytest.mark.parametrize(
    "pair",
    [
        ("REVOKE ALL ON DATABASE ", " FROM PUBLIC"),
        ("GRANT CONNECT ON DATABASE ", " TO PUBLIC"),
        ("GRANT TEMPORARY ON DATABASE ", ' TO "odd ""name" WITH GRANT OPTION'),
        ("ALTER DATABASE ", " SET search_path TO 'a', 'b'"),
        ("ALTER ROLE reader IN DATABASE ", " SET work_mem TO '9MB'"),
        ("ALTER DATABASE ", ' SET search_path TO "", "public"'),
        ("COMMENT ON DATABASE ", " IS E'a\\\\b''c'"),
        ("SECURITY LABEL FOR provider ON DATABASE ", " IS 'x'"),
        ("ALTER DATABASE ", " CONNECTION LIMIT 0"),
        ("ALTER DATABASE ", " IS_TEMPLATE true"),
    ],
)
def test_what_a_manifest_says_of_its_database_comes_through(pair: tuple[str, str]) -> None:
    assert properties([pair]) == [list(pair)]


@pytest.mark.parametrize(
    "pair",
    [
        ("DROP DATABASE ", ""),
        ("ALTER DATABASE ", " OWNER TO mallory"),
        ("ALTER DATABASE ", " SET x TO 'a'; DROP TABLE y"),
        ("ALTER DATABASE ", " SET x TO 'a' --"),
        ("COMMENT ON DATABASE x IS 'y'; ALTER DATABASE ", " IS_TEMPLATE true"),
        ("GRANT ALL ON DATABASE ", " TO PUBLIC"),
        ("ALTER SYSTEM SET archive_command TO 'x'; COMMENT ON DATABASE ", " IS 'x'"),
        ("", ""),
        ("COMMENT ON DATABASE ", " IS 'x\x1b]0;\x07"),
    ],
)
def test_what_no_manifest_of_ours_says_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(
        OperatorError, match=r"^The backup says of its database what no version .+, and find out who"
    ) as no:
        properties([("REVOKE ALL ON DATABASE ", " FROM PUBLIC"), pair])
    assert "\x1b" not in no.value.message
