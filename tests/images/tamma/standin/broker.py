"""A client of RabbitMQ for the tests: `python3 -m standin.broker send TEXT`, or `take`.

No service of Tamma uses the broker. This takes the login that ELSA is told of, and a durable queue.
"""

import ssl
import sys

import pika

from .dotnet import Configuration

QUEUE = "standin"


def main(words: list[str]) -> int:
    configuration = Configuration()
    tls = configuration.get("RabbitMq:Ssl:Enabled").lower() == "true"
    # As .NET, OpenSSL trusts the system's directory of authorities and the file that SSL_CERT_FILE names.
    name = configuration.get("RabbitMq:Ssl:ServerName")
    parameters = pika.ConnectionParameters(
        host=configuration.get("RabbitMq:HostName", "localhost"),
        port=int(configuration.get("RabbitMq:Port", "5671" if tls else "5672")),
        virtual_host=configuration.get("RabbitMq:VirtualHost", "/"),
        credentials=pika.PlainCredentials(
            configuration.get("RabbitMq:Username", "guest"), configuration.get("RabbitMq:Password", "guest")
        ),
        ssl_options=pika.SSLOptions(ssl.create_default_context(), name) if tls else None,
    )
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(QUEUE, durable=True)
        if words[:1] == ["send"]:
            channel.basic_publish("", QUEUE, words[1].encode(), pika.BasicProperties(delivery_mode=2))
            return 0
        _, _, body = channel.basic_get(QUEUE, auto_ack=True)
        if body is None:
            return 1
        print(body.decode())
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
