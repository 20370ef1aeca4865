#!/bin/sh
# Brings a backup of ./tamma-backup.sh back: ./tamma-restore.sh backups/tamma-….dump
#
# It is read into a new database, which takes the place of the present one when it is whole; that one stays, under another
# name. The services stop meanwhile, and start with the images that the stack has.
set -eu
umask 077
base=$(pwd)
cd "$(dirname "$0")"

fail() {
    printf 'tamma-restore: %s\n' "$*" >&2
    exit 1
}

[ $# -eq 1 ] || fail 'name one backup: ./tamma-restore.sh backups/tamma-….dump'
case $1 in
/*) file=$1 ;;
*) file=$base/$1 ;;
esac
[ -r "$file" ] || fail "$1 is not there."
[ -n "$(docker compose ps --quiet --status running postgres)" ] ||
    fail 'PostgreSQL does not run: docker compose up -d postgres'

inside() {
    docker compose exec -T postgres "$@"
}
user=$(inside printenv POSTGRES_USER </dev/null) || fail 'PostgreSQL does not answer: see above.'
database=$(inside printenv POSTGRES_DB </dev/null) || fail 'PostgreSQL does not answer: see above.'

stamp=$(date -u +%Y%m%d%H%M%S)
inside createdb -U "$user" --maintenance-db=postgres -T template0 "tamma_new_$stamp" </dev/null ||
    fail 'no new database can be made: see above. Nothing was changed.'
discard() {
    inside dropdb -U "$user" --maintenance-db=postgres "tamma_new_$stamp" </dev/null || :
}
trap 'discard; exit 130' HUP INT TERM
inside pg_restore --exit-on-error --single-transaction --no-owner -U "$user" -d "tamma_new_$stamp" <"$file" || {
    discard
    fail "$1 cannot be restored: see above. Nothing was changed."
}
trap - HUP INT TERM

services=$(docker compose config --services | grep -vx -e postgres -e rabbitmq -e edge)
# shellcheck disable=SC2086 # one word for each service
docker compose stop $services || {
    discard
    fail 'the services do not stop: see above. The database is the one that it was.'
}
inside psql -XqAt -v ON_ERROR_STOP=1 -v db="$database" -v stamp="$stamp" -U "$user" -d postgres -f - <<'SQL' || {
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :'db' \g /dev/null
BEGIN;
SELECT format('ALTER DATABASE %I RENAME TO %I', :'db', 'tamma_before_' || :'stamp') \gexec
SELECT format('ALTER DATABASE %I RENAME TO %I', 'tamma_new_' || :'stamp', :'db') \gexec
COMMIT;
SQL
    docker compose start >/dev/null
    discard
    fail 'the databases cannot change places: see above. The database is the one that it was.'
}
docker compose start || fail 'the backup is back, and a service does not start: see above.'
printf 'The database is that of %s. The former one stays as tamma_before_%s.\n' "$1" "$stamp"
