#!/bin/sh
# What the official nginx image's entrypoint does, as far as the stack uses it: names the
# resolvers, and renders the templates.
set -eu

log() { echo "docker-entrypoint: $*"; }

name_resolvers() {
    NGINX_LOCAL_RESOLVERS=$(awk '$1 == "nameserver" { print ($2 ~ /:/) ? "[" $2 "]" : $2 }' ORS=' ' \
        /etc/resolv.conf)
    NGINX_LOCAL_RESOLVERS=${NGINX_LOCAL_RESOLVERS% }
    export NGINX_LOCAL_RESOLVERS
}

# Only variables that exist are replaced: $uri and the like are nginx's own.
render_templates() {
    output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}
    if [ ! -w "$output" ]; then
        log "ERROR: /etc/nginx/templates exists, but $output is not writable" >&2
        return
    fi
    # shellcheck disable=SC2016
    defined=$(awk 'BEGIN { for (name in ENVIRON) printf "${%s} ", name }')
    for template in /etc/nginx/templates/*.template; do
        [ -e "$template" ] || continue
        target=$output/$(basename "$template" .template)
        log "Running envsubst on $template to $target"
        envsubst "$defined" < "$template" > "$target"
    done
}

if [ "$1" = nginx ]; then
    log "bench stand-in for the dashboard, not Tamma"
    [ -z "${NGINX_ENTRYPOINT_LOCAL_RESOLVERS:-}" ] || name_resolvers
    [ ! -d /etc/nginx/templates ] || render_templates
fi
exec "$@"
