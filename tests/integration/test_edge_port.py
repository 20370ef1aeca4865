# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge says about its own address, and which streams it knows, in a container alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import jinja2
import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.connections import cut_streams
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


def write(directory: Path, upstream: str = "127.0.0.1:9", **variables: object) -> None:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.ChainableUndefined, autoescape=False)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render({**VARIABLES, **variables})
    (directory / "Caddyfile").write_text(text, encoding="utf-8")
    (directory / "elsa-key.caddy").write_text('header_up Authorization "x"\n', encoding="utf-8")
    (directory / "upstreams").mkdir()
    for service in ("tamma-api", "tamma-api-dotnet", "tamma-dashboard", "elsa-server"):
        (directory / f"upstreams/{service}.caddy").write_text(f"to {upstream}\n", encoding="utf-8")


@contextmanager
def caddy(directory: Path, *options: str) -> Iterator[str]:
    """An edge by the files of a directory; yields its container."""
    engine.ensure()
    images.build(["caddy"])
    command = ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    volume = f"{directory}:/etc/caddy:ro"
    container = run(["docker", "run", "--detach", *options, "--volume", volume, images.tag("caddy"), *command]).strip()
    try:
        yield container
    finally:
        run(["docker", "rm", "--force", container])


def inspect(container: str, form: str) -> str:
    return run(["docker", "inspect", "--format", form, container]).strip()


def address_of(container: str) -> str:
    return inspect(container, "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")


def answers(address: str) -> httpx.Response | None:
    try:
        return httpx.get(f"http://{address}/x?y=1", headers={"Host": DOMAIN}, trust_env=False)
    except httpx.TransportError:
        return None


@pytest.mark.parametrize(("port", "shown"), [("", ""), ("443", ""), ("8443", ":8443")])
def test_the_edge_names_the_port_that_the_world_sees(tmp_path: Path, port: str, shown: str) -> None:
    write(tmp_path)
    with caddy(tmp_path, *(["--env", f"EDGE_HTTPS_PORT={port}"] if port else [])) as container:
        address = address_of(container)
        redirect = wait_until(lambda: answers(address), 30, "the edge")
        assert redirect.headers["Location"] == f"https://{DOMAIN}{shown}/x?y=1"
        ask = ["curl", "--silent", "--head", "--insecure", "--noproxy", "*"]
        number = port or "443"
        url = f"https://{DOMAIN}:{number}/"
        answer = run([*ask, "--resolve", f"{DOMAIN}:{number}:{address}", url]).lower()
        assert f'alt-svc: h3=":{number}"' in answer


#: What is asked for at the edge, and whether it is a stream: nobody of these is answered, so nothing else can tell.
ASKED: dict[str, tuple[dict[str, str], bool]] = {
    "/api/engine/events/logs": ({}, True),
    "/api/of-the-future": ({"Accept": "text/event-stream"}, True),
    "/api/socket": ({"Connection": "Upgrade", "Upgrade": "websocket"}, True),
    "/api/engine/history": ({"Accept": "*/*"}, False),
    "/api/engine/events": ({"Upgrade-Insecure-Requests": "1"}, False),
}


def test_streams_are_known_before_their_first_event_and_nothing_else_is_cut(tmp_path: Path) -> None:
    gateway = run(["docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge"]).strip()
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("0.0.0.0", 0)))
        listener.settimeout(60)
        end = (gateway, listener.getsockname()[1])
        write(tmp_path, "%s:%d" % end, tamma_stack_edge_forward_auth="")
        container = stack.enter_context(caddy(tmp_path))
        address = address_of(container)
        wait_until(lambda: answers(address), 30, "the edge")

        def ask(path: str) -> str:
            headers = [word for item in ASKED[path][0].items() for word in ("--header", ": ".join(item))]
            options = ["--silent", "--insecure", "--http1.1", "--noproxy", "*", "--write-out", "%{http_code}"]
            place = ["--resolve", f"{DOMAIN}:443:{address}", f"https://{DOMAIN}{path}"]
            return run(["curl", *options, *headers, *place])

        def come() -> tuple[str, socket.socket]:
            """The next request: what it asks for, and its connection."""
            connection = stack.enter_context(listener.accept()[0])
            connection.settimeout(60)
            request = connection.recv(65536)
            path = request.split()[1].decode()
            assert (b"\r\ntamma-stream: yes\r\n" in request.lower()) is ASKED[path][1]
            return path, connection

        pool = stack.enter_context(ThreadPoolExecutor(len(ASKED)))
        asked = [pool.submit(ask, path) for path in ASKED]
        connections = dict(come() for _ in ASKED)
        streams = [path for path, (_, is_stream) in ASKED.items() if is_stream]
        assert cut_streams(int(inspect(container, "{{.State.Pid}}")), {end}) == len(streams)
        for path in streams:
            assert connections[path].recv(1) == b"", path
        # Of those that were cut Caddy asks again, as nothing of an answer had come.
        connections.update(come() for _ in streams)
        for connection in connections.values():
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        assert [one.result() for one in asked] == ["200"] * len(ASKED)
