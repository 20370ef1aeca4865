-- A line for everything in a database that has a value: tables, sequences, large objects. In any order of rows.
\set ON_ERROR_STOP 1
\pset format unaligned
\pset tuples_only on
SET search_path TO pg_catalog;
SET timezone TO 'UTC';
SELECT format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)::numeric) FROM %s t', oid::regclass, oid::regclass)
FROM pg_class c WHERE relkind IN ('r', 'm') AND relpersistence <> 't'
  AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
ORDER BY oid::regclass::text \gexec
SELECT format('SELECT %L, last_value, is_called FROM %s', oid::regclass, oid::regclass)
FROM pg_class WHERE relkind = 'S' ORDER BY oid::regclass::text \gexec
SELECT 'large object', oid, pg_get_userbyid(lomowner), lomacl, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid;
