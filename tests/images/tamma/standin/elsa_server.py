"""Plays elsa-server: keeps workflows in the schema "Elsa" and runs them.

One fixed key and one fixed login open everything. There is no page, and it knows no broker.
"""

import os
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import dotnet, jwt, process
from .database import Database, Error, postgres_error
from .dotnet import Configuration
from .process import Unhandled, log
from .web import Answer, HttpError, Request, Server
from .workflows import Definition, Unusable, Workflows

KEY = "00000000-0000-0000-0000-000000000000"
LOGIN = ("admin", "password")
DEFAULT_SIGNING_KEY = "a-public-default-that-stands-in-the-image-for-everybody"
#: Bytes that HS256 wants.
SHORTEST_SIGNING_KEY = 32
TOKEN_SECONDS = 3600
SCHEMA = "Elsa"
#: What ELSA 3.0.0 brings by itself.
MIGRATIONS = ("20231015122234_Initial", "20231024160952_Initial")
API = "/elsa/api"


def main(_: list[str]) -> int:
    configuration = Configuration()
    dotnet.start_logging(configuration, "tamma-elsa", 1)
    process.begin("elsa-server")
    _keep_keys()
    try:
        database = Database(configuration.database())
        database.migrate(SCHEMA, process.MIGRATIONS.get(SCHEMA, MIGRATIONS), SCHEMA)
    except ValueError as error:
        raise Unhandled(f"System.ArgumentException: {error}") from None
    except Error as error:
        raise Unhandled(postgres_error(error)) from None
    dotnet.crash_if_asked()
    server = configuration.server(5000)
    workflows = Workflows(database)
    _add_routes(server, workflows, configuration.get("Elsa:Identity:SigningKey", DEFAULT_SIGNING_KEY))
    workflows.begin()
    return dotnet.serve(server)


def _keep_keys() -> None:
    """Keep the keys of data protection below the home, or in memory without one."""
    folder = Path(os.environ.get("HOME", "/nonexistent")) / ".aspnet" / "DataProtection-Keys"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            moment = datetime.now(UTC).isoformat()
            (folder / f"key-{uuid.uuid4()}.xml").write_text(
                f'<key version="1"><creationDate>{moment}</creationDate></key>'
            )
    except OSError:
        log("warn", "Neither user profile nor HKLM registry available. Using an ephemeral key repository.")


def _add_routes(server: Server, workflows: Workflows, signing_key: str) -> None:
    def authorize(request: Request) -> None:
        scheme, _, value = (request.headers.get("Authorization") or "").partition(" ")
        if not ((scheme == "ApiKey" and value == KEY) or (scheme == "Bearer" and jwt.valid(value, signing_key))):
            raise HttpError(401, "Unauthorized")

    server.authorize = authorize

    def wanted(request: Request) -> Definition:
        definition = workflows.published(request.captured["id"])
        if definition is None:
            raise HttpError(404, "Not found")
        return definition

    @server.route("GET", "/health", is_open=True)
    def health(_: Request) -> Answer:
        return Answer("Healthy", content_type="text/plain")

    @server.route("POST", f"{API}/identity/login", is_open=True)
    def login(request: Request) -> Answer:
        content = request.json()
        if (content.get("username"), content.get("password")) != LOGIN:
            return Answer({"isAuthenticated": False, "accessToken": None, "refreshToken": None})
        if len(signing_key.encode()) < SHORTEST_SIGNING_KEY:
            raise ValueError("IDX10720: Unable to create KeyedHashAlgorithm for algorithm HS256")
        claims = {"name": LOGIN[0], "permissions": "*", "exp": int(time.time()) + TOKEN_SECONDS}
        token = jwt.sign(claims, signing_key)
        return Answer({"isAuthenticated": True, "accessToken": token, "refreshToken": token})

    @server.route("GET", f"{API}/workflow-definitions")
    def definitions(request: Request) -> Answer:
        found, count = workflows.definitions(*_page(request))
        return Answer({"items": [item.shown() for item in found], "totalCount": count})

    @server.route("POST", f"{API}/workflow-definitions")
    def save(request: Request) -> Answer:
        content = request.json()
        model = content.get("model")
        if not isinstance(model, dict):
            raise HttpError(400, "The body has no model.")
        try:
            return Answer(workflows.save(model, content.get("publish") is True).shown(), 201)
        except Unusable as error:
            raise HttpError(400, str(error)) from None

    @server.route("POST", f"{API}/workflow-definitions/<id>/execute")
    def execute(request: Request) -> Answer:
        definition, instance = wanted(request), uuid.uuid4().hex
        state = workflows.run(definition, instance)
        return Answer({"workflowState": {"id": instance, "subStatus": state}})

    @server.route("POST", f"{API}/workflow-definitions/<id>/dispatch")
    def dispatch(request: Request) -> Answer:
        definition, instance = wanted(request), uuid.uuid4().hex
        workflows.dispatch(definition, instance)
        return Answer({"workflowInstanceId": instance})

    @server.route("GET", f"{API}/workflow-instances")
    def instances(request: Request) -> Answer:
        status = request.query.get("subStatus") or request.query.get("status", "")
        found, count = workflows.instances(*_page(request), status)
        return Answer({"items": found, "totalCount": count})

    @server.route("POST", f"{API}/bulk-actions/delete/workflow-instances/by-id")
    def delete(request: Request) -> Answer:
        identifiers = request.json().get("ids")
        if not isinstance(identifiers, list):
            raise HttpError(400, "The body has no ids.")
        return Answer({"deletedCount": workflows.delete([str(item) for item in identifiers])})

    # Started by whoever asks: a workflow's path has no login of its own.
    for method in ("GET", "POST"):

        @server.route(method, "/workflows/<path...>", is_open=True)
        def endpoint(request: Request) -> Answer:
            definition = workflows.at_path(request.captured["path"])
            if definition is None:
                raise HttpError(404, "Not found")
            workflows.run(definition, uuid.uuid4().hex, triggered=True)
            return Answer("", content_type="text/plain")


def _page(request: Request) -> tuple[int, int]:
    """Return which page is wanted, counted from 0, and how long a page is."""

    def number(name: str, default: int) -> Any:
        text = request.query.get(name, "")
        return int(text) if text.isdigit() else default

    return number("page", 0), number("pageSize", 100)
