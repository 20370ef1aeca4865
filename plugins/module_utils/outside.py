# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a published address from outside of the containers."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from typing import Optional

_PAUSE = 0.3


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer; where it leads is not this stack's affair."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


# No proxy: the addresses are this host's own.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def ask(url: str, timeout: float = 5) -> Optional[str]:
    """Ask *url* once. Returns None when it answers as it should, else what is wrong with it.

    A redirect or a demand to log in is an answer of the service; 404 and 5xx are not.
    """
    try:
        with _OPENER.open(url, timeout=timeout):
            return None
    except urllib.error.HTTPError as exc:
        return None if 300 <= exc.code < 404 else "it answers %d %s" % (exc.code, exc.reason)
    except urllib.error.URLError as exc:
        return str(exc.reason)
    except (OSError, http.client.HTTPException) as exc:
        return str(exc) or type(exc).__name__


def wait(url: str, seconds: float) -> Optional[str]:
    """Ask *url* until it answers as it should, for *seconds* at the most; see :func:`ask`."""
    deadline = time.monotonic() + seconds
    while True:
        problem = ask(url)
        if problem is None or time.monotonic() >= deadline:
            return problem
        time.sleep(_PAUSE)
