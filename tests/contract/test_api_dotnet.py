"""The contract of tamma-api-dotnet."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time

import pytest

from .asking import Reply, ask, until
from .conftest import JWT_SECRET
from .peers import Authority, Recorder, encode
from .postgres import Database
from .processes import Driver

HISTORY = '"__EFMigrationsHistory"'
SESSIONS = "/api/mentorship/sessions"
NOBODY = "00000000-0000-0000-0000-000000000001"
STORY_AND_JUNIOR = (
    "INSERT INTO junior_developers (id, name) VALUES ('j', 'J'); INSERT INTO stories (id, title) VALUES ('s', 'S')"
)
START = {"storyId": "s", "juniorId": "j"}


def trusting(url: str) -> dict[str, str | None]:
    """Settings with which it takes an authority's tokens without TLS."""
    return {"Jwt__Authority": url, "Authentication__Schemes__Bearer__RequireHttpsMetadata": "false"}


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"Jwt__Secret": None}, "JWT secret (Jwt:Secret) must be configured"),
        ({"Jwt__Secret": ""}, "JWT secret (Jwt:Secret) must be configured"),
        ({"Jwt__Secret": None, "ASPNETCORE_ENVIRONMENT": "Staging"}, "must be configured"),
        ({"Jwt__Secret": None, "Jwt__Authority": "https://login.example.org"}, "must be configured"),
        ({"ConnectionStrings__DefaultConnection": ""}, "ArgumentNullException"),
        ({"WorkflowSync__PollIntervalSeconds": "abc"}, "PollIntervalSeconds"),
        ({"WorkflowSync__PollIntervalSeconds": "1.5"}, "PollIntervalSeconds"),
    ],
)
def test_it_aborts(api_dotnet: Driver, settings: dict[str, str | None], words: str) -> None:
    service = api_dotnet.start(**settings)
    assert service.ended() == api_dotnet.aborted
    assert words in service.log


def test_a_negative_interval_ends_it(api_dotnet: Driver) -> None:
    assert api_dotnet.start(WorkflowSync__PollIntervalSeconds="-1").ended() == 0


def test_an_interval_of_zero_is_a_busy_loop(api_dotnet: Driver, recorder: Recorder) -> None:
    api_dotnet.start(WorkflowSync__PollIntervalSeconds="0").health()
    assert until(lambda: len(recorder.of("GET")) > 30, 5)


def test_a_secret_of_three_characters_will_do(api_dotnet: Driver) -> None:
    api_dotnet.start(Jwt__Secret="abc").health()


@pytest.mark.parametrize("string", ["wrong password", "postgres://tamma@127.0.0.1/tamma", "Nonsense"])
def test_a_wrong_connection_string_shows_in_its_health_only(
    api_dotnet: Driver, database: Database, string: str
) -> None:
    string = database.string(password="x") if string == "wrong password" else string
    service = api_dotnet.start(ConnectionStrings__DefaultConnection=string).health(503)
    assert service.stop().status == 0


# The database


def test_its_health_is_a_question_to_the_database(api_dotnet: Driver, database: Database) -> None:
    service = api_dotnet.start().health()
    assert service.ask("/health").text == "Healthy"
    database.server.stop()
    try:
        service.health(503)
        assert service.ask("/health").text == "Unhealthy"
        late = api_dotnet.start().health(503)
    finally:
        database.server.start()
    for one in (service, late):
        one.health()


def test_a_database_that_never_answers_keeps_its_health_waiting(api_dotnet: Driver, database: Database) -> None:
    service = api_dotnet.start().health()
    database.server.freeze(True)
    try:
        assert service.ask("/health", seconds=6).status == 0
    finally:
        database.server.freeze(False)
    service.health(seconds=60)


def test_it_has_no_migrations_and_makes_their_history(api_dotnet: Driver, database: Database) -> None:
    for _ in range(3):
        service = api_dotnet.start().health()
        assert until(lambda service=service: "Database migrations applied successfully" in service.log, 5)
        assert "Failed executing DbCommand" not in service.log
        service.stop()
    assert database.tables() == ["public.__EFMigrationsHistory"]
    assert database.query(f"SELECT count(*) FROM {HISTORY}") == ["0"]


def test_a_schema_called_like_the_role_hides_that_history(api_dotnet: Driver, database: Database) -> None:
    database.query("CREATE SCHEMA tamma")
    api_dotnet.start().health().stop()
    assert database.tables() == ["tamma.__EFMigrationsHistory"]
    again = api_dotnet.start().health()
    for words in ("Failed executing DbCommand", "Error applying migrations, database may already", "42P07"):
        assert words in again.log


def test_the_search_path_of_the_connection_string_wins(api_dotnet: Driver, database: Database) -> None:
    database.query("CREATE SCHEMA tamma")
    string = database.string("Search Path=public;Application Name=its-name;Maximum Pool Size=2")
    for _ in range(2):
        service = api_dotnet.start(ConnectionStrings__DefaultConnection=string).health()
        assert "its-name" in database.query("SELECT application_name FROM pg_stat_activity")
        service.stop()
        assert "Failed executing DbCommand" not in service.log
    assert database.tables() == ["public.__EFMigrationsHistory"]


def test_a_migration_that_fails_does_not_show_in_its_health(api_dotnet: Driver, database: Database) -> None:
    revoke = "ALTER SCHEMA public OWNER TO postgres; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    database.server.query(revoke, database=database.name)
    service = api_dotnet.start().health()
    assert "Error applying migrations" in service.log
    assert "permission denied for schema public" in service.log


# Who gets in


@pytest.mark.parametrize("environment", ["Production", "Development"])
def test_the_secret_is_no_key(api_dotnet: Driver, environment: str) -> None:
    service = api_dotnet.start(ASPNETCORE_ENVIRONMENT=environment).health()
    claims = {"iss": "tamma", "aud": "tamma-api", "exp": int(time.time()) + 600}
    text = ".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = encode(hmac.digest(JWT_SECRET.encode(), text.encode(), hashlib.sha256))
    for headers in ({}, {"Authorization": f"Bearer {text}.{signature}"}):
        assert service.ask(SESSIONS, headers=headers).status == 401


def test_in_development_without_a_secret_everybody_gets_in(api_dotnet: Driver, tables: Database) -> None:
    service = api_dotnet.start(ASPNETCORE_ENVIRONMENT="Development", Jwt__Secret=None).health()
    assert service.ask(SESSIONS).status == 200
    assert tables.query("SELECT count(*) FROM mentorship_sessions") == ["0"]


def test_an_authority_without_tls_breaks_everything_unless_allowed(api_dotnet: Driver, recorder: Recorder) -> None:
    api_dotnet.start(Jwt__Authority=recorder.url).health(500)
    assert api_dotnet.start(**trusting(recorder.url)).health().ask(SESSIONS).status == 401


@pytest.mark.usefixtures("tables")
def test_while_the_authority_is_away_tokens_are_refused_and_nothing_else(
    api_dotnet: Driver, authority: Authority, recorder: Recorder
) -> None:
    headers = authority.headers()
    recorder.end()
    service = api_dotnet.start(**trusting(authority.url)).health()
    assert service.ask(SESSIONS, headers=headers).status == 401
    assert service.ask("/health", headers=headers).status == 200


@pytest.mark.usefixtures("tables")
def test_its_tokens_open(api_dotnet: Driver, authority: Authority) -> None:
    service = api_dotnet.start(**trusting(authority.url)).health()

    def status(**claims: object) -> int:
        return service.ask(SESSIONS, headers=authority.headers(**claims)).status

    assert [status(), status(iss=authority.url)] == [200, 200]
    assert {status(iss="https://x.example.org"), status(aud="x"), status(exp=int(time.time()) - 3600)} == {401}
    other = api_dotnet.start(**trusting(authority.url), Jwt__Issuer="i", Jwt__Audience="a").health()
    assert other.ask(SESSIONS, headers=authority.headers(iss="i", aud="a")).status == 200
    assert other.ask(SESSIONS, headers=authority.headers()).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", SESSIONS, 401),
        ("GET", f"{SESSIONS}/{NOBODY}", 401),
        ("GET", f"{SESSIONS}/{NOBODY}/events", 401),
        ("POST", "/api/mentorship/start", 401),
        ("POST", f"{SESSIONS}/{NOBODY}/pause", 401),
        ("POST", f"{SESSIONS}/{NOBODY}/resume", 401),
        ("POST", f"{SESSIONS}/{NOBODY}/cancel", 401),
        ("GET", "/api/mentorship/analytics/dashboard", 401),
        ("POST", SESSIONS, 405),
        ("GET", "/", 404),
        ("GET", "/metrics", 404),
        ("GET", "/swagger/index.html", 404),
        ("GET", "/api/health", 404),
        ("GET", "/api/mentorship/x", 404),
    ],
)
def test_paths(api_dotnet: Driver, method: str, path: str, status: int) -> None:
    service = api_dotnet.start().health()
    assert service.ask(path, method, {} if method == "POST" else None).status == status


def test_swagger_is_for_development(api_dotnet: Driver) -> None:
    service = api_dotnet.start(ASPNETCORE_ENVIRONMENT="Development").health()
    assert service.ask("/swagger/index.html").status == 200


def test_browsers_may_call_it_from_the_address_of_the_dashboard(api_dotnet: Driver) -> None:
    service = api_dotnet.start(Cors__DashboardUrl="https://x.example.org").health()
    for origin, allowed in (("https://tamma.example.org", True), ("https://x.example.org", False)):
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        reply = service.ask(SESSIONS, "OPTIONS", headers=headers)
        assert (reply.headers.get("Access-Control-Allow-Origin") == origin) is allowed


# Its sessions


def test_a_session_from_its_start_to_its_end(
    api_dotnet: Driver, authority: Authority, recorder: Recorder, tables: Database
) -> None:
    tables.query(STORY_AND_JUNIOR)
    execute = "/elsa/api/workflow-definitions/tamma-autonomous-mentorship/execute"
    recorder.answers["POST", execute] = 200, {"workflowInstanceId": "w"}
    service = api_dotnet.start(**trusting(authority.url)).health()

    def call(method: str, path: str, data: object = None) -> Reply:
        return service.ask(f"/api/mentorship/{path}", method, data, headers=authority.headers())

    assert call("POST", "start", {}).status == 400
    session = call("POST", "start", START).json()["sessionId"]
    state = "SELECT status || ' ' || current_state FROM mentorship_sessions"
    assert tables.query(state) == ["Active INIT_STORY_PROCESSING"]
    for verb, status in (("pause", "Paused"), ("resume", "Active"), ("cancel", "Cancelled")):
        assert call("POST", f"sessions/{session}/{verb}", {}).status in (200, 204)
        assert tables.query(state) == [f"{status} INIT_STORY_PROCESSING"]
    for path in ("sessions", f"sessions/{session}", f"sessions/{session}/events", "analytics/dashboard"):
        assert call("GET", path).status == 200, path
    assert call("GET", f"sessions/{NOBODY}").status == 404


def test_a_session_that_elsa_refuses_stays_behind(
    api_dotnet: Driver, authority: Authority, recorder: Recorder, tables: Database
) -> None:
    tables.query(STORY_AND_JUNIOR)
    # As the real ELSA answers.
    recorder.answers["GET", "/elsa/api/health"] = 404, {}
    service = api_dotnet.start(**trusting(authority.url)).health()
    began = time.monotonic()
    assert service.ask("/api/mentorship/start", "POST", START, headers=authority.headers()).status == 500
    assert 5 < time.monotonic() - began < 20
    assert tables.query("SELECT status FROM mentorship_sessions") == ["Active"]


# The sync


def test_what_it_asks_of_elsa_and_pushes_to_tamma_api(api_dotnet: Driver, recorder: Recorder) -> None:
    definitions = [{"id": f"v{n}", "definitionId": f"d{n}", "name": f"n{n}", "version": 1} for n in "12"]
    instance = {"id": "i", "definitionId": "d1", "status": "Running", "subStatus": "Suspended"}
    recorder.answers["GET", "/elsa/api/workflow-definitions"] = 200, {"items": definitions, "totalCount": 2}
    recorder.answers["GET", "/elsa/api/workflow-instances"] = 200, {"items": [instance], "totalCount": 1}
    recorder.answers["PUT", "/api/workflows/instances/i"] = 404, {}
    for _ in range(2):
        recorder.asked.clear()
        # Each replica does it anew.
        api_dotnet.start(WorkflowSync__PollIntervalSeconds="60").health()
        assert until(lambda: recorder.of("POST", "/instances$"), 10)
        assert [(item.method, item.path) for item in recorder.asked] == [
            ("GET", "/elsa/api/workflow-definitions?page=1&pageSize=100"),
            ("POST", "/api/workflows/definitions"),
            ("POST", "/api/workflows/definitions"),
            ("GET", "/elsa/api/workflow-instances?page=1&pageSize=100"),
            ("PUT", "/api/workflows/instances/i"),
            ("POST", "/api/workflows/instances"),
        ]
        assert {item.headers.get("Authorization") for item in recorder.of("GET")} == {"ApiKey the-key"}
        assert not any("Authorization" in item.headers for item in recorder.of("P"))
        assert recorder.of("POST")[0].content["name"] == "n1"


def test_without_a_key_it_shows_none(api_dotnet: Driver, recorder: Recorder) -> None:
    api_dotnet.start(Elsa__ApiKey="").health()
    assert until(lambda: recorder.of("GET"), 10)
    assert "Authorization" not in recorder.asked[0].headers


@pytest.mark.parametrize("status", [401, 500])
def test_its_health_does_not_depend_on_elsa(api_dotnet: Driver, recorder: Recorder, status: int) -> None:
    recorder.answers["GET", "/elsa/api/workflow-definitions"] = status, {}
    service = api_dotnet.start()
    assert until(lambda: len(recorder.of("GET", "definitions")) > 1, 15)
    assert ask(service.url + "/health").status == 200


# Its files, its log, its end


@pytest.mark.parametrize("logs", ["16m", "16k"])
def test_a_read_only_root_and_full_logs_harm_nobody(api_dotnet: Driver, logs: str) -> None:
    service = api_dotnet.start(read_only=True, logs=logs).health()
    assert {service.ask("/health").status for _ in range(200)} == {200}


def test_each_line_comes_twice_unless_one_console_is_silent(api_dotnet: Driver) -> None:
    twice = api_dotnet.start().health()
    assert twice.log.count("Tamma API starting up") == 2
    assert re.match(r"\[\d\d:\d\d:\d\d INF\] ", twice.log)
    once = api_dotnet.start(Serilog__WriteTo__0__Args__restrictedToMinimumLevel="Fatal").health()
    assert once.log.count("Tamma API starting up") == 1


def test_serilog_decides_what_stands_in_its_log(api_dotnet: Driver, recorder: Recorder) -> None:
    service = api_dotnet.start(Logging__LogLevel__Default="Error", Serilog__MinimumLevel__Default="Debug").health()
    assert until(lambda: "INF] HTTP GET /health responded 200" in service.log and recorder.asked, 10)
    for secret in ("w'q", "the-key", JWT_SECRET):
        assert secret not in service.log
    quiet = api_dotnet.start(Serilog__MinimumLevel__Default="Error").health()
    quiet.stop()
    assert "responded" not in quiet.log


def test_idle_it_stops_at_once(api_dotnet: Driver) -> None:
    ended = api_dotnet.start().health().stop()
    assert (ended.status, ended.seconds < 5) == (0, True)


def test_a_request_that_hangs_is_waited_for_as_long_as_told(api_dotnet: Driver, database: Database) -> None:
    service = api_dotnet.start(DOTNET_SHUTDOWNTIMEOUTSECONDS="3").health()
    database.server.freeze(True)
    try:
        thread = threading.Thread(target=service.ask, args=("/health",), daemon=True)
        thread.start()
        thread.join(1)
        ended = service.stop()
    finally:
        database.server.freeze(False)
    assert (ended.status, 2 < ended.seconds < 12) == (0, True)
