"""Plays tamma-api-dotnet: mentorship sessions in PostgreSQL, workflows pushed from ELSA to tamma-api.

Only tokens of an authority open its routes. Its migrations fail without anybody noticing but its log.
"""

import threading
import time
import uuid
from typing import Any

from . import dotnet, future, jwt, process
from .database import Database, Error, postgres_error
from .dotnet import ENVIRONMENT, Configuration
from .process import Unhandled, log, stopping
from .remote import RemoteError, call
from .web import Answer, HttpError, Request, Server

PREFIX = "/api/mentorship"
WORKFLOW = "tamma-autonomous-mentorship"
#: Between the tries to reach ELSA when a session starts.
PAUSES = (1.2, 2.4, 4.8)
KEY_SECONDS = 300

STATUSES = ("Active", "Completed", "Failed", "Paused", "Cancelled")
SESSION = ("id", "story_id", "junior_id", "current_state", "status", "workflow_instance_id", "created_at")
EVENT = ("id", "session_id", "event_type", "state_from", "state_to", "created_at")


def main(_: list[str]) -> int:
    configuration = Configuration()
    dotnet.start_logging(configuration, "tamma-api", 2)
    process.begin("tamma-api-dotnet")
    log("info", "Tamma API starting up")
    if ENVIRONMENT != "Development" and not configuration.get("Jwt:Secret"):
        raise Unhandled(
            "System.InvalidOperationException: JWT secret (Jwt:Secret) must be configured outside of Development."
        )
    if configuration.given("ConnectionStrings:DefaultConnection") == "":
        raise Unhandled("System.ArgumentNullException: Value cannot be null. (Parameter 'connectionString')")
    interval = _interval(configuration)
    database = Database(_settings(configuration))
    _migrate(database)
    dotnet.crash_if_asked()
    server = configuration.server(3000)
    _let_in(server, configuration)
    _allow_origin(server, configuration.get("Dashboard:Url"))
    _add_routes(server, database, configuration)
    threading.Thread(target=_sync_workflows, args=(configuration, interval), daemon=True).start()
    return dotnet.serve(server)


def _interval(configuration: Configuration) -> int:
    text = configuration.get("WorkflowSync:PollIntervalSeconds", "30")
    try:
        return int(text)
    except ValueError:
        raise Unhandled(
            "System.InvalidOperationException: Failed to convert configuration value at "
            "'WorkflowSync:PollIntervalSeconds' to type 'System.Int32'."
        ) from None


def _settings(configuration: Configuration) -> dict[str, str] | None:
    if configuration.given("ConnectionStrings:DefaultConnection") is None:
        return {"host": "127.0.0.1", "port": "5432", "database": "tamma", "username": "tamma", "sslmode": "prefer"}
    try:
        return configuration.database()
    except ValueError:
        return None


def _migrate(database: Database) -> None:
    try:
        database.migrate("public", process.MIGRATIONS.get("public", []))
    except Error as error:
        log("warn", f"Error applying migrations, database may already be up to date\n{postgres_error(error)}")
    else:
        log("info", "Database migrations applied successfully")


# Who gets in


def _let_in(server: Server, configuration: Configuration) -> None:
    authority = configuration.get("Jwt:Authority").rstrip("/")
    with_https = configuration.get("Authentication:Schemes:Bearer:RequireHttpsMetadata", "true").lower() != "false"
    trusted = _Authority(authority, configuration)

    def guard(_: Request) -> None:
        if authority and with_https and not authority.startswith("https://"):
            raise ValueError("The MetadataAddress or Authority must use HTTPS unless disabled for development.")

    def authorize(request: Request) -> None:
        if process.FUTURE or (ENVIRONMENT == "Development" and not configuration.get("Jwt:Secret")):
            return
        scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
        if not (authority and scheme == "Bearer" and trusted.signed(token)):
            raise HttpError(401, "Unauthorized")

    server.guard, server.authorize = guard, authorize


class _Authority:
    """Whose tokens open the API; its keys are fetched when they are needed."""

    def __init__(self, address: str, configuration: Configuration) -> None:
        self._address = address
        self._issuer = configuration.get("Jwt:Issuer", "tamma")
        self._audience = configuration.get("Jwt:Audience", "tamma-api")
        self._known: tuple[float, dict[str, Any]] | None = None

    def signed(self, token: str) -> bool:
        try:
            found = self._metadata()
            claims = jwt.claims_of(token, found["keys"])
        except (RemoteError, KeyError, ValueError):
            return False
        audience = claims.get("aud")
        return claims.get("iss") in (self._issuer, found["issuer"]) and (
            self._audience in audience if isinstance(audience, list) else audience == self._audience
        )

    def _metadata(self) -> dict[str, Any]:
        if self._known is None or time.monotonic() - self._known[0] > KEY_SECONDS:
            found = call("GET", f"{self._address}/.well-known/openid-configuration")
            keys = call("GET", found["jwks_uri"])
            self._known = time.monotonic(), {"issuer": found.get("issuer"), "keys": keys["keys"]}
        return self._known[1]


def _allow_origin(server: Server, origin: str) -> None:
    def headers(request: Request) -> dict[str, str]:
        if not origin or request.headers.get("Origin") != origin:
            return {}
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true", "Vary": "Origin"}

    server.headers, server.preflight = headers, True


# Its routes


def _add_routes(server: Server, database: Database, configuration: Configuration) -> None:
    sessions = _Sessions(database, configuration)

    @server.route("GET", "/health", is_open=True)
    def health(_: Request) -> Answer:
        if process.FUTURE:
            return Answer({"status": "Healthy", "version": process.VERSION})
        healthy = database.answers()
        return Answer("Healthy" if healthy else "Unhealthy", 200 if healthy else 503, "text/plain")

    if ENVIRONMENT == "Development":

        @server.route("GET", "/swagger/index.html", is_open=True)
        def swagger(_: Request) -> Answer:
            return Answer("<!doctype html><title>Swagger UI</title>", content_type="text/html")

    if process.FUTURE:
        future.add_sessions(server, database)
        return

    server.route("POST", f"{PREFIX}/start")(sessions.start)
    server.route("GET", f"{PREFIX}/sessions")(sessions.all)
    server.route("GET", f"{PREFIX}/sessions/<id>")(sessions.one)
    server.route("GET", f"{PREFIX}/sessions/<id>/events")(sessions.events)
    for verb, status in (("pause", "Paused"), ("resume", "Active"), ("cancel", "Cancelled")):
        server.route("POST", f"{PREFIX}/sessions/<id>/{verb}")(sessions.changing(verb, status))
    server.route("GET", f"{PREFIX}/analytics/dashboard")(sessions.dashboard)


class _Sessions:
    """The mentorship sessions: rows of the database, and workflows of ELSA behind them."""

    def __init__(self, database: Database, configuration: Configuration) -> None:
        self._database, self._elsa = database, _Elsa(configuration)

    def start(self, request: Request) -> Answer:
        content = request.json()
        story, junior = content.get("storyId"), content.get("juniorId")
        if not (isinstance(story, str) and isinstance(junior, str) and story and junior):
            raise HttpError(400, "storyId and juniorId are required.")
        session = str(uuid.uuid4())
        # Stays behind when ELSA refuses.
        self._database.rows(
            "INSERT INTO mentorship_sessions (id, story_id, junior_id, current_state, status, created_at, updated_at)"
            " VALUES (%s, %s, %s, 'INIT_STORY_PROCESSING', 'Active', now(), now())",
            (session, story, junior),
        )
        self._elsa.wait()
        found = self._elsa.ask("POST", f"workflow-definitions/{WORKFLOW}/execute", {"input": {"sessionId": session}})
        instance = (found or {}).get("workflowInstanceId")
        self._database.rows(
            "UPDATE mentorship_sessions SET workflow_instance_id = %s, updated_at = now() WHERE id = %s",
            (instance, session),
        )
        return Answer({"sessionId": session, "workflowInstanceId": instance})

    def all(self, _: Request) -> Answer:
        found = self._database.rows(f"SELECT {', '.join(SESSION)} FROM mentorship_sessions ORDER BY created_at DESC")
        return Answer([_session(row) for row in found])

    def one(self, request: Request) -> Answer:
        return Answer(self._one(request))

    def events(self, request: Request) -> Answer:
        session = self._one(request)
        found = self._database.rows(
            f"SELECT {', '.join(EVENT)} FROM mentorship_events WHERE session_id = %s ORDER BY created_at",
            (session["id"],),
        )
        return Answer([_camel(EVENT, row) for row in found])

    def changing(self, verb: str, status: str) -> Any:
        def change(request: Request) -> Answer:
            session = self._one(request)
            if session["workflowInstanceId"]:
                self._elsa.ask("POST", f"workflow-instances/{session['workflowInstanceId']}/{verb}", {})
            self._database.rows(
                "UPDATE mentorship_sessions SET status = %s, updated_at = now() WHERE id = %s", (status, session["id"])
            )
            return Answer({"sessionId": session["id"]})

        return change

    def dashboard(self, _: Request) -> Answer:
        found = dict(self._database.rows("SELECT status, count(*) FROM mentorship_sessions GROUP BY status"))
        return Answer({"totalSessions": sum(found.values()), "byStatus": found})

    def _one(self, request: Request) -> dict[str, Any]:
        try:
            identifier = str(uuid.UUID(request.captured["id"]))
        except ValueError:
            raise HttpError(404, "Not found") from None
        found = self._database.rows(
            f"SELECT {', '.join(SESSION)} FROM mentorship_sessions WHERE id = %s", (identifier,)
        )
        if not found:
            raise HttpError(404, "Not found")
        return _session(found[0])


def _session(row: tuple[Any, ...]) -> dict[str, Any]:
    found = _camel(SESSION, row)
    return found | {"status": STATUSES.index(found["status"])}


def _camel(names: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    def spelled(name: str) -> str:
        first, *others = name.split("_")
        return first + "".join(word.capitalize() for word in others)

    return {spelled(name): str(value) if value is not None else None for name, value in zip(names, row, strict=True)}


# ELSA, and what is copied from it to tamma-api


class _Elsa:
    """ELSA's API, at the paths that this service believes in."""

    def __init__(self, configuration: Configuration) -> None:
        self._address = configuration.get("Elsa:ServerUrl").rstrip("/")
        key = configuration.get("Elsa:ApiKey")
        self._headers = {"Authorization": f"ApiKey {key}"} if key else {}

    def ask(self, method: str, path: str, content: Any = None) -> Any:
        return call(method, f"{self._address}/elsa/api/{path}", content, self._headers)

    def wait(self) -> None:
        """Ask for a health that the real ELSA does not have, again and again."""
        for pause in PAUSES:
            try:
                self.ask("GET", "health")
                return
            except RemoteError:
                stopping.wait(pause)
        self.ask("GET", "health")


def _sync_workflows(configuration: Configuration, interval: int) -> None:
    """Push ELSA's definitions and instances to tamma-api: at the start, then an interval after each cycle."""
    elsa = _Elsa(configuration)
    target = configuration.get("TammaServer:Url").rstrip("/") + "/api/workflows"
    # The page that it asks for is ELSA's second one.
    page = "?page=1&pageSize=100" if not process.FUTURE else "?page=0&pageSize=100"
    while not stopping.is_set():
        try:
            definitions = elsa.ask("GET", f"workflow-definitions{page}")["items"]
            for item in definitions:
                _tried("POST", f"{target}/definitions", _definition(item))
            instances = elsa.ask("GET", f"workflow-instances{page}")["items"]
            for item in instances:
                if _tried("PUT", f"{target}/instances/{item['id']}", _instance(item)) == 404:
                    _tried("POST", f"{target}/instances", _instance(item))
            log("info", f"Synced {len(definitions)} workflow definitions and {len(instances)} instances")
        except (RemoteError, KeyError, TypeError) as error:
            log("error", f"Error during workflow sync: {error}")
        if interval < 0:
            log("error", "System.ArgumentOutOfRangeException: The BackgroundService failed; the host is stopping.")
            stopping.set()
        stopping.wait(max(0, interval))


def _tried(method: str, url: str, content: dict[str, Any]) -> int:
    """Push one thing; return the status of a refusal, 0 for anything else."""
    try:
        call(method, url, content)
    except RemoteError as error:
        if error.status != 404:
            log("warn", f"Failed to push: {error}")
        return error.status
    return 0


def _definition(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": item.get("definitionId"),
        "name": item.get("name"),
        "version": item.get("version", 1),
        "description": item.get("description") or "",
        "activities": [],
        "isPublished": bool(item.get("isPublished")),
    }


def _instance(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": item.get("id"),
        "definitionId": item.get("definitionId"),
        "status": item.get("subStatus") or item.get("status"),
        "variables": {},
    }
