#!/usr/bin/env python3
"""Ansible inventory of a sandbox of the test bench; TAMMA_SANDBOX names it (default: demo)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.command import BenchError
from tests.bench.inventory import inventory
from tests.bench.names import DEFAULT_SANDBOX


def main() -> int:
    """Print the inventory as Ansible asks for it."""
    sandbox = os.environ.get("TAMMA_SANDBOX") or DEFAULT_SANDBOX
    try:
        found = inventory(sandbox)
    except BenchError as error:
        sys.stderr.write(f"Sandbox {sandbox}: {error}\n")
        return 1
    if not found["_meta"]["hostvars"]:
        sys.stderr.write(
            f"Sandbox {sandbox} is not running; start it with `python3 -m tests.bench up --name {sandbox}`.\n"
        )
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
