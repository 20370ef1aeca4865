"""The contract of the tables that init-db.sql makes: what the entities of the mentorship API need of them."""

from __future__ import annotations

import pytest

from .conftest import INIT_SQL
from .postgres import Database

#: Columns and their types; the service may write NULL where there is a question mark.
COLUMNS = {
    "junior_developers": """id text, name text, email text?, slack_id text?, github_username text?, skill_level int4,
        preferences jsonb?, learning_patterns jsonb?, total_sessions int4, successful_sessions int4,
        created_at timestamptz, updated_at timestamptz""",
    "stories": """id text, title text, description text?, acceptance_criteria jsonb?, technical_requirements jsonb?,
        priority int4, complexity int4, estimated_hours int4?, tags _text, repository_url text?, JiraTicketId text?,
        created_at timestamptz, updated_at timestamptz""",
    "mentorship_sessions": """id uuid, story_id text, junior_id text, current_state text, previous_state text?,
        context jsonb?, variables jsonb?, workflow_instance_id text?, created_at timestamptz, updated_at timestamptz,
        completed_at timestamptz?, status text, row_version bytea""",
    "mentorship_events": """id uuid, session_id uuid, event_type text, event_data jsonb?, state_from text?,
        state_to text?, trigger text?, created_at timestamptz""",
}
COUNTED = "SELECT total_sessions || ' ' || successful_sessions FROM junior_developers"


@pytest.fixture
def session(tables: Database) -> Database:
    """One junior, one story, one session, as the service writes them."""
    tables.query(
        "INSERT INTO junior_developers (id, name) VALUES ('j', 'J'); INSERT INTO stories (id, title) VALUES ('s', 'S');"
        "INSERT INTO mentorship_sessions (story_id, junior_id, current_state, updated_at)"
        " VALUES ('s', 'j', 'INIT_STORY_PROCESSING', now() - interval '1 day')"
    )
    return tables


@pytest.mark.parametrize("table", COLUMNS)
def test_columns(tables: Database, table: str) -> None:
    found = tables.query(
        "SELECT column_name || ' ' || udt_name || CASE is_nullable WHEN 'YES' THEN '?' ELSE '' END"
        f" FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{table}'"
    )
    assert sorted(found) == sorted(" ".join(column.split()) for column in COLUMNS[table].split(","))


def test_it_runs_again_and_touches_no_row(session: Database) -> None:
    before = session.tables()
    session.query("-f", str(INIT_SQL))
    assert session.tables() == before == [f"public.{name}" for name in sorted(COLUMNS)]
    assert session.query("SELECT count(*) FROM mentorship_sessions") == ["1"]


def test_any_role_will_do(database: Database) -> None:
    role = f'"o\'{database.name}"'
    database.server.query(f"CREATE ROLE {role}; ALTER DATABASE {database.name} OWNER TO {role}")
    database.server.query("-c", f"SET ROLE {role}", "-f", str(INIT_SQL), database=database.name)
    owner = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert database.server.query(owner, database=database.name) == [role.strip('"')]


def test_any_status_and_state_is_taken(session: Database) -> None:
    for status in ("Active", "Completed", "Failed", "Paused", "Cancelled"):
        session.query(f"UPDATE mentorship_sessions SET status = '{status}' WHERE row_version = ''")
        assert session.query("SELECT status FROM mentorship_sessions") == [status]
    for state in ("VALIDATE_STORY", "RE_EXPLAIN_STORY", "ESCALATE_TO_SENIOR", "TIMEOUT"):
        session.query(f"UPDATE mentorship_sessions SET current_state = '{state}', previous_state = '{state}'")


def test_a_change_of_state_leaves_an_event(session: Database) -> None:
    session.query("UPDATE mentorship_sessions SET current_state = 'VALIDATE_STORY'")
    assert session.query("SELECT event_type, state_from, state_to FROM mentorship_events") == [
        "state_transition|INIT_STORY_PROCESSING|VALIDATE_STORY"
    ]
    assert session.query("SELECT updated_at > now() - interval '1 hour' FROM mentorship_sessions") == ["t"]


@pytest.mark.parametrize(("status", "counted"), [("Completed", "1 1"), ("Failed", "1 0"), ("Paused", "0 0")])
def test_the_end_of_a_session_counts_once_for_its_junior(session: Database, status: str, counted: str) -> None:
    for change in (f"status = '{status}'", "workflow_instance_id = 'w'", f"status = '{status}'"):
        session.query(f"UPDATE mentorship_sessions SET {change}")
        assert session.query(COUNTED) == [counted]


def test_defaults(session: Database) -> None:
    assert session.query("SELECT status, row_version FROM mentorship_sessions") == ["Active|\\x"]
    assert session.query("SELECT priority, complexity, tags FROM stories") == ["3|3|{}"]
    assert session.query("SELECT skill_level, total_sessions FROM junior_developers") == ["1|0"]


def test_a_session_holds_its_story_and_takes_its_events_along(session: Database) -> None:
    session.query("UPDATE mentorship_sessions SET current_state = 'VALIDATE_STORY'")
    with pytest.raises(AssertionError, match="foreign key"):
        session.query("DELETE FROM stories")
    session.query("DELETE FROM mentorship_sessions")
    assert session.query("SELECT count(*) FROM mentorship_events") == ["0"]


def test_views_for_people(session: Database) -> None:
    assert session.query("SELECT junior_name, story_title, current_state FROM active_sessions") == [
        "J|S|INIT_STORY_PROCESSING"
    ]
    assert session.query("SELECT event_count FROM session_summary") == ["0"]
    assert session.query("SELECT success_rate FROM junior_progress") == ["0"]
