"""The port scan finds what listens, and calls nothing else open."""

from __future__ import annotations

import socket

import pytest

from tests.bench.scan import open_ports


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_what_listens_is_found(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as first, socket.create_server((address, 0), family=family):
        port = first.getsockname()[1]
        assert open_ports(address, [port]) == [port]
        with socket.create_server((address, 0), family=family) as gone:
            closed = gone.getsockname()[1]
        assert open_ports(address, [closed, port]) == [port]
