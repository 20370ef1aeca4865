# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a published address from outside of the containers."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, Dict, Optional, Tuple
from urllib.parse import urlsplit

_PAUSE = 0.3


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer; where it leads is not this stack's affair."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


# No proxy: the addresses are this host's own.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


class _TlsHere(http.client.HTTPSConnection):
    """TLS to an address of this host, under the name that the certificate is for."""

    def __init__(self, name: str, address: str, port: int, timeout: float) -> None:
        # Whether the certificate is trusted is for the clients to say: the edge may have an authority
        # of its own. Here it is enough that there is one for this name.
        context = ssl._create_unverified_context()  # noqa: S323
        super().__init__(name, port, timeout=timeout, context=context)
        self._address = address
        self._tls = context

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


def ask(url: str, timeout: float = 5, at: str = "") -> Optional[str]:
    """Ask *url* once. Returns None when it answers as it should, else what is wrong with it.

    A redirect or a demand to log in is an answer of the service; 404 and 5xx are not. at: for an
    https URL, the address to connect to instead of looking the name up.
    """
    try:
        if at:
            status, reason = _ask_with_tls(url, at, timeout)
            return None if 200 <= status < 404 else "it answers %d %s" % (status, reason)
        with _OPENER.open(url, timeout=timeout):
            return None
    except urllib.error.HTTPError as exc:
        return None if 300 <= exc.code < 404 else "it answers %d %s" % (exc.code, exc.reason)
    except urllib.error.URLError as exc:
        return str(exc.reason)
    except (OSError, http.client.HTTPException) as exc:
        return str(exc) or type(exc).__name__


def post(url: str, facts: Dict[str, Any], timeout: float) -> Optional[str]:
    """Send *facts* as JSON to an address that somebody gave. Returns None when it takes them, else what is wrong."""
    body = json.dumps(facts).encode()
    try:
        # Whoever may write the settings decides where it goes.
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.build_opener().open(request, timeout=timeout):
            return None
    except (ValueError, http.client.InvalidURL):
        # They repeat the address, and who knows that may send something there.
        return "what was given is no address"
    except (OSError, http.client.HTTPException) as exc:
        return str(exc) or type(exc).__name__


def _ask_with_tls(url: str, address: str, timeout: float) -> Tuple[int, str]:
    parts = urlsplit(url)
    connection = _TlsHere(parts.hostname or "", address, parts.port or 443, timeout)
    try:
        connection.request("GET", parts.path or "/")
        answer = connection.getresponse()
        return answer.status, answer.reason
    finally:
        connection.close()


def wait(url: str, seconds: float, at: str = "") -> Optional[str]:
    """Ask *url* until it answers as it should, for *seconds* at the most; see :func:`ask`."""
    deadline = time.monotonic() + seconds
    while True:
        problem = ask(url, at=at)
        if problem is None or time.monotonic() >= deadline:
            return problem
        time.sleep(_PAUSE)
