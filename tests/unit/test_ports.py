# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a port: recorded tables of the kernel, and real sockets of this process."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.ports import (
    Listener,
    PortHolder,
    holder,
    in_the_way,
    parse_listeners,
    parse_wanted,
)

IPV4_TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   105        0 18033 1 0 100
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 16822 1 0 100
   2: 0F02000A:0016 0202000A:E5C2 01 00000000:00000000 02:000A4F9B 00000000     0        0 19120 2 0 20
"""
IPV6_TABLE = """\
  sl  local_address                         remote_address                        st tx rx tr tm
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 20001
   1: 00000000000000000000000001000000:0CEA 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 20002
   2: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 20003
"""

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="recorded on a little-endian machine")


@little_endian
def test_listeners_of_ipv4_without_connections() -> None:
    assert parse_listeners(IPV4_TABLE) == [
        Listener(ip_address("127.0.0.1"), 5432, "18033"),
        Listener(ip_address("0.0.0.0"), 22, "16822"),
    ]


@little_endian
def test_listeners_of_ipv6_and_mapped_addresses() -> None:
    assert parse_listeners(IPV6_TABLE) == [
        Listener(ip_address("::"), 80, "20001"),
        Listener(ip_address("::1"), 3306, "20002"),
        Listener(ip_address("127.0.0.1"), 8080, "20003"),
    ]


def test_an_empty_table() -> None:
    assert parse_listeners("") == []


@pytest.mark.parametrize(
    ("listening", "wanted", "taken"),
    [
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::1", "::", True),
        ("::1", "127.0.0.1", False),
        ("0.0.0.0", "::", False),
        ("127.0.0.1", "::1", False),
    ],
)
def test_which_addresses_are_in_each_others_way(listening: str, wanted: str, taken: bool) -> None:
    assert in_the_way(Listener(ip_address(listening), 80, "1"), ip_address(wanted)) is taken


def test_how_a_published_address_is_read() -> None:
    assert parse_wanted("") == [ip_address("0.0.0.0"), ip_address("::")]
    assert parse_wanted("[::1]") == [ip_address("::1")]
    assert parse_wanted("::ffff:127.0.0.1") == [ip_address("127.0.0.1")]


def test_words_for_a_message() -> None:
    assert str(PortHolder(812, "nginx", "/usr/sbin/nginx")) == "nginx (process 812, /usr/sbin/nginx)"
    assert str(PortHolder(2, "kthreadd", "")) == "kthreadd (process 2)"
    assert str(PortHolder(0, "", "")) == "a process that cannot be seen from here"


def listen(address: str, ipv6_only: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(ipv6_only))
    listener.bind((address, 0))
    listener.listen()
    return listener


def test_a_real_listener_is_found_while_it_listens() -> None:
    with listen("127.0.0.1") as listener:
        port = listener.getsockname()[1]
        for address in ("127.0.0.1", "0.0.0.0", ""):
            found = holder(port, address)
            assert found is not None
            assert found.pid == os.getpid()
            assert "python" in found.program or "pytest" in found.program
        assert holder(port, "127.0.0.2") is None
    assert holder(port, "127.0.0.1") is None


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
@pytest.mark.parametrize("ipv6_only", [True, False])
def test_a_real_listener_on_every_ipv6_address(ipv6_only: bool) -> None:
    with listen("::", ipv6_only) as listener:
        port = listener.getsockname()[1]
        assert holder(port, "") is not None
        assert holder(port, "::1") is not None
        assert (holder(port, "127.0.0.1") is None) is ipv6_only
