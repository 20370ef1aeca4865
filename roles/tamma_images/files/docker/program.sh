#!/bin/sh
# Takes a program of a base along: program.sh PROGRAM TARGET
set -eu
mkdir -p "$2$(dirname "$1")"
cp "$1" "$2$1"
sh /mnt/dates.sh "$2"
