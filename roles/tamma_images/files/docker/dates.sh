#!/bin/sh
# Gives what this build made the date of the commit: dates.sh DIRECTORY
set -eu
date=${SOURCE_DATE_EPOCH:-0}
touch -d "@$date" /tmp/.date
find "$1" -xdev -newer /tmp/.date ! -path '/proc/*' ! -path '/sys/*' ! -path '/mnt/*' -exec touch -h -d "@$date" {} +
rm /tmp/.date
touch -d "@$date" /tmp
