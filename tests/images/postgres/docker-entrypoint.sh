#!/bin/bash
# Does what the official PostgreSQL image's entrypoint does, as far as its contract goes: an empty
# data directory is initialised from POSTGRES_*, the files of /docker-entrypoint-initdb.d run in
# order against a temporary server without TCP, and only then the real server starts.
set -euo pipefail
shopt -s nullglob

log() { echo "$(date -u '+%F %T.%3N UTC') entrypoint: $*"; }
fail() { log "$*" >&2; exit 1; }

# NAME, or the contents of the file that NAME_FILE names, ends up in NAME.
from_file() {
    local name=$1 file="${1}_FILE"
    [[ -z ${!name:-} || -z ${!file:-} ]] || fail "both $name and $file are set (but are exclusive)"
    if [[ -n ${!file:-} ]]; then
        export "$name=$(< "${!file}")"
    fi
    unset "$file"
}

initialise() {
    if [[ -z ${POSTGRES_PASSWORD:-} && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
        fail "Database is uninitialized and superuser password is not specified: set POSTGRES_PASSWORD."
    fi
    local method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    # The arguments are a shell-quoted list, as in the official image.
    eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\${POSTGRES_PASSWORD:-}\") \
        --encoding=UTF8 ${POSTGRES_INITDB_ARGS:-}"
    printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"

    log "temporary server for the initialisation"
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    if [[ $POSTGRES_DB != postgres ]]; then
        psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$POSTGRES_USER" -d postgres -v db="$POSTGRES_DB" \
            <<< 'CREATE DATABASE :"db";'
    fi
    run_init_files
    PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
    log "initialisation complete"
}

run_init_files() {
    local file
    local -a psql=(psql -v ON_ERROR_STOP=1 --no-psqlrc -U "$POSTGRES_USER" -d "$POSTGRES_DB")
    for file in /docker-entrypoint-initdb.d/*; do
        # shellcheck source=/dev/null
        case $file in
            *.sh)     log "running $file"; if [[ -x $file ]]; then "$file"; else . "$file"; fi ;;
            *.sql)    log "running $file"; "${psql[@]}" -f "$file" ;;
            *.sql.gz) log "running $file"; gunzip -c "$file" | "${psql[@]}" ;;
            *)        log "ignoring $file" ;;
        esac
    done
}

[[ ${1:-} != -* ]] || set -- postgres "$@"
if [[ ${1:-} != postgres ]]; then
    exec "$@"
fi

# At every start, and as root first: the server has the password in its environment, as in the official image.
from_file POSTGRES_PASSWORD
from_file POSTGRES_USER
from_file POSTGRES_DB
from_file POSTGRES_INITDB_ARGS
export POSTGRES_USER=${POSTGRES_USER:-postgres}
export POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}

if [[ $(id -u) == 0 ]]; then
    mkdir -p "$PGDATA"
    find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
    chown postgres /var/run/postgresql
    chmod 0700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    initialise
fi
log "bench image (PostgreSQL of Debian, not the official build)"
exec "$@"
