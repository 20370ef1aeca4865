-- What the parser makes of IN lists on varchar is written another way after a dump and a restore.
CREATE TABLE varchars (
  s varchar(20) NOT NULL DEFAULT 'open' CHECK (s IN ('open', 'closed')),
  t varchar CONSTRAINT "t is known" CHECK (t NOT IN ('', 'x')),
  c char(3) CHECK (c IN ('abc', 'def')),
  n numeric(10, 2) CHECK (n > 0 AND n < 1000 OR n IS NULL),
  b text CHECK (b LIKE 'a%' AND b ~ '^[a-z]+$' AND b NOT SIMILAR TO '%[0-9]' AND lower(b) = b),
  v varchar(5)[] CHECK (v <@ ARRAY['a', 'b']::varchar[]),
  d date CHECK (d BETWEEN '2000-01-01' AND '2100-01-01'),
  i int CHECK (i IN (1, 2, 3)) CHECK (i = ANY ('{1,2,3}')),
  CHECK (CASE s WHEN 'open' THEN d IS NULL ELSE d IS NOT NULL END),
  CHECK (coalesce(t, s, 'none') <> 'nothing' AND num_nonnulls(s, t) > 0),
  CONSTRAINT parent_only CHECK (i > 0) NO INHERIT,
  CONSTRAINT always CHECK (s IN ('open', 'closed', '%', E'a\\b', 'it''s') IS NOT UNKNOWN)
);
INSERT INTO varchars (s, t, c, n, b, v, d, i) VALUES
  ('open', 'y', 'abc', 1.5, 'abc', '{a,b}', NULL, 1), ('closed', NULL, NULL, NULL, NULL, NULL, '2020-02-29', NULL);
ALTER TABLE varchars ADD CONSTRAINT late CHECK (t IN ('y', 'z')) NOT VALID;
CREATE DOMAIN state AS varchar(10) DEFAULT 'new' CHECK (VALUE IN ('new', 'old')) CHECK (VALUE <> '');
CREATE DOMAIN states AS state[] CHECK (array_length(VALUE, 1) < 10);
CREATE TABLE domains (one state, many states, CHECK (one IN ('new', 'old')), CHECK (one::varchar IN ('new', 'old', 'x')));
INSERT INTO domains VALUES ('new', '{new,old}'), (NULL, NULL);
CREATE TABLE parts (kind varchar(10), n int, CHECK (kind IN ('a', 'b', 'c'))) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts (CHECK (kind IN ('a', 'never'))) FOR VALUES IN ('a');
CREATE TABLE parts_bc PARTITION OF parts FOR VALUES IN ('b', 'c');
ALTER TABLE parts_bc ADD CONSTRAINT own CHECK (kind IN ('b', 'c') AND n IN (1, 2));
INSERT INTO parts VALUES ('a', 7), ('b', 1), ('c', 2);
CREATE FUNCTION good(varchar) RETURNS bool LANGUAGE sql IMMUTABLE AS $$SELECT $1 IN ('a', 'b')$$;
CREATE TABLE by_function (a varchar CHECK (checks.good(a)));
INSERT INTO by_function VALUES ('a');
