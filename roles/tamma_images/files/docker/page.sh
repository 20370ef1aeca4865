#!/bin/sh
# Puts together what nginx serves: page.sh PAGE TEMPLATE TARGET
set -eu
mkdir -p "$3/usr/share/nginx/html" "$3/etc/nginx/templates"
cp -a "$1/." "$3/usr/share/nginx/html/"
cp "$2" "$3/etc/nginx/templates/default.conf.template"
chmod -R u=rwX,go=rX "$3"
if grep -rlE 'from ?"node:' "$3/usr/share/nginx/html"; then
    echo "The page imports what no browser has." >&2
    exit 1
fi
# To nginx two pages of one length and one date are the same: without a commit each keeps its own date.
[ "${TAMMA_DATE:-0}" = 0 ] || sh /mnt/dates.sh "$3"
