#!/bin/sh
# Takes a backup of the database of the stack beside this file, and reads it back: nothing counts as a backup before.
#
#   ./tamma-backup.sh                    into ./backups, of which the last 7 stay
#   TAMMA_BACKUP_DIRECTORY=/mnt/backups TAMMA_BACKUP_KEEP=30 ./tamma-backup.sh
#
# Prints the path of the backup. Status 0: it is there and whole. ./tamma-restore.sh brings it back.
set -eu
umask 077
cd "$(dirname "$0")"
directory=${TAMMA_BACKUP_DIRECTORY:-./backups}
keep=${TAMMA_BACKUP_KEEP:-7}

fail() {
    printf 'tamma-backup: %s\n' "$*" >&2
    exit 1
}

case $keep in
'' | *[!0-9]* | 0) fail "TAMMA_BACKUP_KEEP is \"$keep\": give it a number from 1." ;;
esac
found=$(docker compose config --services) || fail 'Docker Compose cannot read the stack in this directory: see above.'
printf '%s\n' "$found" | grep -qx postgres ||
    fail 'this stack has no PostgreSQL of its own: take the backup on the server that it uses.'
[ -n "$(docker compose ps --quiet --status running postgres)" ] ||
    fail 'PostgreSQL does not run: docker compose up -d postgres'
mkdir -p "$directory" || fail "$directory cannot be made: see above."

inside() {
    docker compose exec -T postgres "$@"
}
user=$(inside printenv POSTGRES_USER </dev/null) || fail 'PostgreSQL does not answer: see above.'
database=$(inside printenv POSTGRES_DB </dev/null) || fail 'PostgreSQL does not answer: see above.'

# What was cut off earlier is no backup; what grew within half a day may be the work of another run.
find "$directory" -name '.tamma-*.dump.part' -type f -mmin +720 | while IFS= read -r old; do
    rm -f "$old" "${old%.part}.log"
done

# As much as the last one took and half of it, or else as the database has.
last=$(find "$directory" -name 'tamma-*.dump' -type f | sort | tail -n 1)
if [ -n "$last" ]; then
    needed=$(($(wc -c <"$last") * 3 / 2 / 1024 + 1024))
else
    size=$(inside psql -XqAt -U "$user" -d "$database" -c 'SELECT pg_database_size(current_database())' </dev/null) ||
        fail 'PostgreSQL does not answer: see above.'
    needed=$((size / 1024 + 1024))
fi
room=$(df -Pk "$directory" | awk 'NR == 2 { print $4 }')
[ "$room" -ge "$needed" ] ||
    fail "$directory has room for $((room / 1024)) MB, and the backup may need $((needed / 1024)) MB: make room, or set TAMMA_BACKUP_DIRECTORY."

# Another run may have this second's name.
while :; do
    name=tamma-$(date -u +%Y%m%dT%H%M%SZ).dump
    part=$directory/.$name.part
    said=$directory/.$name.log
    if (set -C && : >"$part") 2>/dev/null; then
        [ -e "$directory/$name" ] || break
        rm -f "$part"
    elif [ ! -e "$part" ]; then
        fail "$directory cannot be written."
    fi
    sleep 1
done
trap 'rm -f "$part" "$said"' EXIT
trap 'exit 130' HUP INT TERM

# The dump and the number of rows come from one snapshot: psql exports it, and starts pg_dump in the middle of its own
# transaction. The dump is all that goes to standard output.
inside psql -XqAt -v ON_ERROR_STOP=1 -U "$user" -d "$database" -f - >"$part" 2>"$said" <<'SQL' ||
\o | cat >&2
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT pg_export_snapshot() AS snapshot \gset
\setenv TAMMA_SNAPSHOT :snapshot
\! pg_dump -Fc --snapshot="$TAMMA_SNAPSHOT" -U "$POSTGRES_USER" -d "$POSTGRES_DB" </dev/null || echo tamma-dump-failed >&2
SELECT 'SELECT ''tamma-rows '' || coalesce(sum(n), 0) FROM ('
    || coalesce(string_agg(format('SELECT count(*) AS n FROM ONLY %I.%I', nspname, relname), ' UNION ALL '),
                'SELECT 0 AS n') || ') AS counted'
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'e') \gexec
COMMIT;
SQL
    failed=yes
if [ "${failed:-}" ] || grep -q '^tamma-dump-failed' "$said"; then
    grep -v '^tamma-' "$said" >&2 || :
    fail "the dump failed, or $directory is full: see above. The backups that are there stay."
fi
rows=$(sed -n 's/^tamma-rows //p' "$said")
[ -n "$rows" ] || fail "PostgreSQL did not say how many rows it has: $(tail -n 1 "$said")"

# All of it, to the last byte, and every row.
inside pg_restore --list <"$part" >/dev/null || fail 'the dump has no table of contents: see above.'
read_back=$({ inside pg_restore --data-only -f - <"$part" || echo tamma-cut; } | awk '
    /^tamma-cut$/ { cut = 1 }
    inside && /^\\\.$/ { inside = 0 }
    inside { rows++ }
    /^COPY .* FROM stdin;$/ { inside = 1 }
    END { print rows + 0; exit cut }') || fail 'the dump cannot be read to its end: see above.'
[ "$read_back" -ge "$rows" ] || fail "the dump has $read_back rows, and the database had $rows."

sync "$part" || fail "$directory cannot be written: see above."
mv "$part" "$directory/$name"
sync "$directory" || fail "$directory cannot be written: see above."

find "$directory" -name 'tamma-*.dump' -type f | sort -r | tail -n +"$((keep + 1))" | while IFS= read -r old; do
    rm -f "$old"
done
printf '%s\n' "$directory/$name"
