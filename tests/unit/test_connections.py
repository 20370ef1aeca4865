# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting the open connections of a process's network, which is this test's own."""

from __future__ import annotations

import os
import socket

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.connections import count


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_counts_while_it_is_open(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as listener:
        port = listener.getsockname()[1]
        assert count(os.getpid(), port, [address]) == 0
        with socket.create_connection((address, port)), listener.accept()[0]:
            assert count(os.getpid(), port, [address]) == 1
            assert count(os.getpid(), port, ["192.0.2.1"]) == 0
            assert count(os.getpid(), port + 1, [address]) == 0
        assert count(os.getpid(), port, [address]) == 0


def test_an_ipv4_client_of_an_ipv6_listener_is_known_by_its_ipv4_address() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), listener.accept()[0]:
            assert count(os.getpid(), port, ["127.0.0.1"]) == 1


def test_a_process_that_is_gone_has_none() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert count(child, 80, ["127.0.0.1"]) == 0
