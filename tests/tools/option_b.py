"""What is made of the stack's files for whoever downloads two files and has Docker Compose alone: ``docker/``.

One file for a machine of one's own and one for production, each of a base and its overlays, with everything that those
mount inside it (Compose's inline ``configs``), and the ``.env.example`` of both. `make docs` writes them.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from tests.tools import settings, stack_files
from tests.tools.roles import ROOT

DIRECTORY = ROOT / "docker"
DEVELOPMENT = DIRECTORY / "docker-compose.yml"
PRODUCTION = DIRECTORY / "docker-compose.production.yml"
EXAMPLE = DIRECTORY / ".env.example"
_STACK = ROOT / "roles/tamma_stack"
_WIDTH = 118

#: What Compose says when one is missing.
REQUIRED = {
    "GITHUB_TOKEN": "set it in .env to a token with write access to the repository",
    "ANTHROPIC_API_KEY": "set it in .env to a key from console.anthropic.com",
    "GITHUB_OWNER": "set it in .env to the organisation or user that owns the repository on GitHub",
    "GITHUB_REPO": "set it in .env to the name of the repository that Tamma works on",
}
_OPENSSL = "set it in .env to what `openssl rand -hex 32` makes, before the first start"
REQUIRED_IN_PRODUCTION = {
    **REQUIRED,
    "POSTGRES_PASSWORD": _OPENSSL,
    "RABBITMQ_PASSWORD": _OPENSSL,
    "ELSA_SIGNING_KEY": _OPENSSL,
    "TAMMA_JWT_SECRET": _OPENSSL,
    "EDGE_DOMAIN": "set it in .env to the name under which browsers reach this machine",
    "EDGE_PASSWORD_HASH": "set it in .env, in single quotes, to what `htpasswd -nBC 10 tamma` makes, after the colon",
}
#: Settings that these files alone have: name → (meaning, default).
OWN = {
    "EDGE_USER": (
        "Who may log in at the edge. With the default, left out, other names cost the processor nothing.",
        "tamma",
    ),
    "EDGE_PASSWORD_HASH": (
        "In single quotes what `docker run --rm -it httpd:2-alpine htpasswd -nBC 10 tamma` says after the colon.",
        "",
    ),
    "EDGE_TLS": ("Empty for a certificate from Let's Encrypt; internal for one that browsers do not know.", ""),
    "EDGE_EMAIL": ("Whom Let's Encrypt writes to.", ""),
}
_OTHERWISE = {
    "EDGE_DOMAIN": ("The name under which the edge answers.", ""),
    "API_DOTNET_REPLICAS": (
        "Two get in each other's way when they migrate the database. A playbook starts one first, and has two.",
        "1",
    ),
    "TAMMA_AGENT_PROVIDER": (
        "anthropic, openai or local. Another one's key goes below environment, in a docker-compose.override.yml.",
        "",
    ),
    "DASHBOARD_URL": (
        "The one origin of browsers. In production https:// and EDGE_DOMAIN; say it with another EDGE_HTTPS_PORT.",
        "",
    ),
}

_HEADER = """\
# The whole Tamma stack in one file. Made by `make docs` of meywd.tamma from the files that its playbooks deploy, in
# roles/tamma_stack/files, which also say why everything is as it is: change those.
#
"""
_DEVELOPMENT_HEADER = """\
#   curl -fsSL https://raw.githubusercontent.com/meywd/tamma/main/docker/docker-compose.yml -o docker-compose.yml
#   curl -fsSL https://raw.githubusercontent.com/meywd/tamma/main/docker/.env.example -o .env
#   fill in the four values that .env asks for, then: docker compose up -d
#
# Everything listens on this machine's loopback address alone: the dashboard on port 3001, tamma-api on 3100, the .NET
# API on 3000, ELSA on 5000, RabbitMQ's page on 15672. Needs Docker Engine 25 and Compose 2.24, or later.
"""
_PRODUCTION_HEADER = """\
# For production: limits, few rights, and an edge with TLS and a login, which is all that is published. Download it as
# docker-compose.yml, with .env.example as .env; docs/option-b.md says what .env needs beside the four values, and what
# nobody does here: updates that are watched and go back, backups, the rotation of secrets, ELSA behind the edge.
# Needs Docker Engine 25 and Compose 2.24, or later.
"""
_LOGGING = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}
#: What the operator reads of a service, and nobody else.
_OPERATORS = ("labels",)


class _Dumper(yaml.SafeDumper):
    """YAML as a person writes it: indented lists, texts of several lines as such, short lists in one line."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's own names
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the same
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _represent_list(dumper: _Dumper, items: list[Any]) -> yaml.SequenceNode:
    flow = all(isinstance(item, str) and not re.search(r"[$,]|: ", item) for item in items)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(list, _represent_list)


def _merge(below: Any, above: Any) -> Any:
    """As Compose merges an overlay without tags of its own."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {
            **below,
            **{key: _merge(below[key], value) if key in below else value for key, value in above.items()},
        }
    if isinstance(below, list) and isinstance(above, list):
        return [*below, *(item for item in above if item not in below)]
    return above


def _doubled(text: str) -> str:
    """A text that Compose leaves as it is."""
    return text.replace("$", "$$")


def _config(stack: dict[str, Any], service: str, name: str, target: str, text: str) -> None:
    """Put a file of a service inside; its hash makes Compose recreate the container when the text changes."""
    stack.setdefault("configs", {})[name] = {"content": _doubled(text)}
    found = stack["services"][service]
    found["configs"] = [{"source": name, "target": target}]
    found["labels"] = {"tamma.config-hash": hashlib.sha256(text.encode()).hexdigest()[:16]}
    # Compose copies the text into the container before that starts, which a read-only root refuses.
    found.pop("read_only", None)


def _without_mount(service: dict[str, Any], target: str) -> None:
    def is_target(volume: Any) -> bool:
        return volume["target"] == target if isinstance(volume, dict) else str(volume).split(":")[1] == target

    service["volumes"] = [volume for volume in service["volumes"] if not is_target(volume)]
    if not service["volumes"]:
        del service["volumes"]


#: What these files do not leave open: another server of PostgreSQL, and what the operator remembers of a first start.
_FIXED = {
    "${POSTGRES_INITIAL_PASSWORD:-${POSTGRES_PASSWORD:-tamma_dev_only}}": "${POSTGRES_PASSWORD:-tamma_dev_only}",
    "${RABBITMQ_INITIAL_PASSWORD:-${RABBITMQ_PASSWORD:-tamma_dev_only}}": "${RABBITMQ_PASSWORD:-tamma_dev_only}",
    "${POSTGRES_HOST:-postgres}": "postgres",
    "${POSTGRES_HOST_PORT:-5432}": "5432",
    "${POSTGRES_OPTIONS_NPGSQL:-}": "",
}


def _prepared(text: str, required: Mapping[str, str]) -> str:
    for old, new in _FIXED.items():
        text = text.replace(old, new)
    for name, sentence in required.items():
        text = re.sub(r"\$\{%s:-[^${}]*\}" % name, "${%s:?%s}" % (name, sentence), text)
    return text


def _stack(overlays: tuple[str, ...], required: Mapping[str, str]) -> dict[str, Any]:
    texts = stack_files.texts()
    stack: dict[str, Any] = {}
    for name in ("docker-compose.yml", *overlays):
        content = yaml.safe_load(_prepared(texts[name], required))
        stack = _merge(stack, {key: value for key, value in content.items() if not key.startswith("x-")})
    stack = copy.deepcopy(stack)
    for service in stack["services"].values():
        for key in _OPERATORS:
            service.pop(key, None)
        service["logging"] = _LOGGING
    postgres, dashboard = stack["services"]["postgres"], stack["services"]["tamma-dashboard"]
    _without_mount(postgres, "/docker-entrypoint-initdb.d")
    _without_mount(dashboard, "/etc/nginx/templates")
    init = (_STACK / "files/postgres/init-db.sql").read_text(encoding="utf-8")
    _config(stack, "postgres", "init-db", "/docker-entrypoint-initdb.d/init-db.sql", init)
    nginx = (_STACK / "files/nginx/default.conf.template").read_text(encoding="utf-8")
    _config(stack, "tamma-dashboard", "dashboard", "/etc/nginx/templates/default.conf.template", nginx)
    # PostgreSQL reads its file once, when the volume is empty: nothing has to be recreated for another one.
    del postgres["labels"]
    return stack


def caddyfile() -> str:
    """The edge's configuration, with what varies taken from its environment."""
    source = jinja2.Environment(trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    text = source.from_string((_STACK / "templates/Caddyfile.j2").read_text(encoding="utf-8")).render(
        ansible_managed="The edge of this file, as the collection's template has it",
        tamma_stack_profile="production",
        tamma_stack_engine_runs="engine",
        tamma_stack_domain="{$EDGE_DOMAIN}",
        tamma_stack_edge_users={"one": ""},
        tamma_stack_edge_forward_auth="",
        tamma_stack_edge_open_paths=[],
        tamma_stack_edge_tls="internal",
        tamma_stack_edge_email="one",
        tamma_stack_edge_acme_ca="",
        tamma_stack_edge_acme_root="",
        tamma_stack_edge_elsa_domain="",
        tamma_stack_edge_rabbitmq_domain="",
        __tamma_stack_edge_names="{$EDGE_NAMES}",
    )
    replacements = {
        "\ttls internal\n": "\t{$EDGE_TLS}\n",
        "\temail one\n": "\t{$EDGE_EMAIL}\n",
        "import users.caddy": "{$EDGE_USER} {$EDGE_PASSWORD_HASH}",
    }
    for path in sorted((_STACK / "files/edge/upstreams").glob("*.caddy")):
        replacements[f"import upstreams/{path.name}"] = path.read_text(encoding="utf-8").strip()
    for old, new in replacements.items():
        text = text.replace(old, new)
    # Who keeps the upstreams, and reloads, is the operator, who is not there.
    return "".join(text.splitlines(keepends=True)[3:]).lstrip("\n").expandtabs(4)


def development() -> str:
    """``docker-compose.yml``."""
    stack = _stack(("docker-compose.dev.yml", "docker-compose.dashboard.yml"), REQUIRED)
    return _HEADER + _DEVELOPMENT_HEADER + _text(stack)


def production() -> str:
    """``docker-compose.production.yml``."""
    overlays = tuple(f"docker-compose.{name}.yml" for name in ("hardened", "production", "dashboard", "edge"))
    stack = _stack(overlays, REQUIRED_IN_PRODUCTION)
    edge = stack["services"]["edge"]
    _without_mount(edge, "/etc/caddy")
    _config(stack, "edge", "edge", "/etc/caddy/Caddyfile", caddyfile())
    domain = "${EDGE_DOMAIN:?%s}" % REQUIRED_IN_PRODUCTION["EDGE_DOMAIN"]
    edge["environment"] |= {
        "EDGE_DOMAIN": domain,
        "EDGE_USER": "${EDGE_USER:-%s}" % OWN["EDGE_USER"][1],
        # The default, whose six bytes with the colon are whole groups of base64. Of a name that only its environment
        # knows no expression can be made: with one every name gets its hash computed.
        "EDGE_NAMES": "${EDGE_USER:+|}" + base64.b64encode(b"%s:" % OWN["EDGE_USER"][1].encode()).decode(),
        "EDGE_PASSWORD_HASH": "${EDGE_PASSWORD_HASH:?%s}" % REQUIRED_IN_PRODUCTION["EDGE_PASSWORD_HASH"],
        # Whole lines of the configuration, or nothing.
        "EDGE_TLS": "${EDGE_TLS:+tls ${EDGE_TLS:-}}",
        "EDGE_EMAIL": "${EDGE_EMAIL:+email ${EDGE_EMAIL:-}}",
    }
    text = _text(stack)
    text = text.replace("http://localhost:${DASHBOARD_PORT:-3001}", "https://${EDGE_DOMAIN}")
    # They migrate the database when they start, and Compose starts all containers of a service at once.
    text = text.replace("${API_DOTNET_REPLICAS:-2}", "${API_DOTNET_REPLICAS:-1}")
    return _HEADER + _PRODUCTION_HEADER + text


def _text(stack: dict[str, Any]) -> str:
    order = ("name", "services", "volumes", "networks", "configs")
    text = yaml.dump(
        {key: stack[key] for key in order}, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True
    )
    text = re.sub(r"^(  [a-z-]+): null$", r"\1:", text, flags=re.MULTILINE)
    return re.sub(r"^(?=(  )?[a-z-]+:$)(?<!:\n)", "\n", text, flags=re.MULTILINE)


def used(text: str) -> set[str]:
    """The settings that a Compose file reads."""
    return set(re.findall(r"(?<!\$)\$\{([A-Z][A-Z0-9_]*)", text.replace("$$", "")))


def _comment(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH - 20, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


def example() -> str:
    """``.env.example`` of both files: the four values, and everything else as a comment."""
    known = used(development()) | used(production())
    lines = [
        "# Settings of the Tamma stack. Keep this file to yourself: chmod 600 .env",
        "#",
        "# A value with spaces, quotes, # or $ goes into single quotes. Commented lines show the default.",
    ]
    for section in settings.table().sections:
        found = [item for item in section.settings if item.name in known]
        if not found:
            continue
        title = re.sub(r" \(.*|: make.*", "", section.title)
        is_secrets = section.title.startswith("Secrets")
        lines += ["", f"# --- {title} ".ljust(_WIDTH - 20, "-")]
        if is_secrets:
            lines += _comment(
                "docker-compose.yml has values that everybody knows in their place, for services that nobody else "
                "reaches. docker-compose.production.yml asks for them before its first start: make each one with "
                "`openssl rand -hex 32`."
            )
        for item in found:
            required = item.name in REQUIRED
            effect, default = _OTHERWISE.get(
                item.name, (item.effect, "" if is_secrets and item.value else item.default)
            )
            lines += [*_comment(effect), f"{item.name}=" if required else f"# {item.name}={default}"]
        if title.startswith("Production"):
            for name, (effect, default) in OWN.items():
                lines += [*_comment(effect), f"# {name}={default}"]
    return "\n".join(lines) + "\n"


def whole_files() -> dict[Path, str]:
    """File → everything that it says."""
    return {DEVELOPMENT: development(), PRODUCTION: production(), EXAMPLE: example()}
