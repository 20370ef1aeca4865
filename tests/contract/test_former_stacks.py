"""Databases of stacks that a former version of the collection has made: what is moved where the services look."""

from __future__ import annotations

import pytest

import tests.tools.checkout  # noqa: F401 - before anything of the collection is imported
from ansible_collections.meywd.tamma.plugins.module_utils import tables
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.logins import Postgres

from .conftest import INIT_SQL
from .postgres import PASSWORD, ROLE, Database
from .processes import Driver

FILES = {tables.INIT_SQL: INIT_SQL.read_text()}
HISTORY = 'CREATE TABLE {0}."__EFMigrationsHistory" ("MigrationId" text PRIMARY KEY, "ProductVersion" text)'
MIGRATED = """INSERT INTO {0}."__EFMigrationsHistory" VALUES ('20270101000000_Initial', '8')"""
#: What the former init-db.sql did, and what may have landed there since: of each kind something.
FORMER = """
CREATE EXTENSION "uuid-ossp";
CREATE SCHEMA elsa;
CREATE SCHEMA tamma;
CREATE TYPE tamma.level AS ENUM ('low', 'high');
CREATE TABLE tamma.stories (id serial PRIMARY KEY, level tamma.level, title text);
CREATE TABLE tamma.notes (id bigint GENERATED ALWAYS AS IDENTITY, story integer REFERENCES tamma.stories, text text);
CREATE INDEX notes_text ON tamma.notes (text);
CREATE VIEW tamma.titles AS SELECT title FROM tamma.stories;
CREATE SEQUENCE tamma.free;
CREATE FUNCTION tamma.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON tamma.notes FOR EACH ROW EXECUTE FUNCTION tamma.touch();
INSERT INTO tamma.stories (title) SELECT 'story ' || n FROM generate_series(1, 50) n;
INSERT INTO tamma.notes (story, text) SELECT n, 'note' FROM generate_series(1, 50) n;
"""
NAMES = "free level notes stories titles touch"


def server(database: Database) -> Postgres:
    return Postgres("127.0.0.1", database.server.port, database.name, ROLE, PASSWORD, "disable")


def needed(database: Database, files: dict[str, str] = FILES) -> tables.Preparation | None:
    return tables.of_own(server(database), files)


def test_a_fresh_database_has_everything(database: Database) -> None:
    database.query("-f", str(INIT_SQL))
    assert needed(database) is None


def test_an_empty_one_runs_the_init_sql_once(database: Database) -> None:
    found = needed(database)
    assert found
    where = f"in the database {database.name} of PostgreSQL at 127.0.0.1:{database.server.port}"
    assert found.steps == [f"run postgres/init-db.sql {where}"]
    tables.prepare(found)
    assert needed(database) is None


def test_a_release_that_migrates_its_tables_itself_is_left_alone(database: Database) -> None:
    history = 'CREATE TABLE "__EFMigrationsHistory" ("MigrationId" text, "ProductVersion" text)'
    database.query(history)
    assert needed(database)
    database.query("""INSERT INTO "__EFMigrationsHistory" VALUES ('20270101000000_Initial', '8')""")
    assert needed(database) is None


def test_what_lies_astray_is_moved(database: Database) -> None:
    database.query(FORMER)
    # A release with migrations of its own: the init SQL has nothing to say.
    history = 'CREATE TABLE "__EFMigrationsHistory" ("MigrationId" text, "ProductVersion" text)'
    database.query(f"""{history}; INSERT INTO "__EFMigrationsHistory" VALUES ('20270101000000_Initial', '8')""")
    counts = "SELECT (SELECT count(*) FROM {0}.stories), (SELECT sum(id) FROM {0}.notes), count(*) FROM {0}.titles"
    before = database.query(counts.format("tamma"))
    found = needed(database)
    assert found
    moved = ", ".join(f"tamma.{name}" for name in ["__EFMigrationsHistory", *NAMES.split()])
    assert [step.split(" in the ")[0] for step in found.steps] == [
        f"move {moved} to the schema public",
        "remove the empty schema elsa",
    ]
    tables.prepare(found)
    assert database.query(counts.format("public")) == before
    assert database.query("SELECT nspname FROM pg_namespace WHERE nspname IN ('tamma', 'elsa')") == []
    assert database.query("INSERT INTO stories (title) VALUES ('next') RETURNING id") == ["51"]
    assert needed(database) is None
    # Somebody's own from here on.
    database.query("CREATE SCHEMA tamma; CREATE SCHEMA elsa; CREATE TABLE tamma.stories (id text)")
    assert needed(database) is None


def test_what_no_service_made_stays_where_it_is(database: Database) -> None:
    database.query(UPSTREAM)
    database.query(
        "ALTER TABLE stories ADD level integer; CREATE TABLE notes (story text REFERENCES stories);"
        "CREATE VIEW titles AS SELECT title FROM stories;"
        "CREATE FUNCTION mine() RETURNS text LANGUAGE sql AS 'SELECT 1'"
    )
    found = needed(database)
    assert found
    moved = ["active_sessions", "junior_developers", "log_state_transition"]
    moved += ["mentorship_events", "mentorship_sessions", "stories"]
    assert [step.split(" in the ")[0] for step in found.steps] == [
        f"move {', '.join(f'tamma.{name}' for name in moved)} to the schema public",
        "run postgres/init-db.sql",
    ]
    tables.prepare(found)
    assert [name for name in database.tables() if name.startswith("tamma.")] == ["tamma.notes"]
    assert database.query("SELECT title, tamma.mine() FROM tamma.titles") == ["S|1"]
    # Now the database is marked, and a table of that name is nobody's but its maker's.
    database.query("CREATE TABLE tamma.mentorship_events (id text)")
    assert needed(database) is None


@pytest.mark.parametrize("other", ["public", "elsa"])
def test_an_empty_history_beside_another_one_goes(database: Database, other: str) -> None:
    database.query("CREATE SCHEMA tamma; CREATE SCHEMA elsa")
    for schema in ("tamma", other):
        database.query(HISTORY.format(schema))
    found = needed(database)
    assert found
    gone = "tamma" if other == "public" else "elsa"
    assert any(step.startswith(f"remove the empty table {gone}.__EFMigrationsHistory in") for step in found.steps)
    tables.prepare(found)
    assert [name for name in database.tables() if "History" in name] == ["public.__EFMigrationsHistory"]
    assert database.query("SELECT nspname FROM pg_namespace WHERE nspname IN ('tamma', 'elsa')") == []
    assert needed(database) is None


@pytest.mark.parametrize("filled", ["tamma", "elsa"])
def test_of_two_astray_the_one_with_rows_is_moved(database: Database, filled: str) -> None:
    database.query("CREATE SCHEMA tamma; CREATE SCHEMA elsa")
    for schema in ("tamma", "elsa"):
        database.query(HISTORY.format(schema))
    database.query(MIGRATED.format(filled))
    found = needed(database)
    assert found
    tables.prepare(found)
    assert database.query('SELECT count(*) FROM public."__EFMigrationsHistory"') == ["1"]
    assert needed(database) is None


@pytest.mark.parametrize("both", [("elsa", "tamma"), ("tamma", "public"), ("elsa", "public")])
def test_two_histories_with_rows_are_refused(database: Database, both: tuple[str, str]) -> None:
    database.query("CREATE SCHEMA tamma; CREATE SCHEMA elsa")
    for schema in both:
        database.query(HISTORY.format(schema) + ";" + MIGRATED.format(schema))
    where = " and in ".join(both)
    with pytest.raises(
        OperatorError, match=rf"^The database has __EFMigrationsHistory \(in {where}\) .* more than once"
    ):
        needed(database)


def test_the_same_table_in_both_schemas_is_refused(database: Database) -> None:
    database.query("CREATE SCHEMA tamma; CREATE SCHEMA elsa")
    database.query("CREATE TABLE tamma.stories (id text); CREATE TABLE elsa.stories (id text)")
    before = database.tables()
    with pytest.raises(OperatorError, match=r"has stories \(in elsa and in tamma\) more than once"):
        needed(database)
    assert database.tables() == before


def test_the_init_sql_by_hand_does_not_hide_what_lies_astray(database: Database) -> None:
    database.query("CREATE SCHEMA tamma")
    database.query(HISTORY.format("tamma") + ";" + MIGRATED.format("tamma") + "; CREATE TABLE tamma.mine (id text)")
    database.query("-f", str(INIT_SQL))
    found = needed(database)
    assert found
    assert found.steps[0].startswith("move tamma.__EFMigrationsHistory, tamma.mine to the schema public")
    tables.prepare(found)
    assert needed(database) is None


#: What the file in Tamma's own repository makes, as far as it matters here, run by the role in a stack of ours.
UPSTREAM = """
CREATE SCHEMA tamma;
CREATE TABLE junior_developers (id text PRIMARY KEY, name text NOT NULL, skill_level integer DEFAULT 1,
    total_sessions integer DEFAULT 0, successful_sessions integer DEFAULT 0, updated_at timestamptz DEFAULT now());
CREATE TABLE stories (id text PRIMARY KEY, title text NOT NULL, jira_ticket_id text,
    updated_at timestamptz DEFAULT now());
CREATE TABLE mentorship_sessions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    story_id text NOT NULL REFERENCES stories, junior_id text NOT NULL REFERENCES junior_developers,
    current_state text NOT NULL, workflow_instance_id text, created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(), completed_at timestamptz,
    status text DEFAULT 'active' CHECK (status IN ('active', 'completed')));
CREATE TABLE mentorship_events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid REFERENCES mentorship_sessions ON DELETE CASCADE, event_type text NOT NULL, event_data jsonb,
    state_from text, state_to text, created_at timestamptz DEFAULT now());
CREATE FUNCTION log_state_transition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO mentorship_events (session_id, event_type, state_to) VALUES (NEW.id, 'twice', NEW.current_state);
    RETURN NEW; END $$;
CREATE TRIGGER log_mentorship_state_transition AFTER UPDATE ON mentorship_sessions
    FOR EACH ROW EXECUTE FUNCTION log_state_transition();
CREATE VIEW active_sessions AS SELECT id, status FROM mentorship_sessions WHERE status = 'active';
INSERT INTO junior_developers (id, name) VALUES ('j', 'J');
INSERT INTO stories (id, title) VALUES ('s', 'S');
INSERT INTO mentorship_sessions (story_id, junior_id, current_state) VALUES ('s', 'j', 'INIT_STORY_PROCESSING');
"""


def test_tables_that_do_not_fit_are_moved_and_made_to_fit(database: Database) -> None:
    database.query(UPSTREAM)
    found = needed(database)
    assert found
    tables.prepare(found)
    assert needed(database) is None
    assert {name.partition(".")[0] for name in database.tables()} == {"public"}
    database.query("""UPDATE stories SET "JiraTicketId" = 'T-1'""")
    database.query("UPDATE mentorship_sessions SET status = 'Active', current_state = 'VALIDATE_STORY'")
    assert database.query("SELECT event_type FROM mentorship_events") == ["state_transition"]
    assert database.query("SELECT junior_name FROM active_sessions") == ["J"]
    database.query("UPDATE mentorship_sessions SET status = 'Completed'")
    assert database.query("SELECT total_sessions, successful_sessions FROM junior_developers") == ["1|1"]


def test_the_services_find_what_was_moved(api_dotnet: Driver, database: Database) -> None:
    """As it happened: the first start makes the history beside where the second one looks for it."""
    database.query('CREATE EXTENSION "uuid-ossp"; CREATE SCHEMA elsa; CREATE SCHEMA tamma')
    api_dotnet.start().health().stop()
    assert "Failed executing DbCommand" in (api_dotnet.start().health()).log
    found = needed(database)
    assert found
    tables.prepare(found)
    for _ in range(3):
        service = api_dotnet.start().health()
        assert "Database migrations applied successfully" in service.log
        assert "Failed executing DbCommand" not in service.log
    assert "public.mentorship_sessions" in database.tables()
    assert needed(database) is None


def test_the_same_name_in_both_is_refused_and_nothing_changed(database: Database) -> None:
    database.query(FORMER)
    database.query("CREATE TABLE public.stories (text text); INSERT INTO public.stories VALUES ('mine')")
    before = database.tables()
    with pytest.raises(OperatorError, match=r"^The database has stories \(in tamma and in public\) more than once"):
        needed(database)
    assert database.tables() == before


def test_any_role_will_do_and_what_others_own_stays(database: Database) -> None:
    database.query('CREATE EXTENSION "uuid-ossp"; CREATE SCHEMA elsa; CREATE SCHEMA tamma')
    database.server.query(f"CREATE ROLE other_{database.name}", database=database.name)
    database.server.query(f"ALTER SCHEMA elsa OWNER TO other_{database.name}", database=database.name)
    found = needed(database)
    assert found
    assert [step.split(" in the ")[0] for step in found.steps] == [
        "remove the empty schema tamma",
        "run postgres/init-db.sql",
    ]
    tables.prepare(found)
    assert database.query("SELECT nspname FROM pg_namespace WHERE nspname IN ('tamma', 'elsa')") == ["elsa"]
    assert needed(database) is None


def test_a_release_of_a_former_version_is_left_as_it_is(database: Database) -> None:
    database.query(FORMER)
    assert needed(database, {tables.INIT_SQL: "CREATE SCHEMA IF NOT EXISTS tamma"}) is None


def test_a_failure_changes_nothing(database: Database) -> None:
    database.query(FORMER)
    before = database.tables()
    found = needed(database, {tables.INIT_SQL: FILES[tables.INIT_SQL] + "NONSENSE"})
    assert found
    with pytest.raises(OperatorError, match="The database was not prepared, and not changed"):
        tables.prepare(found)
    assert database.tables() == before
