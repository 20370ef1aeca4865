#!/bin/sh
# Gives the date of the commit to what is younger: dates.sh DIRECTORY
set -eu
date=${SOURCE_DATE_EPOCH:-0}
reference=$(mktemp)
touch -d "@$date" "$reference"
find "$1" -newer "$reference" -exec touch -h -d "@$date" {} +
rm "$reference"
