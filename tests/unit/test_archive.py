# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a script of pg_restore says an archive holds, and how two of pg_dump are compared."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.archive import Counted, Reader, compare, definitions

# Of pg_restore --data-only -f -, PostgreSQL 15, shortened. The first table's rows say what begins and ends others.
SCRIPT = r"""--
-- PostgreSQL database dump
--

SELECT pg_catalog.set_config('search_path', '', false);

--
-- Data for Name: a; Type: TABLE DATA; Schema: public; Owner: tamma
--

COPY public.a (id, t) FROM stdin;
1	\\.\nCOPY public.b (id) FROM stdin;
COPY public.b (id) FROM stdin;
SELECT pg_catalog.setval('public.s', 9, true);
2	\\.
\\.
SELECT pg_catalog.lo_open('1', 131072);
\.


COPY public."odd
name; Type: "" x FROM stdin;
" ("a b") FROM stdin;
1
\.


COPY public.no_columns  FROM stdin;


\.


COPY public.empty (id) FROM stdin;
\.


SELECT pg_catalog.setval('public.a_id_seq', 6, true);
SELECT pg_catalog.setval('public."it''s
odd"', -2, false);

BEGIN;

SELECT pg_catalog.lo_open('16399', 131072);
SELECT pg_catalog.lowrite(0, '\x616263');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- PostgreSQL database dump complete
--
"""
COUNTED = Counted(
    {"public.a": 6, 'public."odd\nname; Type: "" x FROM stdin;\n"': 1, "public.no_columns": 2, "public.empty": 0},
    {"public.a_id_seq": (6, True), 'public."it\'s\nodd"': (-2, False)},
    1,
)


@given(st.lists(st.integers(1, 300), min_size=1))
def test_it_does_not_matter_in_which_pieces_a_script_comes(sizes: list[int]) -> None:
    left, reader = SCRIPT.encode(), Reader()
    while left:
        for size in sizes:
            reader.feed(left[:size])
            left = left[size:]
    assert reader.counted == COUNTED
    assert reader.whole


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))))
def test_any_rows_are_counted(rows: list[str]) -> None:
    """A backslash comes in twos, so that no row is the end of them."""
    lines = [row.replace("\\", "\\\\") for row in rows]
    reader = Reader()
    reader.feed("".join(f"{line}\n" for line in ["COPY public.a (t) FROM stdin;", *lines, "\\."]).encode())
    assert reader.counted.counts == {"public.a": len(rows)}


def test_a_script_that_was_cut_off_is_not_whole() -> None:
    reader = Reader()
    reader.feed(SCRIPT[: SCRIPT.rindex("complete")].encode())
    assert not reader.whole


def test_what_was_counted_survives_a_manifest() -> None:
    found = json.loads(json.dumps(COUNTED._asdict()))
    assert found["counts"] == COUNTED.counts
    assert {name: tuple(value) for name, value in found["sequences"].items()} == COUNTED.sequences


# Of pg_dump --schema-only, PostgreSQL 15.20, shortened.
DUMP = """--
-- PostgreSQL database dump
--

\\restrict {key}

-- Dumped from database version 15.{minor}
-- Dumped by pg_dump version 15.{minor}

SET statement_timeout = 0;

--
-- Name: a; Type: TABLE; Schema: public; Owner: tamma
--

CREATE TABLE public.a (
    s character varying(20),
    CONSTRAINT a_s_check CHECK ({check})
);


ALTER TABLE public.a OWNER TO tamma;

--
-- Name: hstore; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;


--
-- PostgreSQL database dump complete
--

\\unrestrict {key}

"""
OPEN = "((s)::text = 'open'::text)"


def test_a_dump_is_split_into_what_it_defines() -> None:
    found = definitions(DUMP.format(key="x", minor=20, check=OPEN))
    assert sorted(found) == ["EXTENSION hstore", "TABLE public.a"]
    assert found["EXTENSION hstore"] == "CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;"
    assert found["TABLE public.a"].endswith("ALTER TABLE public.a OWNER TO tamma;")


def test_only_what_is_defined_is_compared() -> None:
    one = definitions(DUMP.format(key="x", minor=20, check=OPEN))
    assert compare(one, definitions(DUMP.format(key="y", minor=21, check=OPEN))) == []


@pytest.mark.parametrize(
    ("wanted", "found", "words"),
    [
        ({"TABLE a": "CREATE"}, {}, "TABLE a should be «CREATE» and is absent"),
        ({}, {"TABLE a": "CREATE"}, "TABLE a should be absent and is «CREATE»"),
        ({"VIEW v": "SELECT\n 1"}, {"VIEW v": "SELECT\n 2"}, "VIEW v should be «SELECT 1» and is «SELECT 2»"),
        ({"VIEW v": "a" * 400}, {"VIEW v": "b"}, "VIEW v should be «%s…» and is «b»" % ("a" * 300)),
    ],
)
def test_both_definitions_are_told(wanted: dict[str, str], found: dict[str, str], words: str) -> None:
    assert compare(wanted, found) == [words]
