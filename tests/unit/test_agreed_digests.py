# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is pulled when a whole fleet agreed upon digests, and what the tags mean is asked for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import deployment, images, registry
from ansible_collections.meywd.tamma.plugins.module_utils.files import File
from ansible_collections.meywd.tamma.plugins.module_utils.planner import Plan
from ansible_collections.meywd.tamma.plugins.module_utils.release import Release

API, ELSA = "registry/tamma-api:latest", "registry/elsa:latest"
AGREED = API + "@sha256:new"
OLD = ELSA + "@sha256:old"


class Engine:
    """An engine that has nothing."""

    kind = "docker"

    def image(self, _reference: str) -> None:
        return None


def pulled(monkeypatch: pytest.MonkeyPatch, digests: dict[str, str], plan: Plan) -> tuple[list[str], dict[str, str]]:
    """Which services Compose is asked to pull, and what the overlay says that it reads meanwhile."""
    asked: list[str] = []
    overlays: list[dict[str, str]] = []
    release = Release(
        project="tamma",
        directory="/nonexistent",
        files=[],
        compose_files=["docker-compose.yml", images.OVERLAY],
        settings={},
        secrets={},
        generated=[],
        pull_always=True,
        deadline=1,
        deadlines={},
        digests=digests,
    )

    class Compose:
        def pull(self, service: str) -> Any:
            asked.append(service)
            return SimpleNamespace(rc=0, err="")

    @contextlib.contextmanager
    def candidate(files: list[File], *_more: Any) -> Iterator[Compose]:
        overlays.append(images.parse(next(item.content for item in files if item.path == images.OVERLAY)))
        yield Compose()

    @contextlib.contextmanager
    def logged_in(runner: Any, *_more: Any) -> Iterator[Any]:
        yield runner

    monkeypatch.setattr(registry, "logged_in", logged_in)
    engine: Any = Engine()
    runner: Any = None
    work = deployment.Deployment(release, runner, engine, "compose", lambda _phase, _words: None)
    monkeypatch.setattr(work, "_candidate", candidate)
    present = {"tamma-api": AGREED if digests else API, "elsa-server": OLD}
    project: Any = SimpleNamespace(
        services={name: SimpleNamespace(name=name, image=image) for name, image in present.items()}
    )
    overlay = File(images.OVERLAY, json.dumps({"services": {name: {"image": i} for name, i in present.items()}}))
    planned = deployment.Planned([overlay], [], {}, project, plan)
    work._pull(planned)
    return sorted(asked), overlays[0]


def test_what_the_fleet_agreed_upon_is_pulled_and_the_rest_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, overlay = pulled(monkeypatch, {API: AGREED}, Plan([AGREED], [OLD], [], []))
    assert asked == ["elsa-server", "tamma-api"]
    assert overlay == {"tamma-api": AGREED}


def test_without_an_agreement_everything_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, overlay = pulled(monkeypatch, {}, Plan([API], [OLD], [], []))
    assert asked == ["elsa-server", "tamma-api"]
    assert overlay == {}
