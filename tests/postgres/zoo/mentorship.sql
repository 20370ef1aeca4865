-- A stand-in of our own for what Tamma's .NET services keep: their columns are varchar with checks.
CREATE TABLE mentors (
  id uuid PRIMARY KEY, name varchar(200) NOT NULL, status varchar(20) NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'gone')),
  skills varchar(50)[] NOT NULL DEFAULT '{}', settings jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz
);
CREATE TABLE sessions (
  id uuid PRIMARY KEY, mentor_id uuid NOT NULL REFERENCES mentors ON DELETE CASCADE, number bigint GENERATED ALWAYS AS IDENTITY,
  status varchar(30) NOT NULL DEFAULT 'requested',
  level varchar(10) CHECK (level IN ('junior', 'middle', 'senior') OR level IS NULL),
  rating smallint CHECK (rating BETWEEN 1 AND 5), starts timestamptz NOT NULL, ends timestamptz, notes text,
  CONSTRAINT ck_sessions_status CHECK (status IN ('requested', 'accepted', 'running', 'done', 'cancelled')),
  CONSTRAINT ck_sessions_order CHECK (ends IS NULL OR ends > starts),
  CONSTRAINT ck_sessions_done CHECK (status NOT IN ('done') OR ends IS NOT NULL)
);
CREATE TABLE events (id bigserial, session_id uuid REFERENCES sessions, kind varchar(20) NOT NULL CHECK (kind IN ('message', 'state', 'note')), body jsonb, at timestamptz NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE "__EFMigrationsHistory" ("MigrationId" varchar(150) PRIMARY KEY, "ProductVersion" varchar(32) NOT NULL);
INSERT INTO "__EFMigrationsHistory" VALUES ('20260105090000_Initial', '8.0.1'), ('20260302090000_Mentorship', '8.0.1');
CREATE INDEX ix_sessions_open ON sessions (mentor_id, starts DESC) WHERE status IN ('requested', 'accepted', 'running');
CREATE UNIQUE INDEX ix_mentors_name ON mentors (lower(name)) WHERE status <> 'gone';
CREATE INDEX ix_mentors_skills ON mentors USING gin (skills);
CREATE INDEX ix_events_body ON events USING gin (body jsonb_path_ops);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := '2025-06-01'; RETURN NEW; END$$;
CREATE TRIGGER mentors_touch BEFORE UPDATE ON mentors FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION touch();
CREATE FUNCTION note_state() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
  INSERT INTO mentorship.events (session_id, kind, body, at) VALUES (NEW.id, 'state', jsonb_build_object('from', OLD.status, 'to', NEW.status), '2025-06-01'); RETURN NULL; END$$;
CREATE TRIGGER sessions_state AFTER UPDATE OF status ON sessions FOR EACH ROW WHEN (NEW.status IN ('done', 'cancelled') AND OLD.status NOT IN ('done', 'cancelled')) EXECUTE FUNCTION note_state();
CREATE VIEW open_sessions AS SELECT s.id, m.name, s.starts, s.status FROM sessions AS s JOIN mentors AS m ON m.id = s.mentor_id WHERE s.status IN ('requested', 'accepted', 'running') AND m.status IN ('active');
CREATE VIEW workload AS SELECT m.id, m.name, count(s.id) FILTER (WHERE s.status IN ('accepted', 'running')) AS busy, avg(s.rating) AS rating FROM mentors AS m LEFT JOIN sessions AS s ON s.mentor_id = m.id GROUP BY m.id;
CREATE MATERIALIZED VIEW monthly AS SELECT date_trunc('month', starts AT TIME ZONE 'UTC') AS month, status, count(*) FROM sessions WHERE status NOT IN ('cancelled') GROUP BY 1, 2;
INSERT INTO mentors (id, name, status, skills, created_at) SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'Mentor ' || n, CASE n % 3 WHEN 0 THEN 'paused' ELSE 'active' END, ARRAY['sql', 's' || n], '2025-01-01' FROM generate_series(1, 30) AS n;
INSERT INTO sessions (id, mentor_id, level, rating, starts) SELECT ('10000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, ('00000000-0000-0000-0000-' || lpad((n % 30 + 1)::text, 12, '0'))::uuid, 'junior', n % 5 + 1, timestamptz '2025-01-01' + n * interval '1 hour' FROM generate_series(1, 200) AS n;
UPDATE sessions SET status = 'done', ends = starts + interval '1 hour' WHERE rating > 3;
UPDATE mentors SET status = 'gone' WHERE name = 'Mentor 7';
REFRESH MATERIALIZED VIEW monthly;
