"""A stack's edge as the outside reaches it: over TLS, by a name that stands in no DNS."""

from __future__ import annotations

import ssl
from typing import Any, NamedTuple

import httpx

from .patience import scaled

SECONDS = 30
#: Longer than the edge lets a request wait (tamma_stack_update_hold): it has to answer first.
PATIENCE = 75
#: Where the edge's container has the certificate of its own authority.
AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"
#: Who may log in, by inventories/sandbox.
LOGIN = ("operator", "bench-password")


class Edge(NamedTuple):
    """Where the edge is, whom it has its certificate from, and who may log in."""

    domain: str
    address: str
    #: The certificate of the authority, as PEM.
    authority: str
    login: tuple[str, str] | None = None

    def ask(
        self,
        method: str,
        path: str,
        *,
        login: bool = True,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
        seconds: float = SECONDS,
    ) -> httpx.Response:
        """Ask once, for the path as it is written, without following where the answer leads."""
        transport = _Transport(self.address, verify=self._trust())
        with httpx.Client(transport=transport, auth=self.login if login else None) as client:
            # A URL would lose its dots and double slashes.
            target = {"target": path.encode()}
            address = f"https://{self.domain}"
            return client.request(
                method, address, headers=headers, json=json, timeout=scaled(seconds), extensions=target
            )

    def client(self, *, http2: bool = False, keep: bool = True) -> httpx.AsyncClient:
        """Return a client that is logged in; ``keep=False`` makes a connection for each request."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None if keep else 0)
        transport = _AsyncTransport(self.address, verify=self._trust(), http2=http2, limits=limits)
        base = f"https://{self.domain}"
        return httpx.AsyncClient(transport=transport, auth=self.login, base_url=base, timeout=scaled(PATIENCE))

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority)


class _Transport(httpx.HTTPTransport):
    def __init__(self, address: str, *, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._address = address

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return super().handle_request(_aimed(request, self._address))


class _AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self, address: str, *, verify: ssl.SSLContext, http2: bool, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, http2=http2, limits=limits, trust_env=False)
        self._address = address

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await super().handle_async_request(_aimed(request, self._address))


def _aimed(request: httpx.Request, address: str) -> httpx.Request:
    """Send a request to an address; its Host header and what TLS asks for stay the name."""
    request.extensions = {**request.extensions, "sni_hostname": request.url.host}
    request.url = request.url.copy_with(host=address)
    return request
