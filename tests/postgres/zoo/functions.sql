CREATE TABLE rows (id int, s varchar(10));
INSERT INTO rows VALUES (1, 'open'), (2, 'closed');
CREATE FUNCTION plain(a int, b text DEFAULT 'x', VARIADIC c varchar[] DEFAULT ARRAY['y', 'z']::varchar[]) RETURNS text LANGUAGE sql STABLE STRICT
  PARALLEL SAFE LEAKPROOF COST 7 AS $body$SELECT 'SELECT pg_catalog.setval(''x'', 1);' || $1::text || $$ $other$ $$ $body$;
CREATE FUNCTION plain(a int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION atomic(a varchar) RETURNS bool LANGUAGE sql BEGIN ATOMIC
  SELECT a IN ('open', 'closed') AND EXISTS (SELECT FROM functions.rows AS r WHERE r.s NOT IN ('x', 'y') AND r.s = a);
END;
CREATE FUNCTION atomic_return(a int = 5, OUT b int) RETURN a + 1;
CREATE PROCEDURE atomic_procedure(a varchar) LANGUAGE sql BEGIN ATOMIC
  INSERT INTO functions.rows (id, s) VALUES (3, a);
  UPDATE functions.rows SET s = 'closed' WHERE s IN ('open', 'new') RETURNING id;
  DELETE FROM functions.rows WHERE id = 3;
END;
CREATE FUNCTION outs(IN a int, OUT b int, INOUT c text, OUT "d e" numeric) LANGUAGE plpgsql AS $$BEGIN b := a; "d e" := 1; END$$;
CREATE FUNCTION table_of(lowest int) RETURNS TABLE (id int, s varchar) LANGUAGE sql ROWS 50 AS 'SELECT id, s FROM functions.rows WHERE id >= lowest';
CREATE FUNCTION set_of() RETURNS SETOF functions.rows LANGUAGE sql STABLE AS 'SELECT * FROM functions.rows';
CREATE FUNCTION polymorphic(a anyelement, b anyarray, c anycompatible) RETURNS anyelement LANGUAGE sql AS 'SELECT a';
CREATE FUNCTION settings() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path TO functions, pg_temp SET work_mem = '8MB' SET datestyle TO 'ISO, DMY'
  SET statement_timeout FROM CURRENT AS 'SELECT current_setting(''work_mem'')';
CREATE FUNCTION newlines() RETURNS text LANGUAGE plpgsql AS $f$
DECLARE
  x text := E'--\n-- Name: newlines; Type: TABLE; Schema: public; Owner: -\n--';
BEGIN
  -- COPY x FROM stdin;
  RETURN x || '\.' || $$"quoted"$$;
END
$f$;
CREATE PROCEDURE with_commit(INOUT n int DEFAULT 1) LANGUAGE plpgsql AS $$BEGIN n := n + 1; COMMIT; END$$;
CREATE FUNCTION of_row(r functions.rows) RETURNS text LANGUAGE sql AS 'SELECT (r).s';
CREATE FUNCTION planner_support(int) RETURNS int LANGUAGE internal IMMUTABLE STRICT SUPPORT pg_catalog.array_unnest_support AS 'int4up';
CREATE FUNCTION windowing() RETURNS bigint LANGUAGE internal WINDOW IMMUTABLE STRICT AS 'window_row_number';
CREATE FUNCTION "Odd ""Name"" ;--"("A b" int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE VIEW uses AS SELECT functions.atomic('open') AS a, functions.plain(1, 'x', 'y') AS p, (functions.outs(1, 'c')).b AS b, functions.windowing() OVER () AS w;
COMMENT ON FUNCTION plain(int) IS 'plain';
COMMENT ON PROCEDURE with_commit(int) IS 'commits';
