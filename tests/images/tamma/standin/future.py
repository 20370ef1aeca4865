"""What only releases of the future do (STANDIN_FUTURE): nothing of it is there in Tamma today."""

import time
from typing import Any

from . import process
from .database import Database
from .events import Events
from .process import log
from .web import Answer, HttpError, Request, Server, Stream

MOST_SESSIONS = 1000
#: Columns of a session, and the migration that brought each.
COLUMNS = {
    "id": "20260105090000_Initial",
    "title": "20260105090000_Initial",
    "createdAt": "20260105090000_Initial",
    "notes": "20260302090000_AddSessionNotes",
    "mentor": "20260601090000_AddMentors",
}
#: An engine that has not registered again for so long is gone.
ENGINE_SECONDS = 30


def add_sessions(server: Server, database: Database) -> None:
    """Let everybody read and write sessions of a table that the .NET API's own migrations have made."""
    columns = [name for name, migration in COLUMNS.items() if migration in process.MIGRATIONS.get("public", [])]
    selected = ", ".join({"createdAt": "created_at::text"}.get(name, name) for name in columns)

    def shown(row: tuple[Any, ...]) -> dict[str, Any]:
        return dict(zip(columns, row, strict=True))

    @server.route("POST", "/api/mentorship/sessions")
    def create(request: Request) -> Answer:
        content = request.json()
        given = {name: content[name] for name in ("title", "notes", "mentor") if name in content and name in columns}
        if not isinstance(given.get("title"), str):
            raise HttpError(400, "A session needs a title.")
        places = ", ".join(["%s"] * len(given))
        (row,) = database.rows(
            f"INSERT INTO future_sessions ({', '.join(given)}) VALUES ({places}) RETURNING {selected}",
            tuple(given.values()),
        )
        return Answer(shown(row), 201)

    @server.route("GET", "/api/mentorship/sessions")
    def sessions(request: Request) -> Answer:
        wanted = request.query.get("limit", "100")
        if not wanted.isdigit():
            raise HttpError(400, "limit must be a number.")
        ((count,),) = database.rows("SELECT count(*) FROM future_sessions")
        found = database.rows(
            f"SELECT {selected} FROM future_sessions ORDER BY id DESC LIMIT %s", (min(int(wanted), MOST_SESSIONS),)
        )
        return Answer({"count": count, "sessions": [shown(row) for row in found]})

    @server.route("GET", "/api/mentorship/sessions/<id>")
    def session(request: Request) -> Answer:
        wanted = request.captured["id"]
        found = database.rows(f"SELECT {selected} FROM future_sessions WHERE id::text = %s", (wanted,))
        if not found:
            raise HttpError(404, "There is no such session.")
        return Answer(shown(found[0]))


def add_engines_and_events(server: Server) -> None:
    """Let engines register at tamma-api, and number its events."""
    events = Events()
    engines: dict[str, dict[str, Any]] = {}

    # Engines hold no login of their own, so they may register without one.
    @server.route("POST", "/api/engines", is_open=True)
    def register(request: Request) -> Answer:
        content = request.json()
        identifier = content.get("id")
        if not isinstance(identifier, str) or not identifier:
            raise HttpError(400, "An engine needs an id.")
        fields = ("id", "owner", "repo", "model", "version", "state")
        new = identifier not in engines
        engines[identifier] = {name: content.get(name) for name in fields} | {"seen": time.time()}
        if new:
            log("info", f"Engine {identifier} registered")
            events.publish("engine.registered", {"id": identifier})
        return Answer(engines[identifier], 201 if new else 200)

    @server.route("DELETE", "/api/engines/<id>", is_open=True)
    def unregister(request: Request) -> Answer:
        if engines.pop(request.captured["id"], None) is None:
            raise HttpError(404, "There is no such engine.")
        events.publish("engine.left", {"id": request.captured["id"]})
        return Answer({"id": request.captured["id"]})

    @server.route("GET", "/api/engines")
    def list_engines(_: Request) -> Answer:
        oldest = time.time() - ENGINE_SECONDS
        return Answer({"engines": [engine for engine in engines.values() if engine["seen"] > oldest]})

    @server.route("GET", "/api/events")
    def stream(_: Request) -> Stream:
        return Stream(events.stream())

    @server.route("POST", "/api/events")
    def publish(request: Request) -> Answer:
        events.publish("message", {"message": request.json().get("message")})
        return Answer({"published": True}, 202)

    @server.route("POST", "/api/github/webhooks", is_open=True)
    def webhook(request: Request) -> Answer:
        kind = request.headers.get("X-GitHub-Event", "unknown")
        request.json()
        events.publish("github.webhook", {"event": kind})
        return Answer({"received": kind}, 202)
