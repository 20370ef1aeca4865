#!/usr/bin/env python3
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An operator that holds requests: runs on the host, and does the steps that its arguments name.

"begin=20" holds for 20 s at most, "drain=3" and "release=3" have 3 s, "restart" stops and starts the services,
"sleep=5" lets time pass. Each step tells when it was done.
"""

from __future__ import annotations

import sys
import time

from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.edge import Edge
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.hold import Hold
from ansible_collections.meywd.tamma.plugins.module_utils.services import Group
from ansible_collections.meywd.tamma.plugins.module_utils.stack import Stack

NAMES = ["elsa-server", "tamma-api", "tamma-api-dotnet"]


def main() -> None:
    """Do one step after the other."""
    engine = Engine()
    stack = Stack("tamma", "/opt/tamma", engine, find_compose() or "")
    edge = Edge(stack.compose, stack.directory, stack.project)
    hold = Hold(edge, engine)

    def restart() -> None:
        group = Group(stack, NAMES, 120, lambda _phase, _words: None)
        group.stop()
        group.start()

    def serving() -> dict[str, list[str]]:
        return {name: [item["Id"] for item in stack.running(name)] for name in NAMES if name in edge.routed}

    for step in sys.argv[1:]:
        word, _, number = step.partition("=")
        began = time.monotonic()
        if word == "begin":
            hold.begin(NAMES, float(number))
        elif word == "drain":
            hold.drain(serving(), float(number))
        elif word == "release":
            hold.release(serving(), float(number))
        elif word == "restart":
            restart()
        elif word == "sleep":
            time.sleep(float(number))
        else:
            sys.exit(f"no such step: {step}")
        print(f"{step}: {time.monotonic() - began:.1f} s, held: {' '.join(hold.held) or 'nothing'}", flush=True)


if __name__ == "__main__":
    main()
