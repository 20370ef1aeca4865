# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry for the time of a load: it has what was carried to this host, and only this host's engine asks it.

An engine that pulls compares every digest itself, has no layer twice, and knows an image by the digest that it has in
the registry where it came from. None of these is so when an image is loaded from a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Iterator, List

from ansible_collections.meywd.tamma.plugins.module_utils import images
from ansible_collections.meywd.tamma.plugins.module_utils.image_archive import Staging, media_type

_PATH = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>sha256:[0-9a-f]{64})\Z")


class Loopback(ThreadingMixIn, HTTPServer):
    """The registry. lacking: the blobs that were asked for and are not here."""

    daemon_threads = True

    def __init__(self, staging: Staging) -> None:
        self.staging = staging
        self.lacking: List[str] = []
        super().__init__((images.LOOPBACK, 0), _Handler)

    def name(self, reference: str) -> str:
        """What an image is called here, without its tag."""
        repository = images.repository(images.untagged(reference.partition("@")[0]))
        return "%s:%d/%s" % (images.LOOPBACK, self.server_address[1], repository.replace(":", "_"))


class _Handler(BaseHTTPRequestHandler):
    """Answers as registries do (github.com/opencontainers/distribution-spec), as far as an engine asks that pulls."""

    protocol_version = "HTTP/1.1"
    server: Loopback

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        if self.path.rstrip("/") == "/v2":
            self._head(200, "application/json", 2)
            if body:
                self.wfile.write(b"{}")
            return
        asked = _PATH.match(self.path)
        handle = self.server.staging.open(asked["reference"]) if asked else None
        if handle is None or asked is None:
            if asked and asked["reference"] in self.server.staging.contents.blobs:
                self.server.lacking.append(asked["reference"])
            self._head(404, "application/json", 0)
            return
        with handle:
            kind = "application/octet-stream"
            if asked["kind"] == "manifests":
                kind = media_type(handle.read())
                handle.seek(0)
            self._head(200, kind, os.fstat(handle.fileno()).st_size, asked["reference"])
            if body:
                shutil.copyfileobj(handle, self.wfile, 1 << 20)

    def _head(self, status: int, kind: str, length: int, digest: str = "") -> None:
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the engine tells what went wrong."""


@contextlib.contextmanager
def serving(staging: Staging) -> Iterator[Loopback]:
    """Serve what is here for as long as somebody pulls."""
    server = Loopback(staging)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
