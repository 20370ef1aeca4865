"""A login service by the contract of oauth2-proxy, in one file of the standard library: it runs in a container.

Below /oauth2/ it says who somebody is, shows a page to log in, and gives a cookie. Everything else it
answers with the headers that came, as a service behind the edge would find them.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COOKIE = "_oauth2_proxy=known"
USER = {
    "X-Auth-Request-User": "alice",
    "X-Auth-Request-Email": "alice@example.org",
    "X-Auth-Request-Groups": "developers",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        known = COOKIE in (self.headers.get("Cookie") or "")
        if address.path == "/oauth2/auth":
            self.answer(202 if known else 401, "", USER if known else {})
        elif address.path == "/oauth2/sign_in":
            self.answer(403, "<title>Sign In</title>", {"Content-Type": "text/html"})
        elif address.path == "/oauth2/start":
            (back,) = parse_qs(address.query).get("rd", ["/"])
            self.answer(302, "", {"Location": back, "Set-Cookie": COOKIE + "; Path=/; Secure; HttpOnly"})
        else:
            self.answer(200, json.dumps(dict(self.headers.items())), {"Content-Type": "application/json"})

    # The health check of a service that it stands for.
    do_HEAD = do_GET

    def answer(self, status: int, text: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
