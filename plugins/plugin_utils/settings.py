# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of settings, roles/tamma_stack/files/settings.yml, and what the operator's own are checked against."""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible.module_utils.common.yaml import yaml_load

_HERE = "tamma_stack_environment"
_SERVICES = "tamma_stack_service_environment"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
# Nearer than that, a name is a slip of the finger and not another one: Jira__BaseUrl is not Jira__Email.
_CLOSE = 0.85
# Npgsql knows each word in several spellings, in any case and with or without spaces; of two it takes the last.
_SYNONYMS = {
    "server": "host",
    "db": "database",
    "userid": "username",
    "uid": "username",
    "psw": "password",
    "pwd": "password",
    "maxpoolsize": "maximumpoolsize",
    "minpoolsize": "minimumpoolsize",
}
# A word, and its value in quotes, which are doubled inside, or up to the next semicolon.
_PAIR = re.compile(r"""\s*([^=;]+?)\s*=\s*("(?:[^"]|"")*"|'(?:[^']|'')*'|[^;]*)(?:;|\Z)""")
_CONNECTION = "ConnectionStrings__DefaultConnection"
# A number of tokens is no secret, and nor is a tokenizer.
_SECRET_NAME = re.compile(
    r"(api_?key|token(?!s|izer)|secret|passw|credential|webhook_?url|private_?key)", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"gh[pousr]_|github_pat_|sk-|xox[abp]-|AKIA[0-9A-Z]{8}|-----BEGIN |https://hooks\.slack\.com/|\w+://[^/@\s]*:[^/@\s]+@"
)
_PLAIN_VALUE = re.compile(r"[0-9.]*|true|false", re.IGNORECASE)
# In a JSON text these stand in strings alone.
_NO_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class Setting(NamedTuple):
    """A setting of `.env`, see the table's own words."""

    name: str
    effect: str = ""
    services: Mapping[str, str] = {}
    default: str = ""
    value: str | None = None
    secret: bool = False
    variable: str = ""
    made: bool = False
    internal: bool = False
    unread: bool = False
    check: Mapping[str, Any] = {}
    since: str = ""


class Section(NamedTuple):
    """Settings that belong together."""

    title: str
    settings: tuple[Setting, ...]
    text: str = ""


class Table(NamedTuple):
    """fixed: what the Compose files always set. others: what services read beside. Service → variable → effect."""

    tamma: str
    sections: tuple[Section, ...]
    fixed: Mapping[str, Mapping[str, str]]
    others: Mapping[str, Mapping[str, str]]

    @property
    def settings(self) -> dict[str, Setting]:
        """Every setting by its name."""
        return {item.name: item for section in self.sections for item in section.settings}


def read(text: str) -> Table:
    """Read the table."""
    content = yaml_load(text)
    sections = tuple(
        Section(item["title"], tuple(Setting(**setting) for setting in item["settings"]), item.get("text", ""))
        for item in content["sections"]
    )
    return Table(content["tamma"], sections, content["fixed"], content["others"])


def problems(settings: Mapping[str, object], table: Table) -> Iterable[str]:
    """Find in tamma_stack_environment what is no setting, is not set there, or no service can live with."""
    known = table.settings
    for name in sorted(settings):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            yield "%s has the setting %s, which no service reads: %s." % (
                _HERE,
                name,
                "did you mean %s" % near[0] if near else ".env.example lists those that exist",
            )
        elif known[name].variable or known[name].made:
            yield "%s has %s, which is not set there: %s." % (
                _HERE,
                name,
                "set %s" % known[name].variable if known[name].variable else "the collection works it out",
            )
        else:
            yield from _wrong_value(known[name], _text(settings[name]))
    yield from _authority({name: _text(value) for name, value in settings.items()})


def warnings(settings: Mapping[str, object], table: Table) -> Iterable[str]:
    """Find in tamma_stack_environment what does something else than its name says."""
    if enables_auth(settings):
        yield (
            "TAMMA_ENABLE_AUTH is true, which locks everybody out of tamma-api: its login and its exchange of keys are "
            "placeholders that answer 401 (seen with Tamma %s)." % table.tamma
        )
    for name in sorted(settings):
        if name in table.settings and table.settings[name].unread:
            yield "No service of Tamma %s reads %s, which tamma_stack_environment sets." % (table.tamma, name)


def published(settings: Mapping[str, object]) -> Iterable[str]:
    """Find an address on which every service of a stack without an edge is there for others than the host."""
    address = _text(settings.get("TAMMA_BIND_ADDRESS"))
    try:
        loopback = not address or ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        yield (
            "TAMMA_BIND_ADDRESS is %s, so whoever reaches the host there has every service, without a login and "
            "without TLS: leave it out, and use a tunnel of SSH or an edge with a login." % address
        )


def enables_auth(settings: Mapping[str, object]) -> bool:
    """Whether TAMMA_ENABLE_AUTH is on, which looks like a login and is none."""
    return _text(settings.get("TAMMA_ENABLE_AUTH")).lower() == "true"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _wrong_value(setting: Setting, value: str) -> Iterable[str]:
    def wrong(what: str) -> str:
        return "%s has %s '%s': give %s." % (_HERE, setting.name, value, what)

    if not value:
        return
    if "words" in setting.check and value not in setting.check["words"]:
        words = setting.check["words"]
        yield wrong("one of %s" % ", ".join(words))
    if "switch" in setting.check and value.lower() not in ("true", "false"):
        yield wrong("true or false")
    if "containers" in setting.check and not re.fullmatch("[0-9]{1,3}", value):
        yield wrong("a whole number of containers")
    if "count" in setting.check:
        most = setting.check.get("most", 999)
        if not re.fullmatch("0*[1-9][0-9]*", value):
            yield wrong("a number from 1 on, else %s" % setting.check["count"])
        elif len(value.lstrip("0")) > 9 or int(value) > most:
            yield wrong("%d at most" % most)
    if "port" in setting.check:
        taken = setting.check["port"]
        if not re.fullmatch("[1-9][0-9]{0,4}", value) or int(value) > 65535 or int(value) in taken:
            yield wrong("a port, and none of %s, where the edge listens inside" % " and ".join(map(str, taken)))
    if "address" in setting.check and not _is_address(value):
        # It may hold a password.
        yield "%s has a %s that is no address: it begins with https:// or http:// and a host." % (_HERE, setting.name)


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _authority(given: Mapping[str, str]) -> Iterable[str]:
    authority = given.get("JWT_AUTHORITY", "")
    insecure = given.get("JWT_REQUIRE_HTTPS", "true").lower() == "false"
    if authority and not authority.startswith(("https://", "http://") if insecure else "https://"):
        yield (
            "tamma_stack_environment has the JWT_AUTHORITY '%s', which is no address with https: every request to the "
            'mentorship API would fail. For tests JWT_REQUIRE_HTTPS: "false" allows one without.' % authority
        )


# -- tamma_stack_service_environment ----------------------------------------------------------


def service_problems(given: Any, services: Iterable[str], table: Table) -> Iterable[str]:
    """Find in tamma_stack_service_environment what cannot be set there; never says a value."""
    there = sorted(services)
    if not isinstance(given, Mapping):
        yield "%s is no dictionary: give names of services, and for each names and values." % _SERVICES
        return
    for service, variables in given.items():
        if service not in there:
            near = difflib.get_close_matches(str(service), there, n=1)
            yield "%s names the service %s, which this stack does not have: %s." % (
                _SERVICES,
                service,
                "did you mean %s" % near[0] if near else "it has %s" % ", ".join(there),
            )
        elif not isinstance(variables, Mapping):
            yield "%s has no dictionary for %s: give names and values." % (_SERVICES, service)
        else:
            for name, value in variables.items():
                yield from _wrong_variable(str(service), str(name), value, table)


def _wrong_variable(service: str, name: str, value: object, table: Table) -> Iterable[str]:
    if not _NAME.fullmatch(name):
        yield "%s has '%s' for %s, which is no name of a variable." % (_SERVICES, name, service)
        return
    if isinstance(value, (Mapping, list, tuple)):
        yield "%s has something else than one text for %s of %s." % (_SERVICES, name, service)
    reason = _computed(service, name, table)
    if reason:
        yield "%s has %s for %s, which the collection sets: %s." % (_SERVICES, name, service, reason)


def _computed(service: str, name: str, table: Table) -> str:
    """How else a variable is set that the Compose files set already; nothing when they do not."""
    found = [item for item in table.settings.values() if _same(service, item.services.get(service, ""), name)]
    if len(found) == 1:
        return "use %s" % (found[0].variable or "%s in %s" % (found[0].name, _HERE))
    if found:
        return "it is put together from %s" % ", ".join(sorted(item.name for item in found if not item.made))
    if any(_same(service, item, name) for item in table.fixed.get(service, {})):
        return "change it in tamma_stack_overrides if you know better"
    return ""


def _same(service: str, one: str, other: str) -> bool:
    # ASP.NET reads names in any case.
    in_any_case = service in ("elsa-server", "tamma-api-dotnet")
    return one.casefold() == other.casefold() if in_any_case else one == other


def service_warnings(given: Any, table: Table) -> Iterable[str]:
    """Find names in tamma_stack_service_environment that are a slip away from one that the service reads."""
    if not isinstance(given, Mapping):
        return
    for service, variables in given.items():
        known = _known(str(service), table)
        for name in map(str, variables if isinstance(variables, Mapping) else ()):
            if any(fnmatchcase(name, pattern) or _same(str(service), name, pattern) for pattern in known):
                continue
            near = difflib.get_close_matches(name, [item for item in known if "*" not in item], n=1, cutoff=_CLOSE)
            if near:
                yield "%s sets %s for %s: did you mean %s?" % (_SERVICES, name, service, near[0])


def _known(service: str, table: Table) -> list[str]:
    of_settings = [item.services[service] for item in table.settings.values() if service in item.services]
    return sorted({*of_settings, *table.fixed.get(service, {}), *table.others.get(service, {})})


def looks_secret(name: str, value: object) -> bool:
    """Whether a variable looks like one that belongs into a vault."""
    text = _text(value)
    named = bool(_SECRET_NAME.search(name)) and not _PLAIN_VALUE.fullmatch(text)
    return named or bool(_SECRET_VALUE.match(text))


def service_overlay(given: Mapping[str, Mapping[str, object]]) -> str:
    """Write the Compose overlay that sets the variables of tamma_stack_service_environment, as they are.

    It is JSON that is YAML as well, which knows no pairs of surrogates and takes some characters for line breaks.
    """
    services = {
        service: {"environment": {name: _text(value).replace("$", "$$") for name, value in variables.items()}}
        for service, variables in given.items()
        if variables
    }
    text = json.dumps({"services": services}, indent=2, ensure_ascii=False)
    return _NO_YAML.sub(lambda match: "\\u%04x" % ord(match[0]), text) + "\n"


# -- own connection strings and databases ------------------------------------------------------


def doubled(overrides: Mapping[str, Any]) -> Iterable[str]:
    """Find what an own connection string of *overrides* says twice. Returns a sentence for each; none shows a value."""
    services = overrides.get("services")
    for name, service in sorted(services.items() if isinstance(services, Mapping) else ()):
        environment = service.get("environment") if isinstance(service, Mapping) else None
        if isinstance(environment, list):
            environment = dict(str(line).partition("=")[::2] for line in environment)
        text = str(environment.get(_CONNECTION) or "") if isinstance(environment, Mapping) else ""
        words: dict[str, list[str]] = {}
        for word, _value in _PAIR.findall(text):
            plain = re.sub(r"\s", "", word).lower()
            words.setdefault(_SYNONYMS.get(plain, plain), []).append(word)
        for found in words.values():
            if len(found) > 1:
                yield (
                    "tamma_stack_overrides has a connection string of %s with %s: Npgsql takes the last one, so keep "
                    "the one that you mean." % (name, " and ".join(found))
                )


def shared_database(own: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Say it when ELSA of other hosts uses the external database of this one.

    own, others: variables of this host, and of the others by their names, without the prefix tamma_stack_.
    """
    place = _place(own)
    found = sorted(host for host, known in others.items() if place and _place(known) == place)
    if found:
        yield (
            "tamma_stack_postgres_host leads to a database that %s %s as well: without a common lock folder each "
            "ELSA fires every timer and continues every delayed step, and each host's updates and restores put the "
            "others' data aside. Give each host a database of its own; tamma_stack_profile 'lite' has no ELSA, and "
            "tamma_stack_postgres_shared: true allows it." % (" and ".join(found), "uses" if len(found) == 1 else "use")
        )


def _place(known: Mapping[str, Any]) -> tuple[str, ...]:
    """Which external database ELSA of a host uses; nothing when it uses none."""
    host = str(known.get("postgres_host") or "").lower().rstrip(".")
    if not host or known.get("profile") == "lite":
        return ()
    return host, str(known.get("postgres_port") or 5432), str(known.get("postgres_database") or "tamma")


def shared_repositories(fleet: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Say it when engines of several hosts take the same issues.

    fleet: owner, repo and labels (the text of TAMMA_ISSUE_LABELS) of each host.
    """
    works: dict[tuple[str, str, frozenset[str]], list[str]] = {}
    for host, known in fleet.items():
        owner, repo = (str(known.get(name) or "") for name in ("owner", "repo"))
        labels = frozenset(label.strip() for label in str(known.get("labels") or "tamma").split(","))
        if owner and repo:
            works.setdefault((owner.lower(), repo.lower(), labels), []).append(host)
    for (owner, repo, labels), hosts in works.items():
        if len(hosts) > 1:
            yield (
                "The engines of %s and %s all take the issues of %s/%s with the label %s, and work on each of them at "
                "the same time: give each host a repository or a label (TAMMA_ISSUE_LABELS) of its own."
                % (", ".join(hosts[:-1]), hosts[-1], owner, repo, ", ".join(sorted(labels)))
            )
