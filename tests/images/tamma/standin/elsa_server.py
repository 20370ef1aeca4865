"""Plays elsa-server: workflow definitions in PostgreSQL, dispatches through RabbitMQ."""

import uuid
from typing import Any

from . import process
from .broker import Broker, Login
from .database import Database, Error
from .dotnet import Configuration, unhandled
from .process import log
from .web import Answer, HttpError, Request, Server

SHORTEST_SIGNING_KEY = 32
DESIGNER = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>ELSA designer (stand-in)</title>
<h1>ELSA designer (stand-in)</h1>
<p>This is the test bench playing the ELSA server {version} of Tamma.</p>
<ul>{definitions}</ul></html>"""


def main(_: list[str]) -> int:
    process.begin("elsa-server")
    configuration = Configuration()
    if len(configuration.get("Elsa:Identity:SigningKey")) < SHORTEST_SIGNING_KEY:
        raise unhandled(
            "System.ArgumentOutOfRangeException: Elsa:Identity:SigningKey must have at least "
            f"{SHORTEST_SIGNING_KEY} characters."
        )
    database = Database(configuration.database(), "Tamma.ElsaServer")
    try:
        database.migrate("elsa", process.MIGRATIONS.get("elsa", []))
    except Error as error:
        raise unhandled(f"Npgsql.NpgsqlException: {error}".strip()) from None
    if process.CRASH:
        raise unhandled("System.InvalidOperationException: told to crash after the migration")
    broker = Broker(_broker_login(configuration), lambda message: _finish(database, message))
    server = Server(configuration.port(5000), "/health")
    _add_routes(server, database, broker, configuration.get("Elsa:ApiKey"))
    server.start()
    process.wait_for_stop()
    server.stop()
    return 0


def _broker_login(configuration: Configuration) -> Login:
    """Say where RabbitMQ is, in the names of its .NET client's ConnectionFactory."""
    tls = configuration.get("RabbitMq:Ssl:Enabled").lower() == "true"
    name = configuration.get("RabbitMq:Ssl:ServerName")
    if tls and not name:
        raise unhandled("RabbitMQ.Client.Exceptions.BrokerUnreachableException: RemoteCertificateNameMismatch")
    return Login(
        configuration.get("RabbitMq:HostName", "localhost"),
        int(configuration.get("RabbitMq:Port", "5671" if tls else "5672")),
        configuration.get("RabbitMq:VirtualHost", "/"),
        configuration.get("RabbitMq:Username", "guest"),
        configuration.get("RabbitMq:Password", "guest"),
        name if tls else "",
    )


def _add_routes(server: Server, database: Database, broker: Broker, api_key: str) -> None:
    def authorize(request: Request) -> None:
        if api_key and request.headers.get("Authorization") != f"ApiKey {api_key}":
            raise HttpError(401, "An API key is needed.")

    @server.route("GET", "/health")
    def health(_: Request) -> Answer:
        checks = {"postgres": database.answers(), "rabbitmq": broker.connected}
        healthy = all(checks.values())
        state = {"status": "Healthy" if healthy else "Unhealthy", "version": process.VERSION, **checks}
        return Answer(state, 200 if healthy else 503)

    @server.route("GET", "/")
    def designer(_: Request) -> Answer:
        items = "".join(f"<li>{definition['name']}</li>" for definition in _definitions(database))
        page = DESIGNER.format(version=process.VERSION, definitions=items)
        return Answer(page, content_type="text/html")

    @server.route("GET", "/elsa/api/workflow-definitions")
    def definitions(request: Request) -> Answer:
        authorize(request)
        found = _definitions(database)
        return Answer({"items": found, "totalCount": len(found)})

    @server.route("POST", "/elsa/api/workflow-definitions/<id>/dispatch")
    def dispatch(request: Request) -> Answer:
        authorize(request)
        definition = request.captured["id"]
        if definition not in {known["definitionId"] for known in _definitions(database)}:
            raise HttpError(404, "There is no such workflow definition.")
        instance = str(uuid.uuid4())
        broker.publish({"id": instance, "definitionId": definition})
        return Answer({"workflowInstanceId": instance}, 202)

    @server.route("GET", "/elsa/api/workflow-instances")
    def instances(request: Request) -> Answer:
        authorize(request)
        ((count,),) = database.rows("SELECT count(*) FROM elsa.workflow_instances")
        return Answer({"totalCount": count})


def _definitions(database: Database) -> list[dict[str, Any]]:
    found = database.rows("SELECT id, name, version FROM elsa.workflow_definitions ORDER BY id")
    return [{"definitionId": row[0], "name": row[1], "version": row[2]} for row in found]


def _finish(database: Database, message: dict[str, Any]) -> None:
    """Store a dispatched workflow as finished; a message that comes twice counts once."""
    with database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO elsa.workflow_instances (id, definition_id) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (message["id"], message["definitionId"]),
        )
    log("info", f"Workflow instance {message['id']} finished")
