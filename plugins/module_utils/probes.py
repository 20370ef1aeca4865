# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks at short intervals for containers that start, where the engine has long ones only."""

from __future__ import annotations

import threading
import time
from typing import Dict

from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.gate import State

# From the end of a container's probe to the beginning of its next one.
_PAUSE = 1.0


class Probes:
    """Asks Podman for the probes that Docker makes by itself during ``start_interval``; nothing on Docker."""

    def __init__(self, engine: Engine, pause: float = _PAUSE) -> None:
        self._engine = engine
        self._pause = pause
        self._running: Dict[str, threading.Thread] = {}

    def hasten(self, seen: State) -> None:
        """Have a container probed that is not healthy yet, unless it just was. Does not wait for the result."""
        if self._engine.kind != "podman" or seen.status != "running" or seen.health in (None, "healthy"):
            return
        before = self._running.get(seen.id)
        if before is None or not before.is_alive():
            # A probe may hang for as long as its timeout; the others do not wait for it, nor does the end.
            self._running[seen.id] = threading.Thread(target=self._probe, args=(seen.id,), daemon=True)
            self._running[seen.id].start()

    def _probe(self, identifier: str) -> None:
        try:
            self._engine.probe(identifier)
        except OperatorError:
            # It is gone, or the engine is: whoever looks at the container next will say so.
            return
        time.sleep(self._pause)
