# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the stack logs in at GitHub: with a token, or as an App."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.meywd.tamma.plugins.module_utils import github

# ansible-core requires it; ansible-test imports this file without.
with contextlib.suppress(ImportError):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

_LOGIN = "tamma_stack_github_token"
_APP = "tamma_stack_github_app_id"
_KEY = "tamma_stack_github_app_private_key"
_INSTALLATION = "tamma_stack_github_app_installation_id"
_NUMBERS = {_APP: "the App's number", _INSTALLATION: "the number of its installation"}


def problems(variables: Mapping[str, Any], *, needed: bool) -> Iterable[str]:
    """Find what is wrong with the login; never says a secret. needed: whether there has to be one."""
    given = _texts(variables)
    token, app = given.get(_LOGIN, ""), {name: given.get(name, "") for name in (*_NUMBERS, _KEY)}
    if not any(app.values()):
        if needed and not token:
            yield (
                "%s is not set: give it a GitHub token with write access to the repository, vaulted in the inventory "
                "(or GITHUB_TOKEN in the controller's environment), or log in as an App with %s and its like."
                % (_LOGIN, _APP)
            )
        return
    if token:
        yield (
            "%s (or GITHUB_TOKEN in the controller's environment) and %s are both set, and one login is used: "
            "take one of them out, the token with an empty text." % (_LOGIN, min(filter(app.get, app)))
        )
    for name, what in _NUMBERS.items():
        if not app[name].isdigit():
            yield "%s is no number: give %s, which its settings on GitHub show." % (name, what)
    yield from _key(app[_KEY])


def unknown(variables: Mapping[str, Any], connect: github.Connect = github.connection) -> Iterable[str]:
    """Ask GitHub whether it knows the App; call this when its login has no other problem.

    Only what can never work is told. Nobody is refused because GitHub does not answer this machine: the look after the
    deploy asks from the host.
    """
    given = _texts(variables)
    owner, repository = (given.get("tamma_stack_github_" + name, "") for name in ("owner", "repo"))
    if given.get(_KEY) and owner and repository:
        found = github.app(given[_APP], given[_INSTALLATION], given[_KEY], owner, repository, connect)
        yield from (one.words for one in found if one.refused)


def _texts(variables: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value).strip() for name, value in variables.items()}


def _key(text: str) -> Iterable[str]:
    if not text:
        yield "%s is not set: give it the App's private key as PEM text, vaulted in the inventory." % _KEY
        return
    try:
        if not isinstance(serialization.load_pem_private_key(text.encode(), None), rsa.RSAPrivateKey):
            yield "%s is no RSA key, and GitHub takes no other: give the one that the App's settings made." % _KEY
    except TypeError:
        yield "%s is encrypted, and nobody is there to type its passphrase: give it without, vaulted." % _KEY
    except ValueError:
        yield "%s is no private key in PEM form: give the text of the file, its first and last line included." % _KEY
