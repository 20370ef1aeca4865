CREATE TABLE base (id int PRIMARY KEY, s varchar(10), n numeric, at timestamptz DEFAULT '2020-01-01', tags text[]);
INSERT INTO base SELECT g, CASE g % 2 WHEN 0 THEN 'open' ELSE 'closed' END, g * 1.1, '2020-01-01', ARRAY['t' || g] FROM generate_series(1, 20) AS g;
CREATE VIEW filtered AS SELECT * FROM base WHERE s IN ('open', 'closed') AND s NOT IN ('x', 'y');
CREATE VIEW constant AS SELECT 'a' AS text, 1 AS one, NULL AS nothing, ARRAY['x', 'y'] AS list, 'b'::varchar IN ('b', 'c') AS known;
CREATE VIEW barrier WITH (security_barrier) AS SELECT id FROM base WHERE s = 'open';
CREATE VIEW invoker WITH (security_invoker = true) AS SELECT id FROM base;
CREATE VIEW checked AS SELECT id, s FROM base WHERE s IN ('open') WITH LOCAL CHECK OPTION;
CREATE VIEW checked_deep AS SELECT id, s FROM checked WHERE id < 10 WITH CASCADED CHECK OPTION;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 10;
CREATE VIEW tree AS WITH RECURSIVE up AS (
    SELECT id, s FROM base WHERE id = 1 UNION ALL SELECT b.id, b.s FROM base AS b JOIN up ON b.id = up.id + 1)
  SEARCH DEPTH FIRST BY id SET ordering CYCLE id SET is_cycle USING path SELECT id, s, is_cycle FROM up;
CREATE VIEW joined AS
  SELECT a.id, b.s, count(*) FILTER (WHERE a.s IN ('open', 'new')) OVER w AS c, rank() OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS r
  FROM base AS a LEFT JOIN base AS b USING (id) CROSS JOIN LATERAL unnest(a.tags) WITH ORDINALITY AS u (tag, o)
  WINDOW w AS (PARTITION BY a.s ORDER BY a.id DESC NULLS LAST);
CREATE VIEW grouped AS SELECT s, grouping(s) AS g, sum(n), string_agg(s, ',' ORDER BY id DESC), percentile_cont(0.5) WITHIN GROUP (ORDER BY n)
  FROM base GROUP BY GROUPING SETS ((s), ()) HAVING count(*) > 1 ORDER BY s NULLS FIRST LIMIT 5;
CREATE VIEW united AS (SELECT id FROM base WHERE s = 'open' EXCEPT SELECT 3) UNION (VALUES (1), (2)) ORDER BY 1 OFFSET 1;
CREATE VIEW odd_forms AS SELECT DISTINCT ON (s) s, id,
    CASE WHEN s IN ('open', 'closed') THEN 'known' ELSE 'unknown' END AS k,
    extract(year FROM at) AS y, at AT TIME ZONE 'UTC' AS utc, s::char(2) || '%' AS cut, (ROW(id, s)).f1 AS f, tags[1] AS first,
    EXISTS (SELECT FROM base AS x WHERE x.id > b.id) AS more, id = ANY (ARRAY(SELECT id FROM base)) AS any, s COLLATE "C" < 'm' AS c,
    n IS DISTINCT FROM 1 AS d, overlay(s PLACING 'x' FROM 1) AS o, trim(LEADING 'o' FROM s) AS t, s LIKE 'a\%' ESCAPE '\' AS l,
    current_setting('server_version_num') <> '' AS cs, interval '1 day' * id AS i, xmlelement(NAME x, s)::text AS xml
  FROM base AS b TABLESAMPLE system (100) ORDER BY s, id;
CREATE VIEW renamed (a, "B", "c d") AS SELECT id, s, n FROM base;
ALTER VIEW renamed ALTER COLUMN a SET DEFAULT 7;
CREATE VIEW upon_views AS SELECT * FROM filtered JOIN grouped USING (s);
-- A column that came later, and one that was renamed underneath.
CREATE VIEW star AS SELECT b.* FROM base AS b;
ALTER TABLE base RENAME COLUMN tags TO labels;
ALTER TABLE base ADD COLUMN late int;
-- A view that another one keeps from being made in the order of names.
CREATE VIEW a_first AS SELECT 1 AS n;
CREATE VIEW z_last AS SELECT n FROM a_first;
CREATE OR REPLACE VIEW a_first AS SELECT id AS n FROM base WHERE s::text = ANY (ARRAY['open', 'x']);
-- The key makes grouping by it enough, so that the view needs the constraint.
CREATE VIEW by_key AS SELECT id, s, n FROM base GROUP BY id;
CREATE TEMPORARY VIEW passing AS SELECT 1;
