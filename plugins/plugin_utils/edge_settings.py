# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of the edge may say.

They end up in the Caddyfile, where white space, braces, quotes and the number sign have a meaning: a
value that holds one would become other words of the configuration than the one it stands for.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from ansible_collections.meywd.tamma.plugins.plugin_utils import certificates

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_EMAIL = re.compile(rf"[A-Za-z0-9.!&'*+/=?^_~-]+@{_LABEL}(?:\.{_LABEL})*")
# Of a service, maybe: those may have names that the DNS does not take.
_HOST = r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])"
_PORT = r"(?::(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))"
_URL = re.compile(rf"https://{_HOST}{_PORT}?(?:/[A-Za-z0-9._~!&'*+,;=:@%/?-]*)?")
# Caddy takes no path for where it sends requests to.
_ADDRESS = re.compile(rf"(?:https?://)?{_HOST}{_PORT}?")
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()+,;=:@%-]+)*/?\*?")
# Where Tamma lets everybody do everything. Clients of the one below it bring keys of their own.
_WITHOUT_LOGIN = ("/api/", "/elsa-api/")
_WITH_KEYS = "/api/v1/"
_COMMAND = "/api/engine/command"
_KEY = re.compile(r"[A-Za-z0-9._~+/=-]*")
_USER = re.compile(r"[\w.@+-]+")
# What Caddy replaces wherever it begins a line.
_DIRECTIVE = "import"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
# Each more doubles the time of a login, and of every wrong password: 12 is about a quarter of a second.
_HIGHEST_COST = 12
NO_EDGE = "Production publishes the edge alone, and tamma_stack_edge is false: leave it out, or use another profile."


def problems(variables: Mapping[str, Any]) -> list[str]:
    """Find what the edge's *variables*, by their names, must not say. Returns sentences without secrets."""
    return [
        *_domains({name: _text(value) for name, value in variables.items() if name.endswith("_domain")}),
        *_email(_text(variables.get("tamma_stack_edge_email"))),
        *_authority(_text(variables.get("tamma_stack_edge_acme_ca"))),
        *_authority_root(_text(variables.get("tamma_stack_edge_acme_root"))),
        *_forward_auth(_text(variables.get("tamma_stack_edge_forward_auth"))),
        *_users(variables.get("tamma_stack_edge_users") or {}),
        *_two_logins(variables.get("tamma_stack_edge_users"), variables.get("tamma_stack_edge_forward_auth")),
        *_open_paths("tamma_stack_edge_open_paths", variables.get("tamma_stack_edge_open_paths") or []),
        *_without_login(variables.get("tamma_stack_edge_open_paths") or []),
        *_elsa(variables),
    ]


def exposed_problems(
    variables: Mapping[str, Any], *, claims_login: bool = False, without_login: bool = False
) -> Iterable[str]:
    """Find what a stack misses that others than its host reach; without any *variables* it has no edge.

    claims_login: TAMMA_ENABLE_AUTH is set. without_login: somebody has said that nobody shall be asked.
    """
    if without_login or any(_logins(variables)):
        return
    if not variables:
        yield (
            "TAMMA_BIND_ADDRESS lets others than the host reach every service without a login: leave it out and use "
            "tamma_stack_edge with tamma_stack_edge_users, or set tamma_stack_without_login to true if whoever "
            "reaches the host there may do everything."
        )
        return
    no_login = (
        ", and TAMMA_ENABLE_AUTH is none, because Tamma answers every login with 401 when it is true"
        if claims_login
        else ""
    )
    yield (
        f"An edge without a login is refused{no_login}: set tamma_stack_edge_users or tamma_stack_edge_forward_auth, "
        f"or tamma_stack_without_login to true if whoever reaches {_text(variables.get('tamma_stack_domain'))} may do "
        "everything there."
    )


def warnings(variables: Mapping[str, Any]) -> Iterable[str]:
    """Find an edge that asks nobody who they are."""
    if variables and not any(_logins(variables)):
        yield (
            f"The edge has no login, and Tamma asks for none: whoever reaches {variables.get('tamma_stack_domain')} "
            "may do everything there. Set tamma_stack_edge_users or tamma_stack_edge_forward_auth."
        )


def _logins(variables: Mapping[str, Any]) -> tuple[Any, Any]:
    return variables.get("tamma_stack_edge_users"), variables.get("tamma_stack_edge_forward_auth")


def basic_names(users: Iterable[str]) -> str:
    """Write a regular expression for what a request's login (RFC 7617) begins with when it names one of the *users*.

    >>> basic_names(["abc"])
    'YWJjO[ghijklmnopqrstuv]'
    """
    return "|".join(_begins(f"{user}:".encode()) for user in sorted(map(str, users)))


def _begins(name: bytes) -> str:
    known, rest = divmod(len(name), 3)
    start = base64.b64encode(name[: known * 3]).decode().replace("+", "[+]")
    if not rest:
        return start
    # What follows decides the last bits of the last letter.
    most = [base64.b64encode(name[known * 3 :] + bytes([end] * (3 - rest))).decode()[: rest + 1] for end in (0, 255)]
    first, last = (_LETTERS.index(letters[-1]) for letters in most)
    fixed = most[0][:-1].replace("+", "[+]")
    return f"{start}{fixed}[{_LETTERS[first : last + 1]}]"


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _domains(domains: Mapping[str, str]) -> Iterable[str]:
    seen: dict[str, str] = {}
    for variable, name in domains.items():
        if not name:
            continue
        if not _NAME.fullmatch(name) or _is_address(name):
            yield (
                f"{variable} is '{name}', which is no domain name: give a name such as tamma.example.org alone, "
                "without https://, port or path, and one with other letters in its xn-- form."
            )
        elif name.casefold() in seen:
            yield f"{variable} and {seen[name.casefold()]} are both '{name}': give each one a name of its own."
        seen.setdefault(name.casefold(), variable)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _email(address: str) -> Iterable[str]:
    if address and not _EMAIL.fullmatch(address):
        yield f"tamma_stack_edge_email is '{address}', which is no e-mail address: give one such as ops@example.org."


def _authority(url: str) -> Iterable[str]:
    if url and not _URL.fullmatch(url):
        yield (
            f"tamma_stack_edge_acme_ca is '{url}', which is no https:// address: give the directory URL of the "
            "authority, such as https://acme.example.org/directory."
        )


def _authority_root(text: str) -> Iterable[str]:
    if text and not certificates.is_certificate(text):
        yield "tamma_stack_edge_acme_root is no certificate in PEM form: give the text of the authority's root."


def _forward_auth(address: str) -> Iterable[str]:
    if address and not _ADDRESS.fullmatch(address):
        # It might hold a password, which has no place in it.
        yield (
            "tamma_stack_edge_forward_auth is no address of a login service: give host and port, such as "
            "http://oauth2-proxy:4180, without path, user or password."
        )


def _users(users: Any) -> Iterable[str]:
    if not isinstance(users, Mapping):
        yield "tamma_stack_edge_users is no dictionary: give user names and the bcrypt hashes of their passwords."
        return
    for user, hashed in users.items():
        name = str(user)
        if not _USER.fullmatch(name) or name == _DIRECTIVE:
            # A name that is none may be a whole line of a password file.
            yield (
                "tamma_stack_edge_users has a user name that the edge cannot take: use letters, digits and . _ @ + - "
                f"alone, and another name than '{_DIRECTIVE}'."
            )
            continue
        match = _BCRYPT.fullmatch(_text(hashed))
        if not match:
            yield (
                f"tamma_stack_edge_users has something else than a bcrypt hash for {name}, maybe the password itself: "
                f"give what `htpasswd -nB -C 10 {name}` prints after the colon."
            )
        elif not 4 <= int(match[1]) <= _HIGHEST_COST:
            yield (
                f"The hash of {name} in tamma_stack_edge_users has the cost {int(match[1])}, which keeps the processor "
                f"busy at every login: make one with `htpasswd -nB -C 10 {name}`."
            )


def _two_logins(users: Any, forward_auth: Any) -> Iterable[str]:
    if users and forward_auth:
        yield (
            "tamma_stack_edge_users and tamma_stack_edge_forward_auth are both set, and a request is asked for one "
            "login only: set one of them."
        )


def _elsa(variables: Mapping[str, Any]) -> Iterable[str]:
    """Find what would let anybody in at ELSA: its own key and login are built in, and known to everybody."""
    for name, why in (
        ("tamma_stack_edge_elsa_domain", "ELSA's own one is built in and known to everybody"),
        ("tamma_stack_edge_rabbitmq_domain", "RabbitMQ's own one was not made to be tried by the world"),
    ):
        if _text(variables.get(name)) and not any(_logins(variables)):
            yield (
                f"{name} is set, and the edge has no login: {why}, so set tamma_stack_edge_users or "
                "tamma_stack_edge_forward_auth, or leave that name out."
            )
    if not _KEY.fullmatch(_text(variables.get("tamma_stack_elsa_api_key"))):
        yield "tamma_stack_elsa_api_key has characters that the edge cannot send: use letters, digits and ._~+/=-."
    name = "tamma_stack_edge_elsa_open_paths"
    paths = [_text(path) for path in variables.get(name) or []]
    yield from _open_paths(name, paths)
    for path in paths:
        if not path.startswith("/workflows/") or path == "/workflows/*":
            yield f"{name} has '{path}': open single paths below /workflows/, everything else of ELSA needs the login."


def _open_paths(variable: str, paths: Iterable[Any]) -> Iterable[str]:
    for path in map(_text, paths):
        if path == "/*":
            yield f"{variable} has '/*', which opens everything: name the paths that need no login."
        elif not path.startswith("/") or not _PATH.fullmatch(path):
            yield (
                f"{variable} has '{path}': give a path that begins with a slash, without spaces, "
                "braces, quotes, dots or slashes that lead elsewhere, and with a star at its end at most."
            )


def _without_login(paths: Iterable[Any]) -> Iterable[str]:
    """Find paths that open the APIs; Caddy compares them in any case, and decoded."""
    for path in map(_text, paths):
        plain = unquote(path).casefold()
        start = plain[:-1] if plain.endswith("*") else ""
        wide = start not in ("", "/") and any(
            area.startswith(start) or (start.startswith(area) and not start.startswith(_WITH_KEYS))
            for area in _WITHOUT_LOGIN
        )
        if wide or plain == _COMMAND:
            yield (
                f"tamma_stack_edge_open_paths has '{path}', behind which Tamma asks for no login: name single paths."
            )
