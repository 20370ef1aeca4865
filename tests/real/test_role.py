"""The images that the role makes of Tamma's source: complete, and how large they are."""

from __future__ import annotations

import os
import sys

import yaml

from tests.bench.command import docker
from tests.bench.names import REPOSITORY
from tests.tools.run import run

from . import images
from .source import Built

PAGE = REPOSITORY / "docs" / "images.md"
START, END = "<!-- sizes:start -->\n", "<!-- sizes:end -->"
DEFAULTS = yaml.safe_load((REPOSITORY / "roles" / "tamma_images" / "defaults" / "main.yml").read_text(encoding="utf-8"))


def megabytes(image: str) -> str:
    return f"{int(docker('image', 'inspect', '--format', '{{.Size}}', image)) / 1e6:.0f} MB"


def test_the_cases_hold_for_the_images_of_the_role(built: Built) -> None:
    made = images.by_role(built, agent="")
    env = {
        **os.environ,
        "CONTRACT_DRIVER": "container",
        "CONTRACT_TAMMA_API_IMAGE": made["tamma-api"],
        "CONTRACT_TAMMA_ENGINE_IMAGE": made["tamma-engine"],
    }
    run([sys.executable, "-m", "pytest", "tests/contract/test_tamma.py", "--quiet"], env=env, timeout=900, echo=True)


def test_the_agent_is_there_and_the_sizes_are_told(built: Built) -> None:
    version = DEFAULTS["tamma_images_claude_version"]
    engine = images.by_role(built, version)["tamma-engine"]
    confined = ["--rm", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp"]
    assert version in docker("run", *confined, engine, "claude", "--version")
    with_agent = megabytes(engine)
    ours, theirs = images.by_role(built, ""), images.as_upstream(built)
    rows = [
        ("`tamma-api`", megabytes(ours["tamma-api"]), megabytes(theirs["tamma-api"])),
        ("`tamma-engine` without the agent", megabytes(ours["tamma-engine"]), megabytes(theirs["tamma-engine"])),
        (f"`tamma-engine` with `claude` {version}", with_agent, "–"),
        ("`tamma-dashboard`", megabytes(ours["tamma-dashboard"]), megabytes(theirs["tamma-dashboard"])),
    ]
    table = [
        f"Unpacked, of `Tam-ma/tamma` at `{built.commit[:12]}` on the bench's bases (Debian 13 with Node, Debian 12",
        "with nginx); beside them what Tamma's own Dockerfiles put together, without its build tools, on Debian 12:",
        "",
        "| image | ours | as Tamma's own |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    PAGE.write_text(before + START + "\n".join(table) + "\n" + END + rest.partition(END)[2], encoding="utf-8")
