-- What the stack's database has to hold before its services start. PostgreSQL runs it when it initialises an empty
-- data volume, as POSTGRES_USER in POSTGRES_DB; the operator runs it on an external server, and wherever it is not
-- the one that was run last. It can be run again, by hand too: it adds what is missing, and touches no row.
--
-- Everything is in `public`: there the services look. No schema here has the name of a role, because the server would
-- put the services' own tables there. ELSA makes its tables by itself, in the schema "Elsa".
CREATE EXTENSION IF NOT EXISTS "uuid-ossp";

-- The mentorship sessions of the .NET API, which has no migrations that would make them. Columns, types and defaults
-- are those that it reads and writes; "JiraTicketId" is spelled so there.
CREATE TABLE IF NOT EXISTS public.junior_developers (
    id text PRIMARY KEY,
    name text NOT NULL,
    email text,
    slack_id text,
    github_username text,
    skill_level integer NOT NULL DEFAULT 1,
    preferences jsonb,
    learning_patterns jsonb,
    total_sessions integer NOT NULL DEFAULT 0,
    successful_sessions integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.stories (
    id text PRIMARY KEY,
    title text NOT NULL,
    description text,
    acceptance_criteria jsonb,
    technical_requirements jsonb,
    priority integer NOT NULL DEFAULT 3,
    complexity integer NOT NULL DEFAULT 3,
    estimated_hours integer,
    tags text[] NOT NULL DEFAULT '{}',
    repository_url text,
    "JiraTicketId" text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS public.mentorship_sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    story_id text NOT NULL REFERENCES public.stories,
    junior_id text NOT NULL REFERENCES public.junior_developers,
    current_state text NOT NULL,
    previous_state text,
    context jsonb,
    variables jsonb,
    workflow_instance_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    -- Active, Completed, Failed, Paused or Cancelled: the service writes words.
    status text NOT NULL DEFAULT 'Active',
    row_version bytea NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS mentorship_sessions_story ON public.mentorship_sessions (story_id);
CREATE INDEX IF NOT EXISTS mentorship_sessions_junior ON public.mentorship_sessions (junior_id);
CREATE INDEX IF NOT EXISTS mentorship_sessions_status ON public.mentorship_sessions (status);

CREATE TABLE IF NOT EXISTS public.mentorship_events (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid NOT NULL REFERENCES public.mentorship_sessions ON DELETE CASCADE,
    event_type text NOT NULL,
    event_data jsonb,
    state_from text,
    state_to text,
    trigger text,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS mentorship_events_session ON public.mentorship_events (session_id, created_at);

-- Tables that the file of Tamma's own repository has made do not fit: a column is missing, statuses are refused that
-- the service writes, and ended sessions do not count. What follows takes the place of its triggers and views.
ALTER TABLE public.stories ADD COLUMN IF NOT EXISTS "JiraTicketId" text;
ALTER TABLE public.mentorship_sessions DROP CONSTRAINT IF EXISTS mentorship_sessions_status_check;
ALTER TABLE public.mentorship_sessions ALTER COLUMN status SET DEFAULT 'Active';
DROP TRIGGER IF EXISTS update_junior_developers_updated_at ON public.junior_developers;
DROP TRIGGER IF EXISTS update_stories_updated_at ON public.stories;
DROP TRIGGER IF EXISTS update_mentorship_sessions_updated_at ON public.mentorship_sessions;
DROP TRIGGER IF EXISTS log_mentorship_state_transition ON public.mentorship_sessions;
DROP TRIGGER IF EXISTS update_junior_developer_stats ON public.mentorship_sessions;
DROP VIEW IF EXISTS public.active_sessions, public.session_summary, public.junior_progress;

-- What the database does by itself.
CREATE OR REPLACE FUNCTION public.mentorship_touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;
DROP TRIGGER IF EXISTS mentorship_touch ON public.junior_developers;
CREATE TRIGGER mentorship_touch BEFORE UPDATE ON public.junior_developers
    FOR EACH ROW EXECUTE FUNCTION public.mentorship_touch();
DROP TRIGGER IF EXISTS mentorship_touch ON public.stories;
CREATE TRIGGER mentorship_touch BEFORE UPDATE ON public.stories
    FOR EACH ROW EXECUTE FUNCTION public.mentorship_touch();
DROP TRIGGER IF EXISTS mentorship_touch ON public.mentorship_sessions;
CREATE TRIGGER mentorship_touch BEFORE UPDATE ON public.mentorship_sessions
    FOR EACH ROW EXECUTE FUNCTION public.mentorship_touch();

CREATE OR REPLACE FUNCTION public.mentorship_note_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.mentorship_events (session_id, event_type, state_from, state_to)
    VALUES (NEW.id, 'state_transition', OLD.current_state, NEW.current_state);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS mentorship_note_state ON public.mentorship_sessions;
CREATE TRIGGER mentorship_note_state AFTER UPDATE OF current_state ON public.mentorship_sessions
    FOR EACH ROW WHEN (OLD.current_state IS DISTINCT FROM NEW.current_state)
    EXECUTE FUNCTION public.mentorship_note_state();

CREATE OR REPLACE FUNCTION public.mentorship_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.junior_developers
    SET total_sessions = total_sessions + 1,
        successful_sessions = successful_sessions + (NEW.status = 'Completed')::integer
    WHERE id = NEW.junior_id;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS mentorship_count ON public.mentorship_sessions;
CREATE TRIGGER mentorship_count AFTER UPDATE OF status ON public.mentorship_sessions
    FOR EACH ROW WHEN (
        NEW.status IN ('Completed', 'Failed', 'Cancelled') AND OLD.status NOT IN ('Completed', 'Failed', 'Cancelled'))
    EXECUTE FUNCTION public.mentorship_count();

-- For people: no service reads them.
CREATE VIEW public.active_sessions AS
    SELECT session.id AS session_id, junior.name AS junior_name, story.title AS story_title,
           session.current_state, session.status, session.created_at, session.updated_at
    FROM public.mentorship_sessions session
    JOIN public.junior_developers junior ON junior.id = session.junior_id
    JOIN public.stories story ON story.id = session.story_id
    WHERE session.status = 'Active';

CREATE VIEW public.session_summary AS
    SELECT session.id AS session_id, session.story_id, session.junior_id, session.status, session.current_state,
           session.created_at, session.completed_at,
           (SELECT count(*) FROM public.mentorship_events event WHERE event.session_id = session.id) AS event_count
    FROM public.mentorship_sessions session;

CREATE VIEW public.junior_progress AS
    SELECT id AS junior_id, name, skill_level, total_sessions, successful_sessions,
           coalesce(round(100.0 * successful_sessions / nullif(total_sessions, 0), 1), 0) AS success_rate
    FROM public.junior_developers;

-- Which of these files was run last: count it up with every change of what it makes. Not where the services' tables lie
-- in a schema that a former version of the collection made: they have to be moved first, and the operator does that.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_tables WHERE tablename = '__EFMigrationsHistory' AND schemaname IN ('tamma', 'elsa')
        AND tableowner = current_user)
    THEN COMMENT ON FUNCTION public.mentorship_touch() IS 'init-db.sql 1';
    END IF;
END $$;
