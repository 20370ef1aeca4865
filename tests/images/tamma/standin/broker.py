"""RabbitMQ: one connection that is kept, a durable queue, and its consumer."""

import json
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ProbableAuthenticationError

from .process import log, stopping

EXCHANGE = "elsa.workflows"
QUEUE = "elsa.workflow-dispatch"
SECONDS_TO_RETRY = 1
SECONDS_TO_PUBLISH = 5


@dataclass(frozen=True)
class Login:
    """Where the broker is and who we are there. tls_name: the name in its certificate; empty without TLS."""

    host: str
    port: int
    vhost: str
    user: str
    password: str
    tls_name: str


class Broker:
    """Consumes dispatched workflows; connects again whenever the connection is lost."""

    def __init__(self, login: Login, handle: Callable[[dict[str, Any]], None]) -> None:
        # As .NET, OpenSSL trusts the system's directory of authorities and the file that SSL_CERT_FILE names.
        tls = pika.SSLOptions(ssl.create_default_context(), login.tls_name) if login.tls_name else None
        self._parameters = pika.ConnectionParameters(
            host=login.host,
            port=login.port,
            virtual_host=login.vhost,
            credentials=pika.PlainCredentials(login.user, login.password),
            ssl_options=tls,
            client_properties={"connection_name": "Tamma.ElsaServer"},
            heartbeat=30,
            blocked_connection_timeout=30,
            socket_timeout=5,
        )
        self._handle = handle
        self._channel: BlockingChannel | None = None
        threading.Thread(target=self._keep_connected, daemon=True).start()

    @property
    def connected(self) -> bool:
        return self._channel is not None

    def publish(self, message: dict[str, Any]) -> None:
        """Hand a message to RabbitMQ and wait until it has it on disk."""
        channel = self._channel
        if channel is None:
            raise ConnectionError("not connected to RabbitMQ")
        done: Future[None] = Future()

        def send() -> None:
            try:
                channel.basic_publish(
                    EXCHANGE, QUEUE, json.dumps(message).encode(), pika.BasicProperties(delivery_mode=2)
                )
                done.set_result(None)
            except AMQPError as error:
                done.set_exception(error)

        channel.connection.add_callback_threadsafe(send)
        done.result(SECONDS_TO_PUBLISH)

    def _keep_connected(self) -> None:
        while not stopping.is_set():
            try:
                self._consume()
            except ProbableAuthenticationError:
                log("error", "RabbitMQ refused the login (ACCESS_REFUSED)")
            except (AMQPError, OSError) as error:
                log("warn", f"RabbitMQ is not reachable: {type(error).__name__}")
            finally:
                self._channel = None
            stopping.wait(SECONDS_TO_RETRY)

    def _consume(self) -> None:
        with pika.BlockingConnection(self._parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.exchange_declare(EXCHANGE, "direct", durable=True)
            channel.queue_declare(QUEUE, durable=True)
            channel.queue_bind(QUEUE, EXCHANGE, QUEUE)
            channel.basic_qos(prefetch_count=10)
            channel.basic_consume(QUEUE, self._receive)
            self._channel = channel
            log("info", "Connected to RabbitMQ")
            while not stopping.is_set():
                connection.process_data_events(time_limit=0.5)

    def _receive(self, channel: BlockingChannel, method: Any, _: Any, body: bytes) -> None:
        self._handle(json.loads(body))
        channel.basic_ack(method.delivery_tag)
