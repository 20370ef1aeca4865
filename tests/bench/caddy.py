"""A real Caddy with the edge's configuration, and what stands behind it: no host, no engine's network."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from ansible_collections.meywd.tamma.plugins.plugin_utils.edge_settings import basic_names
from tests.tools.roles import ROOT
from tests.tools.run import run

from . import engine, images
from .machine import free_port
from .patience import wait_until

TEMPLATE = ROOT / "roles/tamma_stack/templates/Caddyfile.j2"
DOMAIN, ELSA, RABBITMQ = "tamma.example.org", "elsa.example.org", "rabbitmq.example.org"
#: Who may log in, and how a request says so.
LOGIN = ("operator", "bench-password")
HASH = "$2b$04$N9qo8uLOickgx2ZMRZoMyeiUxC3tRtysB36CEPui3xA.gtoj1qKfi"
KEY = "ApiKey of-elsa"
VARIABLES: dict[str, Any] = {
    "ansible_managed": "",
    "tamma_stack_profile": "production",
    "tamma_stack_domain": DOMAIN,
    "tamma_stack_edge_tls": "internal",
    "tamma_stack_edge_open_paths": ["/api/health", "/elsa-api/health", "/api/github/webhooks", "/api/v1/*"],
    "tamma_stack_edge_elsa_domain": ELSA,
    "tamma_stack_edge_elsa_open_paths": ["/workflows/open/*"],
    "tamma_stack_edge_rabbitmq_domain": RABBITMQ,
    "tamma_stack_engine_runs": "engine",
    "__tamma_stack_edge_names": basic_names([LOGIN[0]]),
}


# What the certificate says is for other tests.
_ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_ANYBODY.check_hostname, _ANYBODY.verify_mode = False, ssl.CERT_NONE


class Answer(NamedTuple):
    """What came back: the status, the headers by their names in small letters, and the text."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def seen(self) -> dict[str, Any]:
        """What the service behind the edge saw of the request."""
        found: dict[str, Any] = json.loads(self.text)
        return found


class Echo(http.server.ThreadingHTTPServer):
    """A service that tells what it got: its own name, the method, the path as it was written, and the headers."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, name: str, address: str = "0.0.0.0") -> None:
        super().__init__((address, 0), _Tell)
        self.name = name
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Tell(http.server.BaseHTTPRequestHandler):
    server: Echo
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/oauth2/auth") and "session=good" not in self.headers.get("Cookie", ""):
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.startswith("/api/events"):
            self._stream(int(self.path.partition("seconds=")[2] or 3))
            return
        told = {"service": self.server.name, "method": self.command, "path": self.path, "body": len(body)}
        text = json.dumps({**told, "headers": {name.lower(): value for name, value in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if self.path.startswith("/oauth2/auth"):
            self.send_header("X-Auth-Request-User", "alice")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(text)

    def _stream(self, seconds: int) -> None:
        """Tell events, one a second."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(seconds + 1):
            self.wfile.write(b"data: %d\n\n" % number)
            time.sleep(1 if number < seconds else 0)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_TRACE = do_GET

    def log_message(self, *_: object) -> None:
        pass


class Caddy:
    """A running Caddy; `directory` is its configuration."""

    def __init__(self, directory: Path, address: str, port: int, command: list[str], container: str) -> None:
        self.directory = directory
        self.address = address
        self.port = port
        #: How a program is run beside it, and where that finds the configuration.
        self._command = command
        self.container = container

    def reload(self) -> None:
        inside = "/etc/caddy" if self.container else str(self.directory)
        run([*self._command, "reload", "--force", "--config", f"{inside}/Caddyfile", "--adapter", "caddyfile"])

    def connect(self, name: str = DOMAIN) -> ssl.SSLSocket:
        """Open a connection that asks TLS for a name."""
        plain = socket.create_connection((self.address, self.port), timeout=90)
        return _ANYBODY.wrap_socket(plain, server_hostname=name)

    def ask(
        self,
        target: str | bytes,
        *headers: str,
        method: str = "GET",
        host: str = "",
        site: str = DOMAIN,
        body: bytes = b"",
    ) -> Answer:
        """Ask for a target as it is written."""
        written = target.encode("utf-8") if isinstance(target, str) else target
        lines = [f"Host: {host or site}", "Connection: close", *headers]
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body)}")
        head = b"%s %s HTTP/1.1\r\n%s\r\n\r\n" % (method.encode(), written, "\r\n".join(lines).encode("latin-1"))
        with self.connect(site) as connection:
            connection.sendall(head + body)
            return read(connection)


def read(connection: socket.socket) -> Answer:
    """Read an answer whose connection is closed after it."""
    with connection.makefile("rb") as stream:
        status = stream.readline().split()
        if len(status) < 2:
            return Answer(0, {}, "")
        headers = {}
        while line := stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        text = stream.read()
    if headers.get("transfer-encoding") == "chunked":
        text = _joined(text)
    return Answer(int(status[1]), headers, text.decode("utf-8", "replace"))


def _joined(chunks: bytes) -> bytes:
    text = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        number = int(size, 16)
        text, chunks = text + rest[:number], rest[number + 2 :]
        if not number:
            break
    return text


def write(directory: Path, address: str, services: dict[str, Echo], **variables: object) -> None:
    """Write the edge's configuration with these services behind it, reached at an address."""
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.ChainableUndefined, autoescape=False)
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render({**VARIABLES, **variables})
    text = text.replace("rabbitmq:15672", f"{address}:{services['rabbitmq'].port}")
    (directory / "upstreams").mkdir(exist_ok=True)
    (directory / "Caddyfile").write_text(text, encoding="utf-8")
    (directory / "users.caddy").write_text(f"{LOGIN[0]} {HASH}\n", encoding="utf-8")
    (directory / "elsa-key.caddy").write_text(f'header_up Authorization "{KEY}"\n', encoding="utf-8")
    for name in ("tamma-api", "tamma-api-dotnet", "tamma-dashboard", "elsa-server"):
        file = directory / f"upstreams/{name}.caddy"
        file.write_text(f"to {address}:{services[name].port}\n", encoding="utf-8")


@contextlib.contextmanager
def running(directory: Path, **variables: object) -> Iterator[Caddy]:
    """A Caddy of the bench with the edge's configuration; TAMMA_CADDY names another binary, run as a process."""
    binary = os.environ.get("TAMMA_CADDY", "")
    address = "127.0.0.1" if binary else _gateway()
    names = ("tamma-api", "tamma-api-dotnet", "tamma-dashboard", "elsa-server", "rabbitmq", "login")
    services = {name: Echo(name, address) for name in names}
    if variables.pop("forward_auth", False):
        variables["tamma_stack_edge_forward_auth"] = f"http://{address}:{services['login'].port}"
    try:
        write(directory, address, services, **variables)
        with _process(directory, binary) if binary else _container(directory) as caddy:
            wait_until(lambda: _answers(caddy), 30, "Caddy")
            yield caddy
    finally:
        for service in services.values():
            service.shutdown()
            service.server_close()


def _answers(caddy: Caddy) -> bool:
    try:
        return caddy.ask("/api/health").status > 0
    except OSError:
        return False


def _gateway() -> str:
    engine.ensure()
    return run(["docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]).strip()


@contextlib.contextmanager
def _container(directory: Path) -> Iterator[Caddy]:
    images.build(["caddy"])
    command = ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    volume = f"{directory}:/etc/caddy:ro"
    container = run(["docker", "run", "--detach", "--volume", volume, images.tag("caddy"), *command]).strip()
    try:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        address = run(["docker", "inspect", "--format", form, container]).strip()
        yield Caddy(directory, address, 443, ["docker", "exec", container, "caddy"], container)
    finally:
        run(["docker", "rm", "--force", container])


@contextlib.contextmanager
def _process(directory: Path, binary: str) -> Iterator[Caddy]:
    file, port, admin = directory / "Caddyfile", free_port(), free_port()
    file.write_text(file.read_text(encoding="utf-8").replace("localhost:2019", f"localhost:{admin}"), encoding="utf-8")
    environment = {**os.environ, "EDGE_HTTPS_PORT": str(port), "XDG_DATA_HOME": str(directory / "data")}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, "run", "--config", str(file), "--adapter", "caddyfile"],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield Caddy(directory, "127.0.0.1", port, ["env", f"EDGE_HTTPS_PORT={port}", binary], "")
    finally:
        process.terminate()
        process.wait()
