"""Says where the demo answers on this machine, and fails when it does not."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

ADDRESSES = {
    "dashboard": "http://127.0.0.1:3001/",
    "API": "http://127.0.0.1:3100/api/health",
    "API, through the dashboard": "http://127.0.0.1:3001/api/health",
    ".NET API": "http://127.0.0.1:3000/health",
    "ELSA": "http://127.0.0.1:5000/health",
    "RabbitMQ": "http://127.0.0.1:15672/",
}


# No proxy: these addresses are this machine's own.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str) -> str:
    """What an address answers: "200 OK", or what went wrong."""
    try:
        with OPENER.open(url, timeout=10) as response:
            return f"{response.status} {response.reason}"
    except (OSError, urllib.error.URLError) as error:
        return str(getattr(error, "reason", error))


def main() -> int:
    """Print each address with its answer."""
    answers = {name: ask(url) for name, url in ADDRESSES.items()}
    print("The demo answers on this machine; the five Tamma services in it are stand-ins:")
    for name, url in ADDRESSES.items():
        print(f"  {name:<28} {url:<36} {answers[name]}")
    print("Remove every trace of it with `make demo-down`.")
    return 0 if all(answer == "200 OK" for answer in answers.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
