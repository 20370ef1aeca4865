"""Plays tamma-api: workflows in memory, an event stream without numbers, and an engine of its own."""

import argparse
import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from . import database_url, future, jwt, process, typescript
from .database import Database, Error
from .engine import Engine
from .process import Refusal, log
from .web import Answer, HttpError, Request, Server, Stream

HEALTH = "/api/health"
#: Its limit for each peer, whom a proxy is as well.
REQUESTS, PER_SECONDS = 100, 60
#: How long an open stream holds it when it is told to stop.
SECONDS_TO_STOP = 10
#: How often the stream of its engine's log says that it is there; nothing else comes while that engine does nothing.
HEARTBEAT_SECONDS = 15
#: What node-postgres opens at the most.
NODE_POSTGRES_POOL = "10"
#: What answers something that nobody here fills.
EMPTY: dict[str, Any] = {
    "/api/engine/plan": None,
    "/api/engine/history": [],
    "/api/config/agents": {},
    "/api/config/security": {},
    "/api/config/prompts": {},
    "/api/providers/health": [],
    "/api/providers/diagnostics": [],
    "/api/knowledge-base/index/status": {"status": "idle"},
    "/api/knowledge-base/mcp/servers": [],
    "/api/knowledge-base/vector-db/collections": [],
}


def main(words: list[str]) -> int:
    process.begin("tamma-api")
    parser = argparse.ArgumentParser()
    # Flags, and no variables.
    parser.add_argument("--port", type=int, default=3100)
    parser.add_argument("--host", default="0.0.0.0")
    options, _ = parser.parse_known_args(words)
    settings = typescript.load()
    secret = os.environ.get("TAMMA_JWT_SECRET", "")
    with_login = os.environ.get("TAMMA_ENABLE_AUTH", "").lower() == "true"
    if with_login and not secret:
        raise Refusal("TAMMA_JWT_SECRET is required when TAMMA_ENABLE_AUTH=true")
    database = _database() if process.FUTURE else None
    server = Server(options.host, options.port, HEALTH)
    _protect(server, secret if with_login else "")
    _add_routes(server, database, Engine(settings, os.environ.get("TAMMA_APPROVAL_MODE", "cli")))
    if process.FUTURE:
        future.add_engines_and_events(server)
    log("info", f"Serving {settings.owner}/{settings.repo}; login {'on' if with_login else 'off'}")
    server.start()
    process.wait_for_stop()
    return 0 if server.stop(SECONDS_TO_STOP) else 1


def _database() -> Database | None:
    """Log in to the database that DATABASE_URL names, when it names one: nothing of Tamma does today."""
    url = typescript.secret("DATABASE_URL")
    if not url:
        return None
    try:
        settings = database_url.node_postgres(url)
    except ValueError as error:
        raise Refusal(str(error)) from None
    database = Database({**settings, "application_name": "tamma-api", "pool": NODE_POSTGRES_POOL})
    try:
        database.rows("SELECT 1")
    except Error as error:
        raise Refusal(f"Cannot log in to the database: {error}".strip()) from None
    log("info", f"Connected to PostgreSQL at {settings['host']}")
    return database


def _protect(server: Server, secret: str) -> None:
    """Limit everybody and, with a secret, let nobody in: the login is a placeholder."""
    lock = threading.Lock()
    #: Peer -> when its minute began, and how often it has asked since.
    asked: dict[str, tuple[float, int]] = {}

    def guard(request: Request) -> None:
        if process.FUTURE or request.path == HEALTH:
            return
        with lock:
            now = time.monotonic()
            began, times = asked.get(request.peer, (now, 0))
            began, times = (now, 0) if now - began >= PER_SECONDS else (began, times)
            asked[request.peer] = began, times + 1
        if times >= REQUESTS:
            raise HttpError(429, "Rate limit exceeded, retry in 1 minute")

    def authorize(request: Request) -> None:
        scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
        if secret and not (process.FUTURE and scheme == "Bearer" and jwt.valid(token, secret)):
            raise HttpError(401, "Unauthorized")

    server.guard, server.authorize = guard, authorize

    @server.route("POST", "/api/auth/login", is_open=True)
    def login(_: Request) -> Answer:
        raise HttpError(401, "Invalid credentials")


def _add_routes(server: Server, database: Database | None, engine: Engine) -> None:
    @server.route("GET", HEALTH, is_open=True)
    def health(_: Request) -> Answer:
        if not process.FUTURE:
            return Answer({"status": "ok", "timestamp": _moment()})
        healthy = database is None or database.answers()
        return Answer({"status": "ok" if healthy else "error", "version": process.VERSION}, 200 if healthy else 503)

    @server.route("GET", "/api/engine/state")
    def state(_: Request) -> Answer:
        return Answer({"state": engine.state, "issue": None})

    @server.route("GET", "/api/engine/stats")
    def stats(_: Request) -> Answer:
        return Answer({"issuesProcessed": engine.processed, "totalCostUsd": 0})

    @server.route("POST", "/api/engine/command")
    def command(request: Request) -> Answer:
        if request.json().get("type") != "start":
            raise HttpError(400, "Unknown command")
        engine.begin()
        return Answer({"accepted": True}, 202)

    @server.route("GET", "/api/engine/events/state")
    def stream(_: Request) -> Stream:
        return Stream(_states(engine))

    @server.route("GET", "/api/engine/events/logs")
    def log_stream(_: Request) -> Stream:
        return Stream(_heartbeats())

    @server.route("GET", "/api/dashboard/summary")
    def summary(_: Request) -> Answer:
        return Answer({"engineCount": 1, "activeEngines": int(engine.state != "IDLE")})

    for path, content in EMPTY.items():
        server.route("GET", path)(lambda _, content=content: Answer(content))
    _add_workflows(server)


def _states(engine: Engine) -> Iterator[str]:
    """Tell the engine's state once a second, whatever happens to the service."""
    while not (process.FUTURE and process.stopping.is_set()):
        yield f"event: state\ndata: {json.dumps({'state': engine.state, 'timestamp': _moment()})}\n\n"
        time.sleep(1)


def _heartbeats() -> Iterator[str]:
    """Tell nothing but that it is there, whatever happens to the service; an empty text is a look at the connection."""
    last = time.monotonic()
    while not (process.FUTURE and process.stopping.is_set()):
        time.sleep(0.2)
        due = time.monotonic() - last >= HEARTBEAT_SECONDS
        last = time.monotonic() if due else last
        yield ":heartbeat\n\n" if due else ""


def _add_workflows(server: Server) -> None:
    """What the sync pushes, kept until the service ends."""
    kept: dict[str, dict[str, dict[str, Any]]] = {"definitions": {}, "instances": {}}
    needed = {"definitions": ("id", "name", "version"), "instances": ("id", "definitionId", "status")}

    def checked(kind: str, request: Request) -> dict[str, Any]:
        content = request.json()
        missing = [name for name in needed[kind] if name not in content]
        if missing:
            raise HttpError(400, f"body must have required property '{missing[0]}'")
        return content

    def add(kind: str) -> None:
        known = kept[kind]

        @server.route("GET", f"/api/workflows/{kind}")
        def listed(_: Request) -> Answer:
            return Answer(list(known.values()))

        @server.route("POST", f"/api/workflows/{kind}")
        def push(request: Request) -> Answer:
            content = checked(kind, request)
            new = content["id"] not in known
            known[content["id"]] = content
            return Answer(content, 201 if new else 200)

        @server.route("PUT", f"/api/workflows/{kind}/<id>")
        def change(request: Request) -> Answer:
            if request.captured["id"] not in known:
                raise HttpError(404, "Not found")
            known[request.captured["id"]] |= checked(kind, request)
            return Answer(known[request.captured["id"]])

    for kind in kept:
        add(kind)


def _moment() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
