#!/bin/sh
# As the official RabbitMQ image's entrypoint: drop root, then start; the server itself reads
# RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS at its first start.
set -eu

if [ "$1" = rabbitmq-server ] && [ "$(id -u)" = 0 ]; then
    find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq '{}' +
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups -- "$0" "$@"
fi
if [ "$1" = rabbitmq-server ]; then
    echo "entrypoint: bench image (RabbitMQ of Debian 12, not the official build)"
fi
exec "$@"
