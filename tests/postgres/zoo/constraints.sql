CREATE TABLE parent (
  id int, PRIMARY KEY (id) INCLUDE (name) WITH (fillfactor = 80),
  name text CONSTRAINT "unique name" UNIQUE NULLS NOT DISTINCT,
  a int, b varchar(5) CHECK (b IN ('x', 'y')),
  UNIQUE (a, b), UNIQUE (a) INCLUDE (name) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO parent SELECT n, 'name' || n, n, 'x' FROM generate_series(1, 9) AS n;
CREATE TABLE child (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  cascades int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,
  restricts int REFERENCES parent ON DELETE RESTRICT ON UPDATE RESTRICT,
  nulls int REFERENCES parent ON DELETE SET NULL ON UPDATE SET DEFAULT,
  later int REFERENCES parent DEFERRABLE INITIALLY DEFERRED,
  perhaps int REFERENCES parent DEFERRABLE,
  a int DEFAULT 1, b varchar(5) DEFAULT 'x',
  FOREIGN KEY (a, b) REFERENCES parent (a, b) MATCH FULL ON DELETE SET DEFAULT,
  CONSTRAINT some_columns FOREIGN KEY (a, b) REFERENCES parent (a, b) ON DELETE SET NULL (b),
  CONSTRAINT itself FOREIGN KEY (perhaps) REFERENCES child (id)
);
INSERT INTO child (cascades, restricts, nulls, later) SELECT n, n, NULL, n FROM generate_series(1, 9) AS n;
CREATE TABLE not_valid (id int, parent int);
INSERT INTO not_valid VALUES (1, 99), (NULL, NULL);
ALTER TABLE not_valid ADD CONSTRAINT ghost FOREIGN KEY (parent) REFERENCES parent NOT VALID,
  ADD CONSTRAINT negative CHECK (id < 0) NOT VALID;
CREATE TABLE excluded (
  during tsrange, place point, state varchar(9),
  EXCLUDE USING gist (during WITH &&) WHERE (state IN ('on', 'off')),
  CONSTRAINT deferred EXCLUDE USING gist (place WITH ~=, during WITH &&) DEFERRABLE INITIALLY DEFERRED,
  EXCLUDE USING btree (lower(during) WITH =) INCLUDE (state)
);
INSERT INTO excluded VALUES ('[2020-01-01,2020-01-02)', '(1,1)', 'on'), ('[2021-01-01,2021-01-02)', '(2,2)', NULL);
-- Two tables that need one another.
CREATE TABLE hen (id int PRIMARY KEY, egg int);
CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen);
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg DEFERRABLE INITIALLY DEFERRED;
BEGIN; INSERT INTO hen VALUES (1, 1); INSERT INTO egg VALUES (1, 1); COMMIT;
CREATE UNIQUE INDEX made_before ON excluded (state);
ALTER TABLE excluded ADD CONSTRAINT from_index UNIQUE USING INDEX made_before;
-- A foreign key to and from partitions.
CREATE TABLE ranges (id int PRIMARY KEY, up int REFERENCES parent) PARTITION BY RANGE (id);
CREATE TABLE ranges_low PARTITION OF ranges FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE ranges_high PARTITION OF ranges DEFAULT;
CREATE TABLE points_at_ranges (id int REFERENCES ranges ON DELETE CASCADE);
INSERT INTO ranges VALUES (1, 1), (200, 2);
INSERT INTO points_at_ranges VALUES (1), (200);
