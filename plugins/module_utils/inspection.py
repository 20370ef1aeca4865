# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a database: its rows, and a fingerprint of how its schema is written down.

PostgreSQL writes a schema down in other words after a dump and a restore: ``s IN ('open')`` on a varchar, for one, gets
its casts in another place. So the fingerprint compares a database with itself alone, and what proves a restore are the
rows, and a comparison of definitions that made the same trip (see archive).
"""

from __future__ import annotations

import hashlib
import re
from types import MappingProxyType
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession, Refused

# An object that went away while it was looked at: older servers say so by an internal error.
_GONE = "XX000"
_ATTEMPTS = 5

# What a server makes by itself has smaller numbers than 16384.
_RELATIONS = """
WITH relations AS (
  SELECT c.*, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
)"""

# How everything is written down, one line for each thing. Numbers of objects are in none of them, as a copy has others.
_SCHEMA = "".join(
    (
        _RELATIONS,
        """
SELECT format('%s %s', i.type, i.identity) FROM (
    SELECT 'pg_namespace'::regclass, oid FROM pg_namespace
    UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type
    UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
    UNION ALL SELECT 'pg_am'::regclass, oid FROM pg_am
    UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
    UNION ALL SELECT 'pg_collation'::regclass, oid FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
    UNION ALL SELECT 'pg_language'::regclass, oid FROM pg_language
    UNION ALL SELECT 'pg_transform'::regclass, oid FROM pg_transform
    UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_parser'::regclass, oid FROM pg_ts_parser
    UNION ALL SELECT 'pg_ts_template'::regclass, oid FROM pg_ts_template
    UNION ALL SELECT 'pg_publication'::regclass, oid FROM pg_publication
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid FROM pg_foreign_server
  ) AS named(class, oid), pg_identify_object(class, named.oid, 0) i
  WHERE named.oid >= 16384 AND coalesce(i.schema, '') !~ '^pg_(toast|temp)'
UNION ALL SELECT format('user mapping for %s on server %I', quote_ident(usename), srvname) FROM pg_user_mappings
UNION ALL SELECT format('relation %s %s %s %s %s %s %s %s %s', i.identity, relkind, relpersistence,
    relreplident, relrowsecurity, relforcerowsecurity, reloptions, pg_get_expr(relpartbound, r.oid),
    pg_get_partkeydef(r.oid))
  FROM relations r, pg_identify_object('pg_class'::regclass, r.oid, 0) i
  WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL SELECT format('inherits %s %s %s', inhrelid::regclass, inhseqno, inhparent::regclass) FROM pg_inherits
UNION ALL SELECT format('attribute %I.%I.%I %s %s %s %s %s %s %s %s %s', nspname, relname, attname, attnum,
    format_type(atttypid, atttypmod), attnotnull, attidentity, attstorage,
    to_jsonb(a) ->> 'attcompression', attoptions, nullif(attstattarget, -1),
    pg_get_expr(adbin, adrelid))
  FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
  LEFT JOIN pg_attrdef ON adrelid = r.oid AND adnum = attnum
  WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
UNION ALL SELECT format('constraint %s %s %s %s', conrelid::regclass, contypid::regtype, conname,
    pg_get_constraintdef(oid)) FROM pg_constraint WHERE oid >= 16384
UNION ALL SELECT format('index %s %s %s %s', pg_get_indexdef(indexrelid), indisreplident, indisclustered,
    indisvalid)
  FROM pg_index JOIN relations r ON r.oid = indexrelid
UNION ALL SELECT format('view %I.%I %s', nspname, relname, pg_get_viewdef(oid)) FROM relations
  WHERE relkind IN ('v', 'm')
UNION ALL SELECT 'rule ' || pg_get_ruledef(w.oid) FROM pg_rewrite w JOIN relations r ON r.oid = ev_class
  WHERE rulename <> '_RETURN'
UNION ALL SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE oid >= 16384 AND prokind <> 'a'
UNION ALL SELECT format('aggregate %s %s', aggfnoid, to_jsonb(g) - 'aggfnoid') FROM pg_aggregate g
  WHERE aggfnoid::oid >= 16384
UNION ALL SELECT format('trigger %s %s', pg_get_triggerdef(t.oid), tgenabled) FROM pg_trigger t
  JOIN relations r ON r.oid = tgrelid WHERE NOT tgisinternal
UNION ALL SELECT format('policy %s %s %s %s %s %s %s', polrelid::regclass, polname, polcmd, polpermissive,
    array(SELECT CASE one WHEN 0 THEN 'public' ELSE pg_get_userbyid(one) END FROM unnest(polroles) one ORDER BY 1),
    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
UNION ALL SELECT format('enum %s %s', enumtypid::regtype, string_agg(enumlabel, ',' ORDER BY enumsortorder))
  FROM pg_enum GROUP BY enumtypid
UNION ALL SELECT format('type %s %s %s %s', oid::regtype, typnotnull, typdefault, typbasetype::regtype)
  FROM pg_type WHERE oid >= 16384 AND typtype = 'd'
UNION ALL SELECT format('sequence %s %s', seqrelid::regclass, to_jsonb(s) - 'seqrelid') FROM pg_sequence s
UNION ALL SELECT 'statistics ' || pg_get_statisticsobjdef(oid) FROM pg_statistic_ext
UNION ALL SELECT format('event trigger %s %s %s %s %s', evtname, evtevent, evtfoid::regproc, evtenabled, evttags)
  FROM pg_event_trigger
UNION ALL SELECT format('extension %s %s', extname, extversion) FROM pg_extension
UNION ALL SELECT format('owner %s %s %s', s.classid::regclass, i.identity, pg_get_userbyid(s.refobjid))
  FROM pg_shdepend s, pg_identify_object(s.classid, s.objid, s.objsubid) i
  WHERE s.deptype = 'o' AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT format('comment %s %s %s', i.type, i.identity, description)
  FROM pg_description, pg_identify_object(classoid, objoid, objsubid) i WHERE objoid >= 16384
UNION ALL SELECT format('rights %s %s', identity, acl) FROM (
    SELECT format('%I.%I', nspname, relname), relacl FROM relations
    UNION ALL SELECT format('%I.%I.%I', nspname, relname, attname), attacl
      FROM relations r JOIN pg_attribute ON attrelid = r.oid AND NOT attisdropped
    UNION ALL SELECT nspname::text, nspacl FROM pg_namespace
    UNION ALL SELECT oid::regprocedure::text, proacl FROM pg_proc WHERE oid >= 16384
    UNION ALL SELECT oid::regtype::text, typacl FROM pg_type WHERE oid >= 16384
    UNION ALL SELECT format('%s %s %s', pg_get_userbyid(defaclrole), defaclnamespace::regnamespace, defaclobjtype),
      defaclacl FROM pg_default_acl
  ) AS every(identity, acl) WHERE acl IS NOT NULL""",
    )
)

_TABLES = "".join(
    (
        _RELATIONS,
        """
SELECT nspname, relname, format('%I.%I', nspname, relname), relkind FROM relations
WHERE relkind IN ('r', 'p', 'S') ORDER BY 1, 2""",
    )
)

# Whose rows a dump may put at the root: partition and root.
_PARTITIONS = """
SELECT pn.nspname, p.relname, rn.nspname, r.relname
FROM pg_class p JOIN pg_namespace pn ON pn.oid = p.relnamespace
  JOIN pg_class r ON r.oid = pg_partition_root(p.oid) JOIN pg_namespace rn ON rn.oid = r.relnamespace
WHERE p.relispartition AND p.relkind = 'r'"""

_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')

#: Schema and name.
Name = Tuple[str, str]


def parts(name: str) -> Name:
    """The schema and the name of what some server has quoted; each version quotes other words."""
    schema, own = (quoted.replace('""', '"') or plain for quoted, plain in _PART.findall(name))
    return schema, own


class Contents(NamedTuple):
    """What is in a database.

    counts: table → rows, without those of its children. sequences: sequence → its last value, and whether that was
    given away. roots: partitioned table → rows of all its partitions. partitions: partition → its root. large_objects:
    how many. What belongs to an extension is left out: making the extension brings rows of its own.
    """

    counts: Dict[Name, int]
    sequences: Dict[Name, Tuple[int, bool]]
    large_objects: int
    roots: Mapping[Name, int] = MappingProxyType({})
    partitions: Mapping[Name, Name] = MappingProxyType({})

    def differences(self, manifest: Mapping[str, Any]) -> List[str]:
        """What is not as a manifest says, a sentence for each; all of it proves that a restore is not complete.

        That a table is not there at all is found by its definition.
        """
        first = is_first(manifest)
        found = self._of_first(manifest) if first else self._of_counts(manifest)
        if not first:
            known = manifest["sequences"].items()
            wanted = {parts(name): (int(value), bool(called)) for name, (value, called) in known}
            found += few(
                "the sequence %s is at %s instead of %s" % (".".join(name), _value(value), _value(wanted[name]))
                for name, value in sorted(self.sequences.items())
                if value != wanted.get(name, value)
            )
        large = int(manifest["large_objects"])
        if self.large_objects != large:
            found.append("%d large objects instead of %d" % (self.large_objects, large))
        return found

    def _of_counts(self, manifest: Mapping[str, Any]) -> List[str]:
        wanted = {parts(name): int(rows) for name, rows in manifest["counts"].items()}
        # Rows may come to another partition than the one they were in: where the dump has them at the root, all of
        # them together are compared.
        together = {root for root in self.roots if root in wanted}
        wanted = {name: rows for name, rows in wanted.items() if self.partitions.get(name) not in together}
        present = {name: rows for name, rows in self.counts.items() if self.partitions.get(name) not in together}
        present.update((root, self.roots[root]) for root in together)
        return few(
            "%s has %d rows instead of %s" % (".".join(name), rows, wanted.get(name, "none at all"))
            for name, rows in sorted(present.items())
            if rows != wanted.get(name, 0)
        )

    def _of_first(self, manifest: Mapping[str, Any]) -> List[str]:
        """The same for the first format: names without quotes, and sequences as they were before the dump.

        Nothing follows from the values of those: a cycling one may have begun anew.
        """
        wanted: Dict[str, int] = manifest["counts"]
        return few(
            "%s has %d rows instead of %s" % (".".join(name), rows, wanted.get(".".join(name), "none at all"))
            for name, rows in sorted(self.counts.items())
            if rows != wanted.get(".".join(name), 0)
        )


def is_first(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest has the first format, with a fingerprint that no restore has again."""
    return int(manifest["format"]) < 2


def few(sentences: Iterable[str], most: int = 3) -> List[str]:
    """The first of many sentences, and how many more there are."""
    every = list(sentences)
    return every[:most] + (["%d more like that" % (len(every) - most)] if len(every) > most else [])


def _value(known: Tuple[int, bool]) -> str:
    return "%d%s" % (known[0], "" if known[1] else " (not used yet)")


def _ask(session: PostgresSession, query: str) -> List[List[Optional[str]]]:
    """The answers to a question. It is asked again when something goes away while it is answered."""
    # So that every name is told with its schema.
    session.query("SET search_path TO pg_catalog")
    for left in reversed(range(_ATTEMPTS)):
        try:
            return session.query(query)
        except Refused as exc:
            if exc.code != _GONE or not left:
                raise
    return []


def analyze(session: PostgresSession) -> None:
    """Give the planner what it has to know of the rows in the database of a session.

    Without foreign tables: to look at those somebody elsewhere would have to be asked.
    """
    names = [quoted or "" for _schema, _name, quoted, kind in session.query(_TABLES) if kind == "r"]
    if names:
        session.query("ANALYZE " + ", ".join(names))


def schema(session: PostgresSession) -> str:
    """A fingerprint of the schema in the database of a session, as this server writes it down now."""
    lines = sorted(row[0] or "" for row in _ask(session, _SCHEMA))
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


def contents(session: PostgresSession, manifest: Mapping[str, Any]) -> Contents:
    """Look at everything in the database of a session, to be compared with a *manifest*."""
    # The first format counts the rows of tables that inherit as their parent's, too.
    only = "" if is_first(manifest) else "ONLY "
    listed = set() if is_first(manifest) else {parts(name) for name in manifest["counts"]}
    counts: Dict[Name, int] = {}
    roots: Dict[Name, int] = {}
    sequences: Dict[Name, Tuple[int, bool]] = {}
    for place, own, quoted, kind in session.query(_TABLES):
        name = place or "", own or ""
        # Interpolated are names quoted for SQL.
        if kind == "S":
            ((value, called),) = session.query("SELECT last_value, is_called FROM %s" % quoted)  # noqa: S608
            sequences[name] = int(value or 0), called == "t"
        elif kind == "r":
            counts[name] = _count(session, only + (quoted or ""))
        elif name in listed:
            roots[name] = _count(session, quoted or "")
    partitions = {(a or "", b or ""): (c or "", d or "") for a, b, c, d in session.query(_PARTITIONS)}
    large = session.query("SELECT count(*) FROM pg_largeobject_metadata")[0][0]
    return Contents(counts, sequences, int(large or 0), roots, partitions)


def _count(session: PostgresSession, table: str) -> int:
    return int(session.query("SELECT count(*) FROM %s" % table)[0][0] or 0)  # noqa: S608
