# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A production host that changes while it serves: no request is lost, and what cannot work is not taken over."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from testinfra.host import Host

from tests.bench.edge import Edge
from tests.bench.load import Load
from tests.tools import authority
from tests.tools.deployed import site

OTHER_SETTINGS = {
    "tamma_stack_overrides": {
        "services": {
            "tamma-dashboard": {"environment": {"REASON": "test"}},
            "tamma-api-dotnet": {"environment": {"Logging__LogLevel__Default": "Warning"}},
        }
    }
}


def certificate(directory: Path, domain: str) -> dict[str, str]:
    """Make an authority and a certificate in *directory*, and return the variables that give it to the edge."""
    directory.mkdir()
    authority.make(directory, [domain])
    return {
        "tamma_stack_edge_tls": "files",
        "tamma_stack_edge_certificate": (directory / "server.pem").read_text(),
        "tamma_stack_edge_certificate_key": (directory / "server.key").read_text(),
    }


def served(edge: Edge) -> str:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((edge.address, 443), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=edge.domain) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return ssl.DER_cert_to_PEM_cert(shown)


def test_a_configuration_that_cannot_work_is_not_taken_over(host: Host, edge: Edge) -> None:
    serving = served(edge)
    configuration = host.file("/opt/tamma/edge/Caddyfile").sha256sum
    done = site({"tamma_stack_edge_users": {}, "tamma_stack_edge_forward_auth": "http://login:443"})
    assert done.status != 0
    assert "Caddy does not accept the configuration of the edge" in done.output
    assert host.file("/opt/tamma/edge/Caddyfile").sha256sum == configuration
    assert served(edge) == serving
    assert edge.ask("GET", "/", login=False).status_code == 401


def test_other_settings_and_a_renewed_certificate_under_load(edge: Edge, tmp_path: Path) -> None:
    first, second = (certificate(tmp_path / name, edge.domain) for name in ("first", "second"))
    trusted = edge._replace(authority=edge.authority + "".join(path.read_text() for path in tmp_path.glob("*/ca.pem")))
    with Load(trusted) as load:
        for certificate_now in (first, second):
            done = site({**OTHER_SETTINGS, **certificate_now})
            assert done.status == 0, done.output
            assert served(edge) == certificate_now["tamma_stack_edge_certificate"]
    assert not load.failures, load.report()
    # Open connections, of both kinds, have outlived two reloads.
    assert load.cuts == 0, load.report()
