# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a database as PostgreSQL's own programs tell it: found out without anything of the collection."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from tests.postgres.server import USER, Server, quoted

Facts = dict[str, str]
"""Thing -> how it is."""

#: Runs a program where the server is: words, and what it reads.
Run = Callable[..., str]

#: The comment over each entry of a plain dump; what is in names comes without line breaks.
_ENTRY = re.compile(r"^--\n-- (?:Data for )?Name: (.*); Type: (.*); Schema: (.*); Owner: (.*)\n--\n", re.MULTILINE)
#: Another one in each dump.
_TOKEN = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
_END = "--\n-- PostgreSQL database dump complete\n--\n\n"

# A row is told as text, whatever its columns are called; views are looked through as well.
_ROWS = r"""
SET search_path TO pg_catalog; SET TimeZone TO 'UTC'; SET extra_float_digits TO 3;
SELECT format(
    'SELECT json_build_array(%L, %L, concat(count(*), '' rows '', '
    '   md5(coalesce(string_agg(r, E''\n'' ORDER BY r COLLATE "C"), ''''))))'
    ' FROM (SELECT (x.*)::text AS r FROM %s%I.%I AS x) AS s',
    nspname, concat(relkind, ' ', relname), CASE relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, nspname, relname)
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
  WHERE relkind IN ('r', 'm', 'v') AND relispopulated AND relpersistence <> 't'
    AND nspname <> 'information_schema' AND nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = c.oid AND deptype = 'e')
  ORDER BY 1 \gexec
SELECT format('SELECT json_build_array(%L, %L, concat(last_value, '' '', is_called)) FROM %I.%I',
    nspname, concat('S ', relname), nspname, relname)
  FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE relkind = 'S' ORDER BY 1 \gexec
SELECT json_build_array('-', concat('BLOB ', oid), md5(lo_get(oid))) FROM pg_largeobject_metadata ORDER BY oid;
"""

_DATABASE = r"""
WITH d AS (SELECT * FROM pg_database WHERE datname = current_database())
SELECT json_object_agg(key, value ORDER BY key) FROM (
  SELECT 'row' AS key, (
      to_jsonb(d) - '{oid,datname,datdba,datacl,datfrozenxid,datminmxid,dattablespace}'::text[] || jsonb_build_object(
        'owner', pg_get_userbyid(datdba),
        'tablespace', (SELECT spcname FROM pg_tablespace WHERE oid = dattablespace),
        'rights', (SELECT jsonb_agg(a::text ORDER BY a::text) FROM unnest(datacl) AS a)))::text AS value
    FROM d
  UNION ALL SELECT 'comment', shobj_description(oid, 'pg_database') FROM d
  UNION ALL SELECT concat('label ', provider), label FROM pg_shseclabel, d
    WHERE objoid = oid AND classoid = 'pg_database'::regclass
  UNION ALL SELECT concat('setting of ', coalesce(rolname, '(all)')),
      (SELECT string_agg(s, E'\n' ORDER BY s) FROM unnest(setconfig) AS s)
    FROM d JOIN pg_db_role_setting ON setdatabase = d.oid LEFT JOIN pg_roles AS r ON r.oid = setrole
) AS found
"""


def _psql(run: Run, database: str, script: str) -> str:
    return run("psql", "-v", "ON_ERROR_STOP=1", "-qXAt", "-U", USER, "-d", database, stdin=script)


def contents(run: Run, database: str) -> Facts:
    """Every object with its definition, every table's rows, sequence's value and large object."""
    found: Facts = {}
    dump = _TOKEN.sub("", run("pg_dump", "--username", USER, database)).removesuffix(_END)
    # The head, then five pieces for each entry.
    pieces = _ENTRY.split(dump)
    for name, kind, schema, owner, text in zip(*(pieces[n::5] for n in range(1, 6)), strict=True):
        key = f"{schema}: {kind} {name}"
        found[key] = found.get(key, "") + f"{owner}\n{text.strip()}\n"
    for line in _psql(run, database, _ROWS).splitlines():
        schema, name, value = json.loads(line)
        found[f"{schema}: {name}"] = value
    return found


def of_database(run: Run, database: str) -> Facts:
    """What belongs to the database itself."""
    told = json.loads(_psql(run, database, _DATABASE))
    return {f"database: {key}": str(value) for key, value in told.items()}


def of_roles(server: Server) -> Facts:
    """Every role but the one whose server it is, as a dump has them."""
    dump = server.run("pg_dumpall", "--username", USER, "--roles-only")
    lines = [line for line in re.split(r";\n", dump) if re.search(r"\bROLE\b|\bGRANT\b", line)]
    own = re.compile(rf"(CREATE|ALTER) ROLE {USER}\b")
    return {f"roles: {line.split(' PASSWORD ')[0].strip()}": line.strip() for line in lines if not own.search(line)}


def reference(server: Server, database: str, name: str = "zoo_reference") -> Facts:
    """The contents of a database after a dump and a restore by the server's own programs."""
    server.sql(f"CREATE DATABASE {quoted(name)} TEMPLATE template0", "postgres")
    server.sql(server.run("pg_dump", "--username", USER, database), name)
    return contents(server.run, name)


def differences(found: Facts, wanted: Facts) -> Facts:
    """What is not as it should be: thing -> both."""
    return {
        key: f"  is     {found.get(key, '(not there)')}\n  not    {wanted.get(key, '(not there)')}"
        for key in sorted({*found, *wanted})
        if found.get(key) != wanted.get(key)
    }


def kind_of(key: str, kinds: Iterable[str]) -> str:
    """Which kind a thing is of: it is in the schema of that name, or has a name with it."""
    schema, _, name = key.partition(": ")
    longest = sorted(kinds, key=len, reverse=True)
    for kind in longest:
        if schema == kind or schema.startswith((f"{kind}_", f"{kind} ")):
            return kind
    for kind in longest:
        if re.search(rf"(?<![a-z]){kind}(?![a-z])", name):
            return kind
    if "BLOB" in name or "LARGE OBJECT" in name:
        return "large_objects"
    if "EXTENSION" in name:
        return "extensions"
    if "CAST" in name:
        return "operators"
    # On what the server itself has, and by default.
    return schema if schema in ("database", "roles") else "rights"
