# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schemas that nobody has thought of: scripts made of random names, types, expressions and what is made from those.

Not every statement has to succeed: a constraint may refuse rows, and a name may stand for something else already.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.database import literal
from tests.postgres.server import quoted

#: What has a meaning to somebody between a name and a backup.
_ODD = "abcXYZ019_ \"'\\\n\t;.-$%/*(){}[]:,éß犬🦓"
_names = st.text(_ODD, min_size=1, max_size=9).filter(str.strip)
_texts = st.text(_ODD, max_size=12) | st.sampled_from(
    ["\\.", "\\N", "", "open", "closed", "COPY x FROM stdin;", "--", "$$", "SELECT pg_catalog.setval('x', 1);"]
)
_numbers = st.integers(-9, 9)


class Column(NamedTuple):
    """A column: name quoted, type, and whether that is one of text, of numbers or something else."""

    name: str
    type: str
    kind: str


_TYPES = {
    "text": ["varchar", "varchar(12)", "char(5)", "text", 'text COLLATE "C"', 'varchar COLLATE "de-x-icu"', "name"],
    "number": ["int", "bigint", "smallint", "numeric", "numeric(10, 2)", "float8"],
    "other": ["bool", "date", "timestamptz", "jsonb", "uuid", "bytea", "interval", "text[]", "int4range", "inet"],
}
_OTHERS = {
    "bool": "true",
    "date": "'0044-03-15 BC'",
    "timestamptz": "'infinity'",
    "jsonb": """'{"a": [1, null, "\\\\u00e9"]}'""",
    "uuid": "'00000000-0000-0000-0000-00000000000f'",
    "bytea": "'\\x5c2e0a00'",
    "interval": "'1 mon -2 days 00:00:03'",
    "text[]": """'{NULL,"NULL","a,b","\\\\"}'""",
    "int4range": "'[1,5)'",
    "inet": "'::1/64'",
}


@st.composite
def columns(draw: st.DrawFn, number: int) -> Column:
    """A column of any type."""
    kind = draw(st.sampled_from(["text", "text", "number", "other"]))
    return Column(quoted(f"{draw(_names)}{number}"), draw(st.sampled_from(_TYPES[kind])), kind)


@st.composite
def values(draw: st.DrawFn, column: Column) -> str:
    """A value for a column."""
    if column.kind == "other":
        return draw(st.sampled_from(["NULL", _OTHERS[column.type]]))
    text = draw(_texts) if column.kind == "text" else str(draw(_numbers))
    return draw(st.sampled_from(["NULL", literal(text), literal(text)]))


@st.composite
def conditions(draw: st.DrawFn, some: list[Column], depth: int = 2) -> str:
    """An expression that is true or false, over columns: in the forms that a dump and a restore write another way."""
    if depth and draw(st.booleans()):
        forms = ["({} AND {})", "({} OR {})", "(NOT {} OR {})", "(CASE WHEN {} THEN {} ELSE true END)"]
        return draw(st.sampled_from(forms)).format(*(draw(conditions(some, depth - 1)) for _ in range(2)))
    column = draw(st.sampled_from(some))
    name = column.name
    if column.kind == "other":
        return draw(st.sampled_from([f"{name} IS NULL", f"{name} IS NOT DISTINCT FROM {_OTHERS[column.type]}"]))
    found = _texts if column.kind == "text" else _numbers.map(str)
    plain = column.type.partition(" COLLATE")[0]
    several = [literal(one) for one in draw(st.lists(found, min_size=1, max_size=3))]
    forms = [
        "{0} IN ({1})",
        "{0} NOT IN ({1})",
        "{0} = ANY (ARRAY[{1}]::{3}[])",
        "coalesce({0}, {2}) <> {2}",
        "{0} < {2}",
    ]
    if column.kind == "text":
        forms += [
            "{0} LIKE {2}",
            "lower({0}) IN ({1})",
            "length({0}) < 10",
            "{0}::varchar(3) IN ({1})",
            "{0} || {2} > {2}",
        ]
    else:
        forms += ["{0} BETWEEN -5 AND 5", "abs({0}) < 8", "{0}::text IN ({1})", "-{0} <= 3"]
    return "(" + draw(st.sampled_from(forms)).format(name, ", ".join(several), several[0], plain) + ")"


@st.composite
def sequences(draw: st.DrawFn, name: str) -> list[str]:
    """A sequence that has been used, or not."""
    step = draw(st.sampled_from([1, 2, -1, -3]))
    low, high = sorted(draw(st.lists(st.integers(-20, 20), min_size=2, max_size=2, unique=True)))
    cycle = draw(st.sampled_from(["CYCLE", "NO CYCLE"]))
    made = (
        f"CREATE SEQUENCE {name} INCREMENT {step} MINVALUE {low} MAXVALUE {high} START {draw(st.integers(low, high))}"
    )
    used = [f"SELECT nextval({literal(name)})"] * draw(st.integers(0, 9))
    if draw(st.booleans()):
        called = draw(st.sampled_from(["true", "false"]))
        used.append(f"SELECT setval({literal(name)}, {draw(st.integers(low, high))}, {called})")
    return [f"{made} CACHE {draw(st.integers(1, 3))} {cycle}", *used]


@st.composite
def tables(draw: st.DrawFn, schema: str, number: int) -> list[str]:
    """A table with rows and with what people put on tables."""
    table = f"{schema}.{quoted(f'{draw(_names)}{number}')}"
    some = [draw(columns(n)) for n in range(draw(st.integers(1, 4)))]

    def known() -> str:
        return draw(conditions(some))

    words = [f"{one.name} {one.type}" for one in some]
    words[0] += f" DEFAULT {draw(values(some[0]))}"
    words += [f"CHECK ({known()})" for _ in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        words.append(f"made bool GENERATED ALWAYS AS ({known()}) STORED")
    if draw(st.booleans()):
        words.append(f"id int GENERATED {draw(st.sampled_from(['ALWAYS', 'BY DEFAULT']))} AS IDENTITY")
    how = draw(st.sampled_from(["", "", "LIST", "HASH", "RANGE"]))
    key = some[0].name
    script = [f"CREATE TABLE {table} ({', '.join(words)})" + (f" PARTITION BY {how} ({key})" if how else "")]
    part = quoted(f"part of {number}")
    if how == "LIST":
        script.append(f"CREATE TABLE {schema}.{part} PARTITION OF {table} FOR VALUES IN ({draw(values(some[0]))})")
    if how == "HASH":
        script.append(f"CREATE TABLE {schema}.{part} PARTITION OF {table} FOR VALUES WITH (MODULUS 1, REMAINDER 0)")
    elif how:
        # What no other one takes.
        script.append(f"CREATE TABLE {schema}.{quoted(f'rest of {number}')} PARTITION OF {table} DEFAULT")
    names = ", ".join(one.name for one in some)
    for _ in range(draw(st.integers(0, 5))):
        script.append(f"INSERT INTO {table} ({names}) VALUES ({', '.join(draw(values(one)) for one in some)})")
    view, kept, function, trigger = (f"{schema}.{quoted(f'{word} {number}')}" for word in ("view", "kept", "f", "t"))
    old, new = ([one._replace(name=f"{row}.{one.name}") for one in some] for row in ("OLD", "NEW"))
    body = "BEGIN /* %s */ RETURN NEW; END" % draw(_texts).replace("/", "").replace("*", "")
    condition = f"FOR EACH ROW WHEN ({draw(conditions(new))})"
    counted = f"BEGIN ATOMIC SELECT count(*) FROM {table} WHERE {known()}; END"
    script += [
        f"CREATE INDEX ON {table} ({key}) WHERE {known()}",
        f"CREATE INDEX ON {table} (({known()}), {key})",
        f"ALTER TABLE {table} ADD CHECK ({known()}) NOT VALID",
        f"CREATE VIEW {view} AS SELECT *, {known()} AS told FROM {table} WHERE {known()}",
        f"CREATE MATERIALIZED VIEW {kept} AS SELECT {key} FROM {table} WHERE {known()}",
        f"CREATE FUNCTION {function}() RETURNS bigint LANGUAGE sql {counted}",
        f"CREATE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS {literal(body)}",
        f"CREATE TRIGGER {quoted(draw(_names))} BEFORE UPDATE ON {table} {condition} EXECUTE FUNCTION {trigger}('a')",
        f"CREATE POLICY {quoted(draw(_names))} ON {table} USING ({known()})",
        f"CREATE RULE r AS ON UPDATE TO {table} WHERE {draw(conditions(old))} DO ALSO NOTHING",
        f"COMMENT ON TABLE {table} IS {literal(draw(_texts))}",
        f"COMMENT ON COLUMN {table}.{key} IS {literal(draw(_texts))}",
    ]
    # Most, in their order, and never all: each is a chance that something is not as everywhere.
    return [script[0], *(line for line in script[1:] if draw(st.integers(0, 3)))]


@st.composite
def scripts(draw: st.DrawFn) -> list[str]:
    """The statements that make some schemas with tables, domains, enums and sequences."""
    found: list[str] = []
    for number in range(draw(st.integers(1, 3))):
        schema = quoted(f"{draw(_names)}{number}")
        one, other = (draw(conditions([Column("VALUE", "varchar", "text")])) for _ in range(2))
        labels = draw(st.lists(_texts, max_size=4, unique=True))
        found += [
            f"CREATE SCHEMA {schema}",
            f"CREATE DOMAIN {schema}.d AS varchar CHECK ({one}) CHECK ({other})",
            f"CREATE TYPE {schema}.e AS ENUM ({', '.join(map(literal, labels))})",
            f"CREATE TABLE {schema}.typed (a {schema}.d, b {schema}.e, c {schema}.d[], d {schema}.e[])",
            f"INSERT INTO {schema}.typed VALUES ({literal(draw(_texts))}, enum_last(NULL::{schema}.e), '{{}}', NULL)",
            *draw(sequences(f"{schema}.{quoted(draw(_names))}")),
        ]
        for table in range(draw(st.integers(1, 3))):
            found += draw(tables(schema, table))
    return found
