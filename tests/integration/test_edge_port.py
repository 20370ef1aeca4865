# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge says about its own address, in a container alone."""

from __future__ import annotations

from pathlib import Path

import httpx
import jinja2
import pytest

from tests.bench import engine, images
from tests.bench.patience import wait_until
from tests.tools.roles import ROOT
from tests.tools.run import run

TEMPLATE = ROOT / "roles/tamma_stack/templates/Caddyfile.j2"
DOMAIN = "tamma.example.org"
VARIABLES = {
    "ansible_managed": "",
    "tamma_stack_profile": "production",
    "tamma_stack_domain": DOMAIN,
    "tamma_stack_edge_tls": "internal",
    "tamma_stack_edge_forward_auth": "http://127.0.0.1:9",
    "tamma_stack_edge_open_paths": ["/open"],
    "tamma_stack_edge_elsa_domain": "elsa.example.org",
    "tamma_stack_edge_elsa_open_paths": [],
    "tamma_stack_edge_rabbitmq_domain": "rabbitmq.example.org",
}


def write(directory: Path) -> None:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.ChainableUndefined, autoescape=False)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(VARIABLES)
    (directory / "Caddyfile").write_text(text, encoding="utf-8")
    (directory / "elsa-key.caddy").write_text('header_up Authorization "x"\n', encoding="utf-8")
    (directory / "upstreams").mkdir()
    for service in ("tamma-api", "tamma-api-dotnet", "tamma-dashboard", "elsa-server"):
        (directory / f"upstreams/{service}.caddy").write_text("to 127.0.0.1:9\n", encoding="utf-8")


def answers(address: str) -> httpx.Response | None:
    try:
        return httpx.get(f"http://{address}/x?y=1", headers={"Host": DOMAIN}, trust_env=False)
    except httpx.TransportError:
        return None


@pytest.mark.parametrize(("port", "shown"), [("", ""), ("443", ""), ("8443", ":8443")])
def test_the_edge_names_the_port_that_the_world_sees(tmp_path: Path, port: str, shown: str) -> None:
    engine.ensure()
    images.build(["caddy"])
    write(tmp_path)
    command = ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    told = ["--env", f"EDGE_HTTPS_PORT={port}"] if port else []
    volume = f"{tmp_path}:/etc/caddy:ro"
    container = run(["docker", "run", "--detach", *told, "--volume", volume, images.tag("caddy"), *command]).strip()
    try:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = run(["docker", "inspect", "--format", form, container]).strip()
        redirect = wait_until(lambda: answers(address), 30, "the edge")
        assert redirect.headers["Location"] == f"https://{DOMAIN}{shown}/x?y=1"
        ask = ["curl", "--silent", "--head", "--insecure", "--noproxy", "*"]
        number = port or "443"
        url = f"https://{DOMAIN}:{number}/"
        answer = run([*ask, "--resolve", f"{DOMAIN}:{number}:{address}", url]).lower()
        assert f'alt-svc: h3=":{number}"' in answer
    finally:
        run(["docker", "rm", "--force", container])
