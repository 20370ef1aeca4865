# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in a database: its objects by name, its rows, and a fingerprint of how its schema is written down.

PostgreSQL writes a schema down in other words after a dump and a restore: ``s IN ('open')`` on a varchar, for one, gets
its casts in another place. So the fingerprint compares a database with itself alone, and what proves a restore are the
names of all objects, which survive, the rows, and a comparison of definitions that made the same trip (see archive).
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.logins import PostgresSession, Refused

# An object that went away while it was looked at: older servers say so by an internal error.
_GONE = "XX000"
_ATTEMPTS = 5

# What a server makes by itself has smaller numbers than 16384.
_RELATIONS = """
WITH relations AS (
  SELECT c.*, c.xmin AS version, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relpersistence <> 't' AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
)"""

# Every kind of object that has a name which a dump preserves. Left out: what belongs to an extension or comes with
# something else (types of tables and of arrays, parts of a partitioned table's foreign key, the rules of views).
_OBJECTS = "".join(
    (
        _RELATIONS,
        """,
  listed AS (
    SELECT 'pg_class'::regclass AS class, oid, version FROM relations
      WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c', 'i', 'I')
    UNION ALL SELECT 'pg_constraint'::regclass, oid, xmin FROM pg_constraint WHERE contype <> 'n'
      AND (contypid <> 0 OR conrelid IN (SELECT oid FROM relations)) AND NOT (contype = 'f' AND conparentid <> 0)
    UNION ALL SELECT 'pg_trigger'::regclass, oid, xmin FROM pg_trigger
      WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT 'pg_policy'::regclass, oid, xmin FROM pg_policy WHERE polrelid IN (SELECT oid FROM relations)
    UNION ALL SELECT 'pg_rewrite'::regclass, oid, xmin FROM pg_rewrite
      WHERE rulename <> '_RETURN' AND ev_class IN (SELECT oid FROM relations)
    UNION ALL SELECT 'pg_type'::regclass, t.oid, t.xmin FROM pg_type t WHERE typtype IN ('b', 'd', 'e', 'r')
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
    UNION ALL SELECT 'pg_namespace'::regclass, oid, xmin FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT 'pg_proc'::regclass, oid, xmin FROM pg_proc
    UNION ALL SELECT 'pg_operator'::regclass, oid, xmin FROM pg_operator WHERE oprcode <> 0
    UNION ALL SELECT 'pg_opclass'::regclass, oid, xmin FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, xmin FROM pg_opfamily
    UNION ALL SELECT 'pg_am'::regclass, oid, xmin FROM pg_am
    UNION ALL SELECT 'pg_cast'::regclass, oid, xmin FROM pg_cast
    UNION ALL SELECT 'pg_collation'::regclass, oid, xmin FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, xmin FROM pg_conversion
    UNION ALL SELECT 'pg_language'::regclass, oid, xmin FROM pg_language
    UNION ALL SELECT 'pg_transform'::regclass, oid, xmin FROM pg_transform
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, xmin FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, xmin FROM pg_ts_dict
    UNION ALL SELECT 'pg_ts_parser'::regclass, oid, xmin FROM pg_ts_parser
    UNION ALL SELECT 'pg_ts_template'::regclass, oid, xmin FROM pg_ts_template
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, xmin FROM pg_statistic_ext
    UNION ALL SELECT 'pg_publication'::regclass, oid, xmin FROM pg_publication
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid, xmin FROM pg_event_trigger
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, xmin FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid, xmin FROM pg_foreign_server
    UNION ALL SELECT 'pg_extension'::regclass, oid, xmin FROM pg_extension
    UNION ALL SELECT 'pg_default_acl'::regclass, oid, xmin FROM pg_default_acl
  )
SELECT type || ' ' || identity, concat_ws('.', listed.oid, version)
FROM listed, pg_identify_object(class, listed.oid, 0)
WHERE listed.oid >= 16384 AND identity IS NOT NULL AND coalesce(schema, '') !~ '^pg_(toast|temp)'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = listed.oid AND deptype = 'e')
UNION ALL SELECT format('column %I.%I.%I %s', nspname, relname, attname, format_type(atttypid, atttypmod)),
    concat_ws('.', attrelid, attnum, a.xmin)
  FROM relations r JOIN pg_attribute a ON attrelid = r.oid
  WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v', 'm', 'f', 'c')""",
    )
)

# How everything is written down, one line for each thing. Numbers of objects are in none of them, as a copy has others.
_SCHEMA = "".join(
    (
        _RELATIONS,
        """
SELECT format('user mapping for %s on server %I', quote_ident(usename), srvname) FROM pg_user_mappings
UNION ALL SELECT format('relation %s %s %s %s %s %s %s %s %s', i.identity, relkind, relpersistence,
    relreplident, relrowsecurity, relforcerowsecurity, reloptions, pg_get_expr(relpartbound, r.oid),
    pg_get_partkeydef(r.oid))
  FROM relations r, pg_identify_object('pg_class'::regclass, r.oid, 0) i
  WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
UNION ALL SELECT format('inherits %s %s %s', inhrelid::regclass, inhseqno, inhparent::regclass) FROM pg_inherits
UNION ALL SELECT format('attribute %I.%I.%I %s %s %s %s %s %s %s %s', nspname, relname, attname, attnum,
    attnotnull, attidentity, attstorage, attcompression, attoptions, nullif(attstattarget, -1),
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
SELECT format('%I.%I', nspname, relname), nspname || '.' || relname FROM relations WHERE relkind = 'r' ORDER BY 1""",
    )
)

_SEQUENCES = "".join(
    (
        _RELATIONS,
        """
SELECT format('%I.%I', nspname, relname) FROM relations WHERE relkind = 'S' ORDER BY 1""",
    )
)


class Contents(NamedTuple):
    """What is in a database.

    objects: each by its kind and name, and which version of it that is. counts: table → rows. sequences: sequence → its
    last value, and whether that was given away. large_objects: how many. All are called as PostgreSQL quotes them.
    plain: the tables without quotes, as manifests of the first format call them.
    """

    objects: Dict[str, str]
    counts: Dict[str, int]
    sequences: Dict[str, Tuple[int, bool]]
    large_objects: int
    plain: Dict[str, str]

    def differences(self, manifest: Mapping[str, Any]) -> List[str]:
        """What is not as a manifest says, a sentence for each; all of it proves that a restore is not complete."""
        counts, large = self.counts, int(manifest["large_objects"])
        found = []
        if "objects" in manifest:
            found += few("the %s is missing" % name for name in manifest["objects"] if name not in self.objects)
            sequences = {name: (int(value), bool(called)) for name, (value, called) in manifest["sequences"].items()}
            found += few(
                "the sequence %s is at %s instead of %s" % (name, _value(self.sequences.get(name)), _value(value))
                for name, value in sorted(sequences.items())
                if self.sequences.get(name) != value
            )
        else:
            counts = {self.plain[name]: rows for name, rows in counts.items()}
            # Their values are older than the dump: nothing follows from them, a cycling one may have begun anew.
            known = {name.replace('"', "") for name in self.sequences}
            missing = (name for name in sorted(manifest["sequences"]) if name.replace('"', "") not in known)
            found += few("the sequence %s is not there" % name for name in missing)
        wanted: Dict[str, int] = manifest["counts"]
        found += few(
            "%s has %s rows instead of %s" % (name, counts.get(name, "no"), wanted.get(name, "none at all"))
            for name in sorted({*wanted, *counts})
            if wanted.get(name) != counts.get(name)
        )
        if self.large_objects != large:
            found.append("%d large objects instead of %d" % (self.large_objects, large))
        return found


def few(sentences: Iterable[str], most: int = 3) -> List[str]:
    """The first of many sentences, and how many more there are."""
    every = list(sentences)
    return every[:most] + (["%d more like that" % (len(every) - most)] if len(every) > most else [])


def _value(known: Any) -> str:
    return "nothing" if known is None else "%d%s" % (known[0], "" if known[1] else " (not used yet)")


def inventory(before: Mapping[str, str], after: Mapping[str, str]) -> List[str]:
    """The objects that a dump has to have, by a look at the database before it and one after it.

    Those that were the same ones both times. What somebody makes, changes or removes meanwhile may be in it or not.
    """
    return sorted(name for name, version in before.items() if after.get(name) == version)


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
    names = ", ".join(name or "" for name, _plain in session.query(_TABLES))
    if names:
        session.query("ANALYZE " + names)


def objects(session: PostgresSession) -> Dict[str, str]:
    """Every object in the database of a session, by its kind and name, and what changes when the object does."""
    return {name or "": version or "" for name, version in _ask(session, _OBJECTS)}


def schema(session: PostgresSession) -> str:
    """A fingerprint of the schema in the database of a session, as this server writes it down now."""
    lines = [*objects(session), *(row[0] or "" for row in _ask(session, _SCHEMA))]
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8")).hexdigest()


def contents(session: PostgresSession, manifest: Mapping[str, Any]) -> Contents:
    """Look at everything in the database of a session, to be compared with a *manifest*."""
    # The first format counts the rows of tables that inherit as their parent's, too.
    only = "ONLY " if "objects" in manifest else ""
    found = Contents(objects(session), {}, {}, 0, {})
    for name, plain in session.query(_TABLES):
        # Interpolated are names quoted for SQL.
        ((rows,),) = session.query("SELECT count(*) FROM %s%s" % (only, name))  # noqa: S608
        found.counts[name or ""] = int(rows or 0)
        found.plain[name or ""] = plain or ""
    for (name,) in session.query(_SEQUENCES):
        ((value, called),) = session.query("SELECT last_value, is_called FROM %s" % name)  # noqa: S608
        found.sequences[name or ""] = int(value or 0), called == "t"
    large = session.query("SELECT count(*) FROM pg_largeobject_metadata")[0][0]
    return found._replace(large_objects=int(large or 0))
