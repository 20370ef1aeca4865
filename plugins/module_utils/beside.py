# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else may reach what runs in the containers: users of the host with their ids, neighbours on the link."""

from __future__ import annotations

import pwd
from typing import Callable, Dict, Iterable, List, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.host import Engine, at_least

# The user ids of the images, and what runs under each.
_IDS: Dict[int, str] = {
    70: "PostgreSQL",
    100: "RabbitMQ",
    101: "the dashboard",
    999: "PostgreSQL or RabbitMQ",
    1001: "Tamma's services and the engine's agents",
}
_NO_SHELLS = ("nologin", "false", "sync", "shutdown", "halt")

# The first that keeps ports of the loopback addresses from neighbours.
_CLOSED_SINCE = "28.0"


def user_advice(look_up: Callable[[int], pwd.struct_passwd] = pwd.getpwuid) -> Iterable[str]:
    """One sentence for each id of the images that a person can log in with."""
    for number, what in _IDS.items():
        try:
            user = look_up(number)
        except KeyError:
            continue
        if user.pw_shell.rpartition("/")[2] not in _NO_SHELLS:
            yield (
                "The user %s of this host has the id %d, with which %s may run in containers: whoever logs in as %s "
                "may end those processes, and read their secrets and the files that are theirs. Give the user another "
                "id, or a shell that lets nobody in (docs/security.md)." % (user.pw_name, number, what, user.pw_name)
            )


def neighbour_advice(engine: Engine, ports: Iterable[Tuple[str, str, int]]) -> List[str]:
    """Say that ports for this host alone are open to its neighbours. ports: service, address, port."""
    if engine.name != "docker" or not engine.version or at_least(engine.version, _CLOSED_SINCE):
        return []
    found = ["%s (%d)" % (service, port) for service, address, port in ports if _is_loopback(address)]
    if not found:
        return []
    return [
        "Docker %s lets neighbours on the same link reach ports of 127.0.0.1: %s. Upgrade to Docker 28, or drop such "
        "packets with the rule in docs/security.md." % (engine.version, ", ".join(found))
    ]


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "localhost"
