#!/bin/sh
# Copies what decides about a workspace's dependencies, and nothing else: manifests.sh SOURCE TARGET
set -eu
cd "$1"
find . -name node_modules -prune -o \
    \( -name package.json -o -name pnpm-lock.yaml -o -name pnpm-workspace.yaml -o -name .npmrc \) -print |
    while IFS= read -r file; do
        mkdir -p "$2/$(dirname "$file")"
        cp "$file" "$2/$file"
    done
