#!/bin/bash
# Makes this host a PostgreSQL and a RabbitMQ that ask for TLS, from Debian's packages. What they are told comes in
# variables: TLS (a directory with ca.pem, server.pem and server.key), ROLE, DATABASE, PASSWORD, VHOST.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# Before its package comes, because RabbitMQ takes a while to start.
install -d /etc/rabbitmq
cat > /etc/rabbitmq/rabbitmq.conf <<CONF
listeners.tcp = none
listeners.ssl.default = 5671
ssl_options.certfile = $TLS/server.pem
ssl_options.keyfile = $TLS/server.key
ssl_options.verify = verify_none
load_definitions = /etc/rabbitmq/definitions.json
CONF
python3 - > /etc/rabbitmq/definitions.json <<'PY'
import json, os

user, vhost = os.environ["ROLE"], os.environ["VHOST"]
everything = {"configure": ".*", "write": ".*", "read": ".*"}
definitions = {
    "users": [{"name": user, "password": os.environ["PASSWORD"], "tags": ""}],
    "vhosts": [{"name": vhost}],
    "permissions": [{"user": user, "vhost": vhost, **everything}],
}
print(json.dumps(definitions))
PY
chmod 0644 "$TLS/server.key"
apt-get update -qq
apt-get install -qq --no-install-recommends postgresql rabbitmq-server > /dev/null

data=$(echo /etc/postgresql/*/main)
install -o postgres -m 0600 "$TLS/server.key" "$data/server.key"
cat > "$data/conf.d/tls.conf" <<CONF
listen_addresses = '*'
ssl_cert_file = '$TLS/server.pem'
ssl_key_file = '$data/server.key'
CONF
printf 'local all all peer\nhostssl all all all scram-sha-256\n' > "$data/pg_hba.conf"
systemctl restart postgresql
runuser -u postgres -- psql -qX -v ON_ERROR_STOP=1 -v role="$ROLE" -v database="$DATABASE" -v password="$PASSWORD" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role" ENCODING 'UTF8' TEMPLATE template0;
SQL
