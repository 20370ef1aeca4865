-- since PostgreSQL 16
CREATE COLLATION by_rules (PROVIDER = icu, LOCALE = 'und', RULES = '& V << w <<< W');
CREATE TABLE columns (id int, a text STORAGE EXTERNAL COMPRESSION pglz, b varchar(9) CHECK (b IN ('a', 'b')));
INSERT INTO columns VALUES (1, 'x', 'a');
CREATE VIEW documents AS SELECT JSON_OBJECT('a': b, 'b': id NULL ON NULL RETURNING jsonb) AS o, JSON_ARRAY(a, b) AS l, a IS JSON OBJECT WITH UNIQUE KEYS AS j,
  JSON_ARRAYAGG(b ORDER BY id) AS g, any_value(a) AS v FROM columns WHERE b IN ('a', 'b') GROUP BY a, b, id;
CREATE VIEW numbers AS SELECT 0x1F AS hex, 1_000 AS thousand, SYSTEM_USER AS who;
ALTER VIEW numbers SET (security_invoker = on);
