# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the thin modules share: their common options, and how one of them ends."""

from __future__ import annotations

from typing import Any, Callable, Dict

from ansible_collections.meywd.tamma.plugins.module_utils.compose import find_compose
from ansible_collections.meywd.tamma.plugins.module_utils.engine import DOCKER_SOCKET
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

ARGUMENTS: Dict[str, Dict[str, Any]] = {
    "project": {"type": "str", "default": "tamma"},
    "directory": {"type": "path", "default": "/opt/tamma"},
    "engine_socket": {"type": "path", "default": DOCKER_SOCKET},
}


def runner(params: Dict[str, Any]) -> Runner:
    """What starts programs: they talk to the engine behind the socket that the options name."""
    return Runner({"DOCKER_HOST": "unix://%s" % params["engine_socket"]})


def compose_program() -> str:
    """The path of Compose; raises OperatorError on a host that has none."""
    program = find_compose()
    if program is None:
        raise OperatorError(
            "This host has no Docker Compose: let the role meywd.tamma.tamma_runtime install it (site.yml does)."
        )
    return program


def finish(module: Any, work: Callable[[], Dict[str, Any]]) -> None:
    """Do the work and leave with its result, or with the one sentence that says why it failed."""
    try:
        result = work()
    except OperatorError as exc:
        module.fail_json(msg=exc.message, **exc.facts)
    except OSError as exc:
        # A full disk, a file system that is read-only: the system's own words say it best.
        module.fail_json(msg="%s: %s." % (exc.filename or "The host", exc.strerror or exc))
    module.exit_json(**result)
