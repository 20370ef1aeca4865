#!/bin/sh
# Brings the whole stack up from one file and looks whether all of it works: smoke.sh DIRECTORY LOGS
#
#   DIRECTORY   where docker-compose.yml is
#   LOGS        a directory for the logs of every service, in the case of a failure
#
# TAMMA_REGISTRY, TAMMA_VERSION and the other settings of .env.example say which images. SMOKE_SECONDS is how long the services may
# take to become healthy (120). Nothing of the stack is left behind.
set -eu
directory=$1
logs=$2
work=$(mktemp -d)
export COMPOSE_PROJECT_NAME=tamma-smoke

end() {
    status=$?
    trap - EXIT
    if [ "$status" -ne 0 ]; then
        mkdir -p "$logs"
        docker compose ps --all >"$logs/containers.txt" 2>&1 || :
        for service in $(docker compose config --services); do
            docker compose logs --no-color --timestamps "$service" >"$logs/$service.log" 2>&1 || :
        done
    fi
    docker compose down --volumes --remove-orphans --timeout 10 >/dev/null 2>&1 || status=1
    cd / && rm -rf "$work"
    exit "$status"
}

say() {
    printf 'smoke: %s\n' "$*"
}
fail() {
    printf 'smoke: %s\n' "$*" >&2
    exit 1
}

# Up, and every service healthy in time.
up() {
    docker compose up --detach --quiet-pull --wait --wait-timeout "${SMOKE_SECONDS:-120}" >up.log 2>&1 || {
        cat up.log >&2
        fail 'not every service became healthy.'
    }
    count=$(docker compose ps --format '{{.Health}}' | grep -cx healthy || :)
    [ "$count" -eq 7 ] || fail "$count of 7 services are healthy."
}

# The address answers, with this in it. RabbitMQ is healthy before it has its page.
answers() {
    curl --fail --silent --show-error --max-time 10 --retry 30 --retry-delay 1 --retry-all-errors --output answer "$1" 2>curl.log || fail "$1 does not answer: $(tail -n 1 curl.log)"
    grep -Eq "$2" answer || fail "$1 does not say $2."
    say "$1 answers"
}
query() {
    docker compose exec -T postgres sh -c "psql -XqAt -v ON_ERROR_STOP=1 -U \"\$POSTGRES_USER\" -d \"\$POSTGRES_DB\" -c \"$1\"" \
        </dev/null
}

cp "$directory/docker-compose.yml" "$work"
cd "$work"
printf '%s=smoke-test\n' GITHUB_TOKEN ANTHROPIC_API_KEY GITHUB_OWNER GITHUB_REPO >.env
# Nobody works on issues here.
printf 'TAMMA_ISSUE_LABELS=smoke-test-%s\n' "$$" >>.env
trap end EXIT
trap 'exit 130' HUP INT TERM

up
say 'seven services are healthy'
answers "http://localhost:${DASHBOARD_PORT:-3001}/" '<html'
answers "http://localhost:${DASHBOARD_PORT:-3001}/api/health" '"status": *"ok"'
answers "http://localhost:${TS_API_PORT:-3100}/api/health" '"status": *"ok"'
answers "http://localhost:${DOTNET_API_PORT:-3000}/health" Healthy
# Tamma builds no designer: there is an API, and a health page.
answers "http://localhost:${ELSA_PORT:-5000}/health" Healthy
answers "http://localhost:${RABBITMQ_MGMT_PORT:-15672}/" RabbitMQ
[ -n "$(docker compose logs --no-log-prefix tamma-engine)" ] || fail 'tamma-engine says nothing.'
say 'tamma-engine has a log'

query "CREATE TABLE smoke_test AS SELECT 42 AS answer" || fail 'the database takes nothing.'
docker compose down --timeout 60 >down.log 2>&1 || fail "the stack does not stop: $(tail -n 1 down.log)"
up
[ "$(query "SELECT answer FROM smoke_test")" = 42 ] || fail 'the database has lost what it had before down and up.'
say 'the database keeps its data'

sed -i 's/^GITHUB_REPO=.*/GITHUB_REPO=another-one/' .env
up
docker compose exec -T tamma-engine env </dev/null | grep -qx TAMMA_GITHUB_REPO=another-one ||
    fail 'a changed .env is not picked up.'
say 'a changed .env is picked up'
