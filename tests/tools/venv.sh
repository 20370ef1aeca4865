#!/usr/bin/env bash
# Makes the virtual environment that every other target runs in.
#   venv.sh DIRECTORY [ANSIBLE_CORE_VERSION]
# The second argument swaps the locked ansible-core for another release line (2.20, 2.21).
set -euo pipefail

venv=$1
core=${2:-}
lock=requirements/dev.txt
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Prints the interpreter itself, also when another virtual environment is active. A pyenv shim answers to
# every name, so a candidate counts only when it runs.
find_python() {
    local candidate
    local base='import sys; print(getattr(sys, "_base_executable", sys.executable)); sys.exit(sys.version_info < (3, 11))'
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if candidate=$("$candidate" -c "$base" 2>/dev/null); then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed, and none of ${PYTHON:-python3, python3.13, python3.12, python3.11}" \
        "is; install one, or name it: make PYTHON=/path/to/python3 …"
}

ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    local package
    package="python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        printf 'setup: installing the Debian package %s\n' "$package"
        { apt-get update && apt-get install -y --no-install-recommends "$package"; } >"$log" 2>&1 || {
            tail -n 30 "$log" >&2
            fail "$package could not be installed; the lines above say why"
        }
    else
        fail "Python's venv module is missing; install it (on Debian: apt-get install $package)"
    fi
}

# First, because make puts it on the path: a half-made one must not be taken for an answer.
rm -rf "$venv"
python=$(find_python)
ensure_venv_module "$python"

printf 'setup: installing the locked tools into %s (about a minute the first time)\n' "$venv"
started=$SECONDS
mkdir -p "$(dirname "$venv")"
install() {
    "$python" -m venv "$venv" &&
        "$venv/bin/python" -m pip install --require-hashes --no-compile --requirement "$lock" &&
        { [[ -z $core ]] || "$venv/bin/python" -m pip install --no-compile "ansible-core==$core.*"; }
}
install >"$log" 2>&1 || {
    tail -n 30 "$log" >&2
    fail "the tools could not be installed; the lines above say why"
}
version='import platform, ansible.release as r; print(f"Python {platform.python_version()}, ansible-core {r.__version__}")'
printf 'setup: ready after %d seconds: %s\n' "$((SECONDS - started))" "$("$venv/bin/python" -c "$version")"
