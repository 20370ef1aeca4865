# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An App's key that belongs to nobody is refused on the controller: GitHub is asked, and no host."""

from __future__ import annotations

import json
import os
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.tools import authority
from tests.tools.outcome import Outcome
from tests.tools.roles import ROOT
from tests.tools.run import follow

#: Where the name of GitHub leads in a name space of its own.
ADDRESS, NAME = "127.0.0.44", "api.github.com"
PLAY = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_role": {"name": "meywd.tamma.tamma_stack", "tasks_from": "validate.yml"}}],
    }
]


class _Nobody(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        body = json.dumps({"message": "A JSON web token could not be decoded"}).encode()
        self.send_response(401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def github(tmp_path: Path) -> Iterator[list[str]]:
    """A GitHub that knows no App; yields what it was asked for."""
    authority.make(tmp_path, [NAME])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    asked: list[str] = []
    handler = type("Handler", (_Nobody,), {"asked": asked})
    with HTTPServer((ADDRESS, 443), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        (tmp_path / "hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n", encoding="utf-8")
        yield asked
        server.shutdown()


def validate(directory: Path, **variables: object) -> Outcome:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key = rsa.generate_private_key(65537, 2048).private_bytes(*form).decode()
    (directory / "play.yml").write_text(yaml.safe_dump(PLAY), encoding="utf-8")
    given = {
        "tamma_stack_profile": "development",
        "tamma_stack_github_token": "",
        "tamma_stack_anthropic_api_key": "a-key-of-nobody",
        "tamma_stack_github_owner": "example",
        "tamma_stack_github_repo": "repository",
        "tamma_stack_github_app_id": "7",
        "tamma_stack_github_app_installation_id": "8",
        "tamma_stack_github_app_private_key": key,
        **variables,
    }
    (directory / "variables.yml").write_text(yaml.safe_dump(given), encoding="utf-8")
    playing = "ansible-playbook -i localhost, play.yml -e @variables.yml -vvv --diff"
    namespace = ["unshare", "--mount", "sh", "-c", f"mount --bind hosts /etc/hosts && {playing}"]
    env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "SSL_CERT_FILE": str(directory / "ca.pem")}
    outcome = follow(namespace, cwd=directory, env=env)
    assert key.splitlines()[5] not in outcome.output
    return outcome


def test_a_key_that_belongs_to_nobody_is_refused_before_any_host_is_visited(tmp_path: Path, github: list[str]) -> None:
    outcome = validate(tmp_path)
    assert outcome.status != 0
    assert "GitHub knows no App 7 with this key, so tamma_stack_github_app_private_key belongs to nobody" in " ".join(
        outcome.output.split()
    )
    assert github == ["/repos/example/repository/installation"]
    assert validate(tmp_path, tamma_stack_check_github=False).status == 0
    assert len(github) == 1
