# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a name leads to this host, seen from this host."""

from __future__ import annotations

import ipaddress
import socket
from typing import Iterable, List, NamedTuple

# What is expected of a name: an address of this host, any address, or nothing.
EXPECTATIONS = ("host", "anywhere", "nothing")

# Nothing is sent there: the kernel only says which of its own addresses it would use.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


class Answer(NamedTuple):
    """The addresses of a name, or why there are none."""

    name: str
    addresses: List[str]
    reason: str = ""


def look_up(name: str) -> Answer:
    """Ask for a name as every program of this host does."""
    try:
        found = socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
    except OSError as exc:
        return Answer(name, [], exc.strerror or str(exc))
    return Answer(name, sorted({str(item[4][0]) for item in found}))


def is_own(address: str) -> bool:
    """Whether an address is one of this host's: only then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def outward() -> List[str]:
    """The addresses with which this host speaks to the outside."""
    found = []
    for family, target in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((target, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            # It has no route for this family.
            continue
    return found


def problems(answers: Iterable[Answer], own: Iterable[str], expected: str, known: Iterable[str]) -> List[str]:
    """Find names that do not lead where they are expected to. Returns a sentence for each.

    own: those addresses of the answers that are this host's. known: how this host is called in a sentence.
    """
    own = set(own)
    here = "this host (%s)" % ", ".join(known) if known else "this host"
    found = []
    for answer in answers:
        elsewhere = [address for address in answer.addresses if address not in own]
        if not answer.addresses:
            found.append(
                "%s is not known to this host's DNS (%s): add a record that leads to %s, or set tamma_stack_edge_dns "
                "to 'nothing' if only others shall know it." % (answer.name, answer.reason, here)
            )
        elif expected == "host" and elsewhere:
            found.append(
                "%s leads to %s and not to %s: correct its DNS record, or set tamma_stack_edge_dns to 'anywhere' if a "
                "load balancer or an address translation stands before the host."
                % (answer.name, " and ".join(elsewhere), here)
            )
    return found


def advice(answers: Iterable[Answer]) -> List[str]:
    """What could not be judged: a name that this host keeps to itself."""
    return [
        "%s leads to %s on this host, so where it leads others was not checked." % (item.name, item.addresses[0])
        for item in answers
        if item.addresses and all(ipaddress.ip_address(address).is_loopback for address in item.addresses)
    ]
