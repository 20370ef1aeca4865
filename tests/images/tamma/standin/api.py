"""Plays tamma-api: engines and workflows in memory, and the event stream of the dashboard."""

import argparse
import os
import time
from typing import Any

from . import database_url, jwt, process, typescript
from .database import Database, Error
from .events import Events
from .process import Refusal, log
from .web import Answer, HttpError, Request, Server, Stream

#: An engine that has not registered again for so long is gone.
ENGINE_SECONDS = 30


def main(words: list[str]) -> int:
    process.begin("tamma-api")
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "3100")))
    options, _ = parser.parse_known_args(words)
    settings = typescript.load()
    secret = os.environ.get("TAMMA_JWT_SECRET", "")
    with_login = os.environ.get("TAMMA_ENABLE_AUTH", "").lower() == "true"
    if with_login and not secret:
        raise Refusal("TAMMA_JWT_SECRET is required when TAMMA_ENABLE_AUTH=true")
    database = _database()
    server = Server(options.port, "/api/health")
    _add_routes(server, secret if with_login else "", database)
    log("info", f"Serving {settings.owner}/{settings.repo}; login {'on' if with_login else 'off'}")
    server.start()
    process.wait_for_stop()
    server.stop()
    return 0


def _database() -> Database | None:
    """Log in to the database that DATABASE_URL names, when it names one."""
    url = typescript.secret("DATABASE_URL")
    if not url:
        return None
    try:
        settings = database_url.node_postgres(url)
    except ValueError as error:
        raise Refusal(str(error)) from None
    database = Database(settings, "tamma-api")
    try:
        database.rows("SELECT 1")
    except Error as error:
        raise Refusal(f"Cannot log in to the database: {error}".strip()) from None
    log("info", f"Connected to PostgreSQL at {settings['host']}")
    return database


def _add_routes(server: Server, secret: str, database: Database | None) -> None:
    events = Events()
    engines: dict[str, dict[str, Any]] = {}
    definitions: dict[str, dict[str, Any]] = {}

    def authorize(request: Request) -> None:
        scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
        if secret and not (scheme == "Bearer" and jwt.valid(token, secret)):
            raise HttpError(401, "A valid bearer token is needed.")

    @server.route("GET", "/api/health")
    def health(_: Request) -> Answer:
        if database is not None and not database.answers():
            return Answer({"status": "error", "version": process.VERSION, "database": False}, 503)
        return Answer({"status": "ok", "version": process.VERSION})

    # Engines hold no login of their own, so they may register without one.
    @server.route("POST", "/api/engines")
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

    @server.route("DELETE", "/api/engines/<id>")
    def unregister(request: Request) -> Answer:
        if engines.pop(request.captured["id"], None) is None:
            raise HttpError(404, "There is no such engine.")
        events.publish("engine.left", {"id": request.captured["id"]})
        return Answer({"id": request.captured["id"]})

    @server.route("GET", "/api/engines")
    def list_engines(request: Request) -> Answer:
        authorize(request)
        oldest = time.time() - ENGINE_SECONDS
        return Answer({"engines": [engine for engine in engines.values() if engine["seen"] > oldest]})

    @server.route("POST", "/api/workflows/definitions")
    def sync(request: Request) -> Answer:
        authorize(request)
        content = request.json()
        received = content.get("definitions", [content])
        for definition in received:
            if not isinstance(definition, dict) or "definitionId" not in definition:
                raise HttpError(400, "A workflow definition needs a definitionId.")
        before = dict(definitions)
        definitions.update({definition["definitionId"]: definition for definition in received})
        if definitions != before:
            log("info", f"{len(received)} workflow definitions received")
            events.publish("workflows.synced", {"count": len(received)})
        return Answer({"synced": len(received)})

    @server.route("GET", "/api/workflows/definitions")
    def list_definitions(request: Request) -> Answer:
        authorize(request)
        return Answer({"definitions": list(definitions.values())})

    @server.route("GET", "/api/events")
    def stream(request: Request) -> Stream:
        authorize(request)
        return Stream(events.stream())

    @server.route("POST", "/api/events")
    def publish(request: Request) -> Answer:
        authorize(request)
        events.publish("message", {"message": request.json().get("message")})
        return Answer({"published": True}, 202)

    @server.route("POST", "/api/github/webhooks")
    def webhook(request: Request) -> Answer:
        kind = request.headers.get("X-GitHub-Event", "unknown")
        request.json()
        events.publish("github.webhook", {"event": kind})
        return Answer({"received": kind}, 202)
