CREATE TABLE things (id int, s varchar(10), t text, ts tsvector, p point, b box, a int[], r int4range, i inet, j jsonb, at timestamptz);
INSERT INTO things
SELECT n, 's' || n, 't' || n % 7, to_tsvector('simple', 'word' || n), point(n, n), box(point(n, n), point(n + 1, n + 1)), ARRAY[n, n + 1],
  int4range(n, n + 5), ('10.0.0.' || n)::inet, jsonb_build_object('n', n), timestamptz 'epoch' + n * interval '1 hour'
FROM generate_series(1, 50) AS n;
CREATE INDEX ON things USING btree (id DESC NULLS LAST, t COLLATE "C" text_pattern_ops);
CREATE INDEX by_hash ON things USING hash (t);
CREATE INDEX by_gin ON things USING gin (ts) WITH (fastupdate = off, gin_pending_list_limit = 64);
CREATE INDEX by_gin_path ON things USING gin (j jsonb_path_ops);
CREATE INDEX by_gin_array ON things USING gin (a);
CREATE INDEX by_gist ON things USING gist (p, b) WITH (fillfactor = 70);
CREATE INDEX by_gist_range ON things USING gist (r range_ops) INCLUDE (id);
CREATE INDEX by_gist_siglen ON things USING gist (ts tsvector_ops (siglen = 100));
CREATE INDEX by_spgist ON things USING spgist (p kd_point_ops);
CREATE INDEX by_spgist_inet ON things USING spgist (i inet_ops);
CREATE INDEX by_brin ON things USING brin (at timestamptz_minmax_multi_ops (values_per_range = 16)) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX by_bloom ON things USING brin (id int4_bloom_ops);
CREATE UNIQUE INDEX partial ON things (id) WHERE s IN ('s1', 's2') AND t IS NOT NULL;
CREATE INDEX partial_other ON things (lower(t)) WHERE s NOT IN ('x', 'y') OR s LIKE 's%';
CREATE INDEX expressions ON things ((lower(s) || t), (coalesce(s, t, '')), (CASE WHEN s IN ('s1') THEN 1 ELSE 2 END), (id % 2) DESC);
CREATE INDEX expressions_included ON things ((j ->> 'n')) INCLUDE (id, t);
CREATE UNIQUE INDEX nulls_are_one ON things (id, s) NULLS NOT DISTINCT;
CREATE INDEX with_options ON things (t) WITH (fillfactor = 50, deduplicate_items = off);
CREATE INDEX statistics_of_expression ON things ((id + 1), (id + 2));
ALTER INDEX statistics_of_expression ALTER COLUMN 2 SET STATISTICS 500;
ALTER TABLE things CLUSTER ON by_gist;
CREATE TABLE parent (id int, s varchar) PARTITION BY RANGE (id);
CREATE TABLE child PARTITION OF parent FOR VALUES FROM (0) TO (100);
CREATE INDEX ON ONLY parent (s) WHERE s IN ('a', 'b');
CREATE INDEX other ON parent (id) WHERE s IN ('c');
INSERT INTO parent SELECT n, 'a' FROM generate_series(1, 20) AS n;
