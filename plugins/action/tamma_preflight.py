# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the host what the stack asks of it, and compares its clock with the controller's."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import time
from typing import Any

from ansible_collections.meywd.tamma.plugins.action import tamma_deploy
from ansible_collections.meywd.tamma.plugins.module_utils import clock
from ansible_collections.meywd.tamma.plugins.module_utils.host import REFUSAL

# In an address.
_LOGIN = re.compile(r"//[^\s\"]+@")


def holds_login(result: dict[str, Any]) -> bool:
    """Whether the settings of the host's engine have an address with a login in it."""
    return _LOGIN.search(json.dumps((result.get("host") or {}).get("daemon_config") or {})) is not None


def addresses_of(name: str) -> list[str]:
    """Under which addresses the controller reaches a host; none when it goes another way, or a tunnel leads there."""
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except OSError:
        return []
    return sorted(address for address in found if not ipaddress.ip_address(address).is_loopback)


class ActionModule(tamma_deploy.ActionModule):
    """The controller's half of M(meywd.tamma.tamma_preflight); files are read like a deploy's."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        # Past the deploy's own run: it follows a log on a host.
        result: dict[str, Any] = super(tamma_deploy.ActionModule, self).run(tmp, task_vars)
        arguments = dict(self._task.args)
        stack = arguments.pop("stack", None)
        if stack:
            read = {**stack, "files": [self._with_content(item) for item in stack["files"]]}
            arguments["services"] = [
                {
                    "service": item.name,
                    "replicas": item.replicas,
                    "cpus": item.cpus,
                    "memory_mb": item.memory,
                    "reserved_mb": item.reserved,
                    "ports": [{"address": address, "port": port} for address, port in item.ports],
                    "alone": item.alone,
                }
                for item in self._services(read)
            ]
        if arguments.get("names"):
            arguments["own_addresses"] = [*(arguments.get("own_addresses") or []), *self._addresses(task_vars)]
        before = time.time()
        result.update(self.execute("tamma_preflight", arguments, task_vars))
        self._compare_clocks(result, before, float(arguments.get("clock_tolerance") or 0))
        if not result.get("failed") and holds_login(result):
            # The login of a proxy, for one: the role needs it, and nobody has to read it.
            result["_ansible_no_log"] = True
        return result

    def _addresses(self, task_vars: dict[str, Any]) -> list[str]:
        if self._connection.transport == "local":
            return []
        return addresses_of(
            str(self._templar.template(task_vars.get("ansible_host") or task_vars["inventory_hostname"]))
        )

    def _compare_clocks(self, result: dict[str, Any], before: float, tolerance: float) -> None:
        """Add to the result that the clocks differ, in one report with everything else."""
        if not tolerance or "clock" not in result:
            return
        problem = clock.problem(clock.ahead(result["clock"]["time"], before, time.time()), tolerance)
        if problem:
            problems = [*result.get("problems", []), problem]
            result.update(failed=True, msg=" ".join([REFUSAL, *problems]), problems=problems)
