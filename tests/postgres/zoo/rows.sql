CREATE TABLE texts (id int PRIMARY KEY, t text);
INSERT INTO texts VALUES (1, NULL), (2, ''), (3, '\.'), (4, E'a\n\\.\nb'), (5, 'COPY x FROM stdin;'), (6, 'SELECT pg_catalog.setval(''x'', 1);'), (7, '\N'), (8, 'NULL'),
  (9, E'tab\t nl\n cr\r bs\b ff\f vt\v'), (10, '\\'), (11, E'\u0001\u007f\u00a0\ufeff'), (12, '🦓ünï'), (13, repeat('long ', 200000)), (14, ' lead and trail '), (15, '"'), (16, '--'),
  (17, E'\\connect x\n\\! echo x'), (18, E'--\n-- Name: x; Type: TABLE; Schema: y; Owner: z\n--'), (19, '\unrestrict x'), (20, E'\r\n'), (21, '$$'), (22, '%s'), (23, E'\U0010FFFF'), (24, 'a' || chr(769));
CREATE TABLE numbers (n numeric, f float8, r float4, i bigint, s smallint, m money, p numeric(1000, 500));
INSERT INTO numbers VALUES ('NaN', 'NaN', 'NaN', 9223372036854775807, -32768, '-1.5', 1e-400), ('Infinity', '-Infinity', 'Infinity', -9223372036854775808, 32767, 0, 1e400), (1e1000, 1.7976931348623157e308, 1e-45, 0, 0, NULL, 0),
  (0.1 + 0.2, 0.1::float8 + 0.2, 1.1, NULL, NULL, NULL, NULL), (-0.000, '-0', '-0', 1, 1, '1000000', 1), (1.500, 5e-324, 3.4e38, 2, 2, 2, 2);
CREATE TABLE times (d date, t timestamp, tz timestamptz, i interval, tt time, ttz timetz);
INSERT INTO times VALUES ('4713-01-01 BC', '0001-01-01 00:00:00 BC', '4713-01-01 BC', '-178000000 years', '24:00', '23:59:59.999999-15:59'), ('infinity', '-infinity', 'infinity', '1 mon -1 day 00:00:00.000001', '00:00', '00:00+15:59'),
  ('5874897-12-31', '294276-12-31 23:59:59.999999', '2020-03-29 02:30+01', '0', '12:00:00.5', '12:00Z'), (NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE bytes (b bytea, bits bit(5), more varbit);
INSERT INTO bytes VALUES ('', '10101', ''), ('\x005c2e0aff', '00000', '1'), (decode(repeat('00', 100000), 'hex'), NULL, NULL);
CREATE TABLE lists (a int[], b text[], c int[], d text[][], e timestamptz[], f varchar(3)[]);
INSERT INTO lists VALUES ('{}', '{NULL,"NULL","","\\","\"",",","{}"}', '[-2:0]={1,2,3}', '{{a,b},{c,d}}', '{infinity}', '{a,b}'), (NULL, NULL, '{{{1}}}', '[5:5][2:3]={{x,y}}', NULL, NULL);
CREATE TABLE documents (j json, b jsonb, x xml, p jsonpath);
INSERT INTO documents VALUES ('{"a" : 1, "a":2,  "\u0000x": null}', '{"a": 1e400, "b": "\\u0001", "c": [{}]}', '<a b="c">&amp;<!-- x --></a>', '$.a[*] ? (@ > 1)'), ('null', 'null', '', 'strict $'), (NULL, NULL, NULL, NULL);
CREATE TABLE geometry (p point, l line, s lseg, b box, pa path, po polygon, c circle);
INSERT INTO geometry VALUES ('(NaN,Infinity)', '{1,2,3}', '[(0,0),(1,1)]', '(1,1),(0,0)', '((0,0),(1,1))', '((0,0),(1,0),(1,1))', '<(0,0),5>'), (NULL, NULL, NULL, NULL, '[(0,0)]', NULL, NULL);
CREATE TABLE network (i inet, c cidr, m macaddr, m8 macaddr8);
INSERT INTO network VALUES ('::1', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'), ('192.168.0.1/24', '::/0', NULL, NULL);
CREATE TABLE spans (i int4range, n numrange, d daterange, t tstzrange, m int4multirange);
INSERT INTO spans VALUES ('empty', '(,)', '[2020-01-01,infinity)', '(-infinity,infinity]', '{}'), ('[1,1]', '(1.5,2.5]', '[,2020-01-01)', NULL, '{[1,2),[5,7)}');
CREATE TABLE system (o oid, n name, x xid8, l pg_lsn, t tid, s txid_snapshot, c "char", r regclass, v tsvector, q tsquery, u uuid);
INSERT INTO system VALUES (4294967295, 'name', '18446744073709551615', 'FFFFFFFF/FFFFFFFF', '(1,2)', '10:20:10,14', 'c', 'rows.texts', 'a:1A b:2,3', 'a & !b:*', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), (0, '', '0', '0/0', '(0,0)', NULL, '\200', NULL, '''it''''s''', '''a b''', NULL);
CREATE TABLE same (n int, t text);
INSERT INTO same VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (NULL, NULL);
CREATE TABLE empty (n int);
CREATE TABLE many (n int PRIMARY KEY, s varchar(10) CHECK (s IN ('open', 'closed')));
INSERT INTO many SELECT n, CASE n % 2 WHEN 0 THEN 'open' ELSE 'closed' END FROM generate_series(1, 20000) AS n;
DELETE FROM many WHERE n % 3 = 0;
UPDATE many SET s = 'open' WHERE n % 5 = 0;
