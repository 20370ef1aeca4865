#!/bin/sh
# Installs the package manager that the package.json of the current directory names.
set -eu
manager=$(node --print 'JSON.parse(fs.readFileSync("package.json")).packageManager ?? ""')
[ -n "$manager" ] || { echo "package.json names no packageManager." >&2; exit 1; }
npm install --global --no-audit --no-fund "${manager%%+*}"
