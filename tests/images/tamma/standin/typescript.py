"""The configuration of Tamma's command line: defaults, tamma.config.json, then the environment."""

import json
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .process import Refusal

CONFIG_FILE = Path("tamma.config.json")


@dataclass
class Settings:
    token: str
    owner: str
    repo: str
    model: str
    working_directory: str
    poll_interval_ms: int
    bot: str
    issue_labels: list[str] = field(default_factory=list)


def secret(name: str) -> str | None:
    """Return a variable's value, or what stands in the file that NAME_FILE names."""
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError:
            return None
    return os.environ.get(name)


def preload() -> None:
    """Do what Node.js does with `--require` in NODE_OPTIONS, for scripts that set variables and nothing else."""
    for option in shlex.split(os.environ.get("NODE_OPTIONS", "")):
        name, _, path = option.partition("=")
        if name != "--require":
            raise Refusal(f"node: {name} is not allowed in NODE_OPTIONS", 9)
        try:
            script = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise Refusal(f"Error: {error.strerror}, open '{path}'") from None
        assigned = re.fullmatch(r"Object\.assign\(process\.env, (\{.*\})\);\s*", script, re.DOTALL)
        if assigned is None:
            raise Refusal(f"{path}:1\nSyntaxError: the stand-in knows Object.assign(process.env, {{…}}) alone")
        os.environ.update(json.loads(assigned.group(1)))


def load() -> Settings:
    """Return the settings, or refuse to start with everything that is missing."""
    file = _config_file()
    github, agent, engine = (file.get(part, {}) for part in ("github", "agent", "engine"))

    def pick(variable: str, section: dict[str, Any], key: str, default: str) -> str:
        # A variable that is set to nothing still wins over the file.
        return os.environ.get(variable, str(section.get(key, default)))

    token = secret("GITHUB_TOKEN")
    if token is None:
        token = secret("TAMMA_GITHUB_TOKEN")
    labels = os.environ.get("TAMMA_ISSUE_LABELS")
    interval = os.environ.get("TAMMA_POLL_INTERVAL_MS", "")
    settings = Settings(
        token=github.get("token", "") if token is None else token,
        owner=pick("TAMMA_GITHUB_OWNER", github, "owner", ""),
        repo=pick("TAMMA_GITHUB_REPO", github, "repo", ""),
        model=pick("TAMMA_MODEL", agent, "model", "claude-sonnet-4-5"),
        working_directory=pick("TAMMA_WORKING_DIRECTORY", engine, "workingDirectory", "."),
        poll_interval_ms=int(interval if interval.isdigit() else engine.get("pollIntervalMs", 300_000)),
        bot=pick("TAMMA_BOT_USERNAME", github, "botUsername", "tamma-bot"),
        issue_labels=(
            [label.strip() for label in labels.split(",")]
            if labels is not None
            else github.get("issueLabels", ["tamma"])
        ),
    )
    if os.environ.get("TAMMA_GITHUB_AUTH_MODE") == "app":
        _check_app(settings)
    else:
        _refuse_gaps(settings)
    return settings


def _check_app(settings: Settings) -> None:
    """Log in as an App, whose key is read at the start: its installation gives out tokens, and no other one is used."""
    needed = {
        "App ID": "TAMMA_GITHUB_APP_ID",
        "App private key path": "TAMMA_GITHUB_PRIVATE_KEY_PATH",
        "installation ID": "TAMMA_GITHUB_INSTALLATION_ID",
    }
    gaps = [f"GitHub {what} is required (set {name})" for what, name in needed.items() if not os.environ.get(name)]
    _refuse(gaps + [gap for gap in _gaps(settings) if "token" not in gap])
    path = os.environ["TAMMA_GITHUB_PRIVATE_KEY_PATH"]
    try:
        Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Refusal(f"Error: {error.strerror}, open '{path}'") from None
    settings.token = ""


def _config_file() -> dict[str, Any]:
    if not CONFIG_FILE.exists():
        return {}
    try:
        content = json.loads(CONFIG_FILE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise Refusal(f"Failed to parse config file at {CONFIG_FILE.resolve()}.") from None
    return content if isinstance(content, dict) else {}


def _refuse_gaps(settings: Settings) -> None:
    _refuse(_gaps(settings))


def _gaps(settings: Settings) -> list[str]:
    gaps = []
    if not settings.token:
        gaps.append("GitHub token is required (set GITHUB_TOKEN or TAMMA_GITHUB_TOKEN)")
    if not settings.owner:
        gaps.append("GitHub owner is required (set TAMMA_GITHUB_OWNER or use tamma.config.json)")
    if not settings.repo:
        gaps.append("GitHub repo is required (set TAMMA_GITHUB_REPO or use tamma.config.json)")
    return gaps


def _refuse(gaps: list[str]) -> None:
    if gaps:
        raise Refusal("Configuration errors:\n" + "\n".join(f"  - {gap}" for gap in gaps))
