#!/bin/sh
# Gives what is younger the date of the commit, or 1970 to what has nothing to do with one: dates.sh DIRECTORY
# The date is TAMMA_DATE because no build is done anew for another SOURCE_DATE_EPOCH.
set -eu
date=${TAMMA_DATE:-0}
reference=$(mktemp)
touch -d "@$date" "$reference"
find "$1" -newer "$reference" -exec touch -h -d "@$date" {} +
rm "$reference"
