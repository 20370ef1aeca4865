#!/bin/sh
# Gives the date of the commit to what is younger: dates.sh DIRECTORY [REFERENCE]
# A reference is a file that the caller made before anything else: then what came later gets that date.
set -eu
date=${SOURCE_DATE_EPOCH:-0}
reference=${2:-$(mktemp)}
[ $# -gt 1 ] || touch -d "@$date" "$reference"
# What is mounted during a build is in no image.
find "$1" -xdev -newer "$reference" ! -path /dev ! -path /etc/hosts ! -path /etc/resolv.conf ! -path /mnt ! -path /proc \
    ! -path /sys -exec touch -h -d "@$date" {} +
rm "$reference"
touch -d "@$date" /tmp
