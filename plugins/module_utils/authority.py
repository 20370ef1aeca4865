# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose tokens open the mentorship API: whether that authority (OIDC) answers, and what the service does while not."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import List

from ansible_collections.meywd.tamma.plugins.module_utils.elsa import read_bounded

_METADATA = "/.well-known/openid-configuration"
_SECONDS = 5.0

# Like the services, which have no proxy.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def advice(address: str, seconds: float = _SECONDS) -> List[str]:
    """Ask an authority, if there is one, for what the .NET API asks it. Returns a sentence if that fails."""
    problem = _problem(address.rstrip("/") + _METADATA, seconds) if address else ""
    if not problem:
        return []
    return [
        "The authority of JWT_AUTHORITY cannot be used from this host (%s%s: %s). The .NET API starts and is healthy "
        "all the same; until the authority answers, every token is refused (401 at /api/mentorship), after a minute at "
        "most if it accepts connections and says nothing." % (address.rstrip("/"), _METADATA, problem)
    ]


def _problem(url: str, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    request = urllib.request.Request(url)  # noqa: S310 - its scheme was checked on the controller
    try:
        with _OPENER.open(request, timeout=seconds) as answer:
            about = json.loads(read_bounded(answer, deadline))
    except urllib.error.HTTPError as exc:
        return "it answers %d" % exc.code
    except urllib.error.URLError as exc:
        return str(getattr(exc.reason, "strerror", None) or exc.reason)
    except (OSError, http.client.HTTPException) as exc:
        return str(exc) or type(exc).__name__
    except (ValueError, RecursionError):
        return "it answers no JSON"
    return "" if isinstance(about, dict) and about.get("jwks_uri") else "it names no keys (jwks_uri)"
