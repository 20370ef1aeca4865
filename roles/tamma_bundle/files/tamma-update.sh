#!/bin/sh
# Updates the stack beside this file to the images that .env names: a backup, pull, up, and a look whether all of it works.
#
#   ./tamma-update.sh            refuses when the backup fails; says at the end how to go back
#   ./tamma-update.sh --back     starts the images that ran before the last update
#
# TAMMA_UPDATE_SECONDS is how long the services may take to become healthy (300). TAMMA_UPDATE_BACKUP=none takes no backup: for a
# stack whose database is on another server.
set -eu
umask 077
cd "$(dirname "$0")"
# A line for each service: its name, the id of its image, and how that is fetched.
former=.tamma/former-images
# Is there while the last update went well.
updated=.tamma/updated
seconds=${TAMMA_UPDATE_SECONDS:-300}

fail() {
    printf 'tamma-update: %s\n' "$*" >&2
    exit 1
}

# What is not as it should be, a line each; nothing when every service is healthy.
unwell() {
    for service in $services; do
        containers=$(docker compose ps --all --quiet "$service")
        [ -n "$containers" ] || printf '%s has no container\n' "$service"
        for container in $containers; do
            docker inspect --format '{{.State.Status}}{{with .State.Health}} {{.Status}}{{end}}' "$container" |
                sed -e '/^running healthy$/d' -e '/^running$/d' -e "s/^/$service is /"
        done
    done
}

# Waits until all is well; else says what is not.
settle() {
    end=$(($(date +%s) + seconds))
    while :; do
        found=$(unwell)
        case $found in
        '') return 0 ;;
        *' unhealthy'*) break ;;
        esac
        [ "$(date +%s)" -lt "$end" ] || break
        sleep 1
    done
    printf '%s\n' "$found" >&2
    return 1
}

# Whether the page and both APIs answer where browsers ask for them.
answers() {
    printf '%s\n' "$services" | grep -qx tamma-dashboard || return 0
    pages='/ /api/health'
    printf '%s\n' "$services" | grep -qx tamma-api-dotnet && pages="$pages /elsa-api/health"
    for page in $pages; do
        docker compose exec -T tamma-dashboard wget -q -O /dev/null "http://127.0.0.1:80$page" </dev/null || {
            printf '%s does not answer\n' "$page" >&2
            return 1
        }
    done
}

case $seconds in
'' | *[!0-9]*) fail "TAMMA_UPDATE_SECONDS is \"$seconds\": give it a number." ;;
esac
case ${1:-} in
'') ;;
--back)
    [ -s "$former" ] || fail 'no update was made from here: there is nothing to go back to.'
    # Only those that have changed since: another name of the same image would recreate its container.
    printf 'services:\n' >"$former.yml"
    changed=
    while read -r service image reference; do
        container=$(docker compose ps --all --quiet "$service" </dev/null | head -n 1)
        now=$(docker inspect --format '{{.Image}}' "$container" 2>/dev/null) || now=
        [ "$now" != "$image" ] || continue
        printf '  %s: {image: "%s"}\n' "$service" "$reference" >>"$former.yml"
        changed="$changed $service"
    done <"$former"
    [ -n "$changed" ] || fail 'the images that run are those from before the update.'
    files=${COMPOSE_FILE:-$(sed -n "s/^COMPOSE_FILE=//p" .env | tail -n 1 | tr -d "\"'")}
    export COMPOSE_FILE="${files:-docker-compose.yml}:$former.yml"
    services=$(docker compose config --services) || fail 'Docker Compose cannot read the stack in this directory: see above.'
    docker compose up --detach --no-build || fail 'the former images do not start: see above.'
    { settle && answers; } || fail 'the former images run, and not all is well: see above, and docker compose logs.'
    printf 'The images are those from before the update. Put their version into .env before the next docker compose up.\n'
    exit 0
    ;;
*) fail "\"$1\" is nothing that it knows: --back, or nothing." ;;
esac

services=$(docker compose config --services) || fail 'Docker Compose cannot read the stack in this directory: see above.'
if [ "${TAMMA_UPDATE_BACKUP:-}" = none ]; then
    backup=
else
    backup=$(./tamma-backup.sh) || fail 'no update without a backup. Nothing was changed.'
fi

mkdir -p .tamma
trap 'rm -f "$former.new"' EXIT
if [ -s "$former" ] && [ ! -e "$updated" ] && { [ -n "$(unwell)" ] || ! answers 2>/dev/null; }; then
    # What is to come back is what ran well, and not what came of an update that did not.
    cp "$former" "$former.new"
else
    for service in $services; do
        container=$(docker compose ps --all --quiet "$service" | head -n 1)
        [ -n "$container" ] || continue
        image=$(docker inspect --format '{{.Image}}' "$container")
        reference=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" | head -n 1)
        printf '%s %s %s\n' "$service" "$image" "${reference:-$image}"
    done >"$former.new" || fail 'the images that run cannot be told: see above. Nothing was changed.'
fi

docker compose pull --quiet || fail 'an image cannot be pulled: see above. Nothing was changed.'
sync "$former.new"
rm -f "$updated"
mv "$former.new" "$former"
sync .tamma

way_back() {
    printf 'To go back: ./tamma-update.sh --back\n'
    [ -z "$backup" ] || printf 'With the database from before, once the images are back: ./tamma-restore.sh %s\n' "$backup"
}
docker compose up --detach --no-build || { way_back >&2; fail 'the update does not start: see above.'; }
{ settle && answers; } || { way_back >&2; fail 'the update runs, and not all is well: see above, and docker compose logs.'; }
date -u >"$updated.new"
sync "$updated.new"
mv "$updated.new" "$updated"
sync .tamma
printf 'Updated: every service is healthy, and the pages answer.\n'
way_back
