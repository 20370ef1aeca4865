#!/usr/bin/env bash
# Resolves requirements/dev.in for every supported Python and pins each file by its hash.
set -euo pipefail

uv=.cache/uv
[ -x "$uv/bin/uv" ] || { python3 -m venv "$uv" && "$uv/bin/pip" install -qq uv; }
# The lock names packages, not where this machine gets them from.
env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL -u UV_FIND_LINKS -u UV_INDEX \
    "$uv/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --upgrade \
    --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
    --output-file requirements/dev.txt requirements/dev.in
