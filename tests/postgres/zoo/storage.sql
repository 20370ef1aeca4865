CREATE TABLE columns (id int, a text, b text, c bytea, d text, e varchar(100));
ALTER TABLE columns ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE MAIN, ALTER c SET STORAGE PLAIN, ALTER d SET COMPRESSION pglz,
  ALTER e SET STATISTICS 1000, ALTER e SET (n_distinct = 5);
INSERT INTO columns SELECT n, repeat('x', 3000), repeat('y', 3000), '\x00', repeat('z', 9000), 'e' FROM generate_series(1, 5) AS n;
CREATE TABLE options (id int, t text) WITH (fillfactor = 70, autovacuum_enabled = false, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_enabled = false,
  toast_tuple_target = 1024, parallel_workers = 2, vacuum_index_cleanup = auto, log_autovacuum_min_duration = 100, user_catalog_table = false);
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, s varchar CHECK (s IN ('a', 'b')));
INSERT INTO unlogged VALUES (1, 'a');
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE full_identity (id int);
ALTER TABLE full_identity REPLICA IDENTITY FULL;
CREATE TABLE no_identity (id int PRIMARY KEY);
ALTER TABLE no_identity REPLICA IDENTITY NOTHING;
CREATE TABLE index_identity (id int NOT NULL);
CREATE UNIQUE INDEX identity_index ON index_identity (id);
ALTER TABLE index_identity REPLICA IDENTITY USING INDEX identity_index;
CREATE TABLE dropped_columns (a int, b int, c int, d varchar CHECK (d IN ('x', 'y')));
INSERT INTO dropped_columns VALUES (1, 2, 3, 'x');
ALTER TABLE dropped_columns DROP COLUMN a, DROP COLUMN c;
ALTER TABLE dropped_columns ALTER COLUMN b TYPE bigint USING b * 2;
CREATE TABLE all_dropped (a int);
INSERT INTO all_dropped VALUES (1);
ALTER TABLE all_dropped DROP COLUMN a;
