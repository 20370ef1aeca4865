# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack asks of its host: memory, processors and ports; judged without any engine."""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Tuple

# What a container without a limit counts as: three times of what the largest of Tamma's services has at rest.
_WITHOUT_LIMIT_MB = 512


class Demand(NamedTuple):
    """What the containers of one service ask for.

    cpus and memory_mb are the limits of one container, reserved_mb what is kept for it; zero is none. alone: why
    there should be one container, if that is so.
    """

    service: str
    replicas: int
    cpus: float
    memory_mb: int
    reserved_mb: int
    ports: List[Tuple[str, int]]
    alone: str = ""


def problems(demands: Iterable[Demand], memory_mb: int, cpus: int) -> List[str]:
    """Find what a host with so much memory and so many processors cannot give. Returns a sentence for each."""
    demands = list(demands)
    found = []
    reserved = sum(item.replicas * item.reserved_mb for item in demands)
    if reserved > memory_mb:
        found.append(
            "The services reserve %d MB of memory and this host has %d: give it more, or let the services have fewer "
            "containers or smaller reservations." % (reserved, memory_mb)
        )
    # The engine refuses to make such a container.
    too_many = ["%s (%g)" % (item.service, item.cpus) for item in demands if item.cpus > cpus]
    if too_many:
        found.append(
            "The limit of processors is higher than the %d that this host has for %s: set deploy.resources.limits.cpus "
            "in tamma_stack_overrides, or use a larger host." % (cpus, " and ".join(too_many))
        )
    return found


def advice(demands: Iterable[Demand], memory_mb: int) -> List[str]:
    """What may go wrong later on a host with so much memory."""
    demands = list(demands)
    found = [alone(item.service, item.replicas, item.alone) for item in demands if item.alone and item.replicas > 1]
    limit = sum(item.replicas * (item.memory_mb or _WITHOUT_LIMIT_MB) for item in demands)
    if limit > memory_mb:
        found.append(
            "The services may use %d MB of memory together and this host has %d: when all of them need it at once, the "
            "kernel ends one%s."
            % (
                limit,
                memory_mb,
                ""
                if all(item.memory_mb for item in demands)
                else " (without a limit one counts as %d)" % _WITHOUT_LIMIT_MB,
            )
        )
    return found


def alone(service: str, replicas: int, why: str) -> str:
    """Say that a service has more containers than it should have."""
    return "%s has %d containers: %s." % (service, replicas, why)
