"""Plays tamma-api-dotnet: mentorship sessions in PostgreSQL, workflows pushed to tamma-api."""

import threading
import time
from typing import Any

from . import jwt, process
from .database import Database, Error
from .dotnet import ENVIRONMENT, Configuration, unhandled
from .process import log, stopping
from .remote import RemoteError, call
from .web import Answer, HttpError, Request, Server

SYNC_TOKEN_SECONDS = 300
MOST_SESSIONS = 1000
#: Columns of a session, and the migration that brought each.
COLUMNS = {
    "id": "20260105090000_Initial",
    "title": "20260105090000_Initial",
    "createdAt": "20260105090000_Initial",
    "notes": "20260302090000_AddSessionNotes",
    "mentor": "20260601090000_AddMentors",
}


def main(_: list[str]) -> int:
    process.begin("tamma-api-dotnet")
    configuration = Configuration()
    secret = configuration.get("Jwt:Secret")
    if ENVIRONMENT != "Development" and not secret and not configuration.get("Jwt:Authority"):
        raise unhandled(
            "System.InvalidOperationException: Jwt:Secret or Jwt:Authority must be set outside Development."
        )
    database = Database(configuration.database(), "Tamma.Api")
    try:
        database.migrate("tamma", process.MIGRATIONS.get("tamma", []))
    except Error as error:
        # As the published image does: it logs the error and goes on to answer /health.
        log("error", f"An error occurred while migrating the database: {error}".strip())
    if process.CRASH:
        raise unhandled("System.InvalidOperationException: told to crash after the migration")
    server = Server(configuration.port(3000), "/health")
    _add_routes(server, database)
    server.start()
    threading.Thread(target=_sync_workflows, args=(configuration, secret), daemon=True).start()
    process.wait_for_stop()
    server.stop()
    return 0


def _add_routes(server: Server, database: Database) -> None:
    columns = [name for name, migration in COLUMNS.items() if migration in process.MIGRATIONS.get("tamma", [])]
    selected = ", ".join({"createdAt": "created_at::text"}.get(name, name) for name in columns)

    @server.route("GET", "/health")
    def health(_: Request) -> Answer:
        return Answer({"status": "Healthy", "version": process.VERSION})

    @server.route("POST", "/api/mentorship/sessions")
    def create(request: Request) -> Answer:
        content = request.json()
        given = {name: content[name] for name in ("title", "notes", "mentor") if name in content and name in columns}
        if not isinstance(given.get("title"), str):
            raise HttpError(400, "A session needs a title.")
        places = ", ".join(["%s"] * len(given))
        (row,) = database.rows(
            f"INSERT INTO tamma.mentorship_sessions ({', '.join(given)}) VALUES ({places}) RETURNING {selected}",
            tuple(given.values()),
        )
        return Answer(dict(zip(columns, row, strict=True)), 201)

    @server.route("GET", "/api/mentorship/sessions")
    def sessions(request: Request) -> Answer:
        wanted = request.query.get("limit", "100")
        if not wanted.isdigit():
            raise HttpError(400, "limit must be a number.")
        ((count,),) = database.rows("SELECT count(*) FROM tamma.mentorship_sessions")
        found = database.rows(
            f"SELECT {selected} FROM tamma.mentorship_sessions ORDER BY id DESC LIMIT %s",
            (min(int(wanted), MOST_SESSIONS),),
        )
        return Answer({"count": count, "sessions": [_session(columns, row) for row in found]})

    @server.route("GET", "/api/mentorship/sessions/<id>")
    def session(request: Request) -> Answer:
        if not request.captured["id"].isdigit():
            raise HttpError(404, "There is no such session.")
        found = database.rows(
            f"SELECT {selected} FROM tamma.mentorship_sessions WHERE id = %s", (request.captured["id"],)
        )
        if not found:
            raise HttpError(404, "There is no such session.")
        return Answer(_session(columns, found[0]))


def _session(columns: list[str], row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(columns, row, strict=True))


def _sync_workflows(configuration: Configuration, secret: str) -> None:
    """Push ELSA's workflow definitions to tamma-api: once at the start, then again and again."""
    elsa = configuration.get("Elsa:ServerUrl").rstrip("/")
    target = configuration.get("TammaServer:Url").rstrip("/")
    if not elsa or not target:
        log("warn", "WorkflowSync: Elsa:ServerUrl or TammaServer:Url is not set; nothing to do")
        return
    interval = float(configuration.get("WorkflowSync:PollIntervalSeconds", "30"))
    api_key = configuration.get("Elsa:ApiKey")
    pause, healthy = 0.0, False
    while not stopping.wait(pause):
        elsa_headers = {"Authorization": f"ApiKey {api_key}"} if api_key else {}
        headers = {}
        if secret:
            claims = {"sub": "workflow-sync", "exp": int(time.time()) + SYNC_TOKEN_SECONDS}
            headers["Authorization"] = f"Bearer {jwt.sign(claims, secret)}"
        try:
            found = call("GET", f"{elsa}/elsa/api/workflow-definitions", headers=elsa_headers)
            definitions = {"definitions": found["items"]}
            call("POST", f"{target}/api/workflows/definitions", definitions, headers)
        except RemoteError as error:
            log("warn", f"WorkflowSync: {error}")
            healthy, pause = False, min(interval, 2.0)
            continue
        if not healthy:
            log("info", f"WorkflowSync: pushed {len(found['items'])} definitions to {target}")
        healthy, pause = True, interval
