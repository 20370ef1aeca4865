"""A server of restic's REST protocol (version 1) that goes away: ``rest_server.py DIRECTORY PORT PACKS``.

After it took so many packs, it lets nobody in any more; 0 means never.
"""

from __future__ import annotations

import http.server
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

ROOT, PACKS = Path(sys.argv[1]), int(sys.argv[3])
TYPES = ("data", "keys", "locks", "snapshots", "index")
_packs = [0]


class Handler(http.server.BaseHTTPRequestHandler):
    """Files by their type and name."""

    protocol_version = "HTTP/1.1"

    def _path(self) -> Path:
        return ROOT / urlsplit(self.path).path.strip("/")

    def _answer(self, status: int, body: bytes = b"", length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.x.restic.rest.v1")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        path, body = self._path(), self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "create=true" in self.path:
            for name in TYPES:
                (path / name).mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(body)
        _packs[0] += path.parent.name == "data"
        if PACKS and _packs[0] >= PACKS:
            # Connections are refused from now on, and this one breaks off.
            os._exit(0)
        self._answer(200)

    def do_HEAD(self) -> None:
        path = self._path()
        self._answer(200 if path.is_file() else 404, length=path.stat().st_size if path.is_file() else 0)

    def do_GET(self) -> None:
        path = self._path()
        if path.is_dir() and path != ROOT:
            self._answer(200, json.dumps(sorted(file.name for file in path.iterdir())).encode())
        elif not path.is_file():
            self._answer(404)
        else:
            content = path.read_bytes()
            found = (self.headers.get("Range") or "").removeprefix("bytes=").partition("-")
            start, end = int(found[0] or 0), int(found[2] or len(content) - 1)
            self._answer(206 if self.headers.get("Range") else 200, content[start : end + 1])

    def do_DELETE(self) -> None:
        self._path().unlink(missing_ok=True)
        self._answer(200)

    def log_message(self, *_: object) -> None:
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
