# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks what the operator set, on the controller, before any host is visited."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.meywd.tamma.plugins.module_utils import placeholders, places, signatures
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.formats import quote_dotenv
from ansible_collections.meywd.tamma.plugins.plugin_utils import (
    backups,
    certificates,
    edge_settings,
    github_app,
    networks,
    settings,
    variables,
)

_COLLECTION = Path(__file__).resolve().parents[2]


class ActionModule(ActionBase):
    """Implements M(meywd.tamma.tamma_validate); it never leaves the controller."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        task_vars = task_vars or {}
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            argument_spec={
                "required": {"type": "dict", "default": {}},
                "forbidden": {"type": "dict", "default": {}},
                "minimum_lengths": {"type": "dict", "default": {}},
                "ascii": {"type": "list", "elements": "str", "default": []},
                "secrets": {"type": "dict", "default": {}, "no_log": True},
                "settings": {"type": "dict", "default": {}},
                "settings_table": {"type": "str"},
                "services": {"type": "list", "elements": "str", "default": []},
                "service_environment": {"type": "raw", "default": {}, "no_log": True},
                "github": {"type": "dict", "default": {}, "no_log": True},
                "github_needed": {"type": "bool", "default": False},
                "github_asked": {"type": "bool", "default": False},
                "overrides": {"type": "dict", "default": {}, "no_log": True},
                "shares_postgres": {"type": "bool", "default": True},
                "edge": {"type": "dict", "default": {}, "no_log": True},
                "production": {"type": "bool", "default": False},
                "exposed": {"type": "bool", "default": False},
                "published": {"type": "list", "elements": "str", "default": []},
                "without_login": {"type": "bool", "default": False},
                "backups": {"type": "dict", "default": {}, "no_log": True},
                "secret_variables": {"type": "list", "elements": "str", "default": [], "no_log": False},
                "image_keys": {"type": "list", "elements": "dict", "default": [], "no_log": False},
                "batches": {"type": "list", "elements": "str", "default": []},
                "names": {"type": "dict", "default": {}},
                "paths": {"type": "dict", "default": {}},
                "webhook": {"type": "str", "default": "", "no_log": True},
            }
        )
        problems = [*_unknown_variables(task_vars)]
        about_settings: list[str] = []
        if arguments["settings_table"]:
            table = settings.read(
                Path(self._find_needle("files", arguments["settings_table"])).read_text(encoding="utf-8")
            )
            problems += settings.problems(arguments["settings"], table)
            given = arguments["service_environment"]
            problems += settings.service_problems(given, arguments["services"], table)
            if arguments["production"]:
                problems += _clear_text(task_vars.get("tamma_stack_service_environment"))
            about_settings += settings.warnings(arguments["settings"], table)
            about_settings += settings.service_warnings(given, table)
            about_settings += edge_settings.warnings(arguments["edge"])
            if not arguments["edge"]:
                about_settings += settings.published(arguments["settings"])
            about_settings += shared_repositories(task_vars)
            about_settings += networks.warnings(arguments["overrides"])
        about_login = list(github_app.problems(arguments["github"], needed=arguments["github_needed"]))
        if arguments["github_asked"] and not about_login:
            about_login += github_app.unknown(arguments["github"])
        problems += about_login
        problems += settings.doubled(arguments["overrides"])
        if not arguments["shares_postgres"]:
            problems += self._shared_database(task_vars)
        values = {
            name: self._value(name, task_vars)
            for option in ("required", "forbidden", "minimum_lengths", "secret_variables")
            for name in arguments[option]
        }
        problems += [
            "%s is not set: give it %s." % (name, hint)
            for name, hint in arguments["required"].items()
            if not values[name].strip()
        ]
        problems += [
            "%s is set, but %s: leave it out." % (name, reason)
            for name, reason in arguments["forbidden"].items()
            if values[name]
        ]
        problems += [
            "%s is %d characters long and needs at least %d." % (name, len(values[name]), int(least))
            for name, least in arguments["minimum_lengths"].items()
            if 0 < len(values[name]) < int(least)
        ]
        every = {**arguments["settings"], **arguments["secrets"]}
        problems += [
            *_not_ascii({name: every.get(name) or self._value(name, task_vars) for name in arguments["ascii"]}),
            *_unprintable(every),
        ]
        problems += edge_settings.problems(arguments["edge"])
        problems += places.project_problems(_texts(arguments["names"]))
        problems += places.path_problems(_texts(arguments["paths"]))
        if arguments["backups"]:
            problems += backups.problems(arguments["backups"])
            about_settings += backups.warnings(arguments["backups"])
            of_all, shared = backups.together(_stores(task_vars, arguments["backups"]))
            problems += of_all
            about_settings += shared
        problems += _no_rules(arguments["image_keys"])
        problems += [
            *_not_steps(arguments["batches"]),
            *variables.no_address("tamma_stack_hooks.webhook", arguments["webhook"]),
        ]
        about_certificate, soon = _certificate(arguments["edge"])
        warnings = [*about_settings, *soon]
        problems += about_certificate
        if arguments["production"] and not arguments["edge"]:
            problems.append(edge_settings.NO_EDGE)
        elif arguments["exposed"] or "edge" in arguments["published"]:
            problems += edge_settings.exposed_problems(
                arguments["edge"],
                claims_login=settings.enables_auth(arguments["settings"]),
                without_login=arguments["without_login"],
            )
        problems += networks.published_problems(arguments["published"], without_login=arguments["without_login"])
        if arguments["exposed"] or arguments["published"]:
            problems += map(placeholders.refusal, placeholders.found(arguments["secret_variables"], values))
        if problems:
            result.update(failed=True, msg="\n".join(problems))
        elif warnings:
            result["warnings"] = warnings
        return result

    def _shared_database(self, task_vars: dict[str, Any]) -> Iterable[str]:
        """Look for other hosts of the fleet that use the same external database."""
        fleet = (task_vars.get("groups") or {}).get("tamma") or task_vars.get("ansible_play_hosts_all") or []
        names = ("postgres_host", "postgres_port", "postgres_database", "profile")
        own = {name: self._value("tamma_stack_" + name, task_vars) for name in names}
        if not own["postgres_host"]:
            return
        others = {}
        for host in fleet:
            known = task_vars["hostvars"][host]
            if host != task_vars.get("inventory_hostname") and "tamma_stack_postgres_host" in known:
                others[host] = {name: known.get("tamma_stack_" + name) for name in names}
        yield from settings.shared_database(own, others)

    def _value(self, name: str, task_vars: dict[str, Any]) -> str:
        value = self._templar.template(task_vars.get(name))
        return "" if value is None else str(value)


def shared_repositories(task_vars: dict[str, Any]) -> Iterable[str]:
    """Look, once for all hosts, for those of the fleet whose engines take the same issues."""
    here = task_vars.get("inventory_hostname")
    everybody = task_vars.get("ansible_play_hosts_all") or []
    fleet = (task_vars.get("groups") or {}).get("tamma") or everybody
    if here not in fleet or here != next(iter(everybody), here):
        return
    found = {}
    for host in fleet:
        known = task_vars["hostvars"][host]
        try:
            given = known.get("tamma_stack_environment")
            found[host] = {
                "labels": given.get("TAMMA_ISSUE_LABELS") if isinstance(given, Mapping) else "",
                **{
                    name: known.get("tamma_stack_github_" + name, os.environ.get("GITHUB_" + name.upper()))
                    for name in ("owner", "repo")
                },
            }
        except AnsibleError:  # Its own run says what is wrong with them.
            continue
    yield from settings.shared_repositories(found)


def _stores(task_vars: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Where the hosts of the fleet store backups, for the first of the play to compare; nothing for the others."""
    here = task_vars.get("inventory_hostname")
    everybody = task_vars.get("ansible_play_hosts_all") or []
    if here != next(iter(everybody), None):
        return {}
    found = {}
    for host in {*everybody, *((task_vars.get("groups") or {}).get("tamma") or [])}:
        known = task_vars["hostvars"][host]
        try:
            found[host] = {
                "host": known.get("tamma_backup_host", host),
                "stack": known.get("tamma_stack_name", "tamma"),
                "repositories": known.get("tamma_backup_repositories") or [],
            }
        except AnsibleError:  # Its own run says what is wrong with them.
            continue
    if here in found:
        found[here] |= {name: own[name] for name in ("host", "repositories")}
    return found


def _unknown_variables(task_vars: dict[str, Any]) -> Iterable[str]:
    for name, near in variables.unknown(task_vars, variables.known(_COLLECTION)):
        yield "There is no variable %s: %s." % (
            name,
            "did you mean %s" % near if near else "docs/variables.md lists those that exist",
        )


def _clear_text(written: Any) -> Iterable[str]:
    """Find secrets in tamma_stack_service_environment, as it is written, that stand in a file as they are."""
    for service, given in written.items() if isinstance(written, Mapping) else ():
        for name, value in given.items() if isinstance(given, Mapping) else ():
            if settings.looks_secret(str(name), value) and variables.is_clear_text(value):
                yield (
                    "tamma_stack_service_environment has %s of %s in clear text, which production refuses: vault it."
                    % (name, service)
                )


def _not_steps(batches: list[str]) -> Iterable[str]:
    for step in map(str.strip, batches):
        if not re.fullmatch(r"[1-9]\d*|([1-9]\d?|100)%", step):
            yield (
                "tamma_stack_update_batches has the step '%s': give a number of hosts, such as 1, or a share of them, "
                "such as 25%%." % step
            )


def _no_rules(rules: list[Any]) -> Iterable[str]:
    try:
        signatures.parse(rules)
    except OperatorError as exc:
        yield exc.message


def _certificate(edge: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Judge the certificate that the edge is given, if it is: what is wrong, and what will be soon."""
    certificate, key = (str(edge.get("tamma_stack_edge_certificate%s" % end) or "") for end in ("", "_key"))
    if edge.get("tamma_stack_edge_tls") != "files" or not (certificate and key):
        return [], []
    names = [str(value) for name, value in edge.items() if name.endswith("_domain") and value]
    return certificates.judge(certificate, key, names, datetime.datetime.now(datetime.timezone.utc))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in values.items()}


def _not_ascii(values: dict[str, Any]) -> Iterable[str]:
    for name, value in values.items():
        if not str(value or "").isascii():
            yield "%s holds characters beyond ASCII, with which its service does not start: leave them out." % name


def _unprintable(values: dict[str, Any]) -> Iterable[str]:
    for name, value in sorted(values.items()):
        text = "" if value is None else str(value)
        try:
            quote_dotenv(text)
        except ValueError:
            yield "%s holds a line break or another control character: give it as one line of text." % name
            continue
        if text != text.strip():
            yield "%s begins or ends with a space, which the services cut off: take it away." % name
