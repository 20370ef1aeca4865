# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a source to images in a registry that run: on this machine, of a small workspace of the same form as Tamma's."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bench import bases, registry
from tests.bench.command import docker
from tests.bench.machine import free_port
from tests.bench.names import LABEL
from tests.bench.patience import wait_until
from tests.integration.conftest import Installed
from tests.tools.outcome import Outcome
from tests.tools.roles import ROOT
from tests.tools.run import run

TYPESCRIPT = ("tamma-api", "tamma-engine", "tamma-dashboard")
CODE = "packages/cli/src/index.js"
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


class Workspace:
    """A checkout, and the playbook that builds it into a place of its own in the bench's registry."""

    def __init__(self, ansible: Installed, directory: Path) -> None:
        self.ansible, self.directory = ansible, directory
        shutil.copytree(ROOT / "tests" / "workspace", directory)
        self.registry = f"{registry.address()}/images-{secrets.token_hex(4)}"
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit("one")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]
        return run(["git", "-C", self.directory, *who, *words]).strip()

    def commit(self, text: str) -> None:
        with (self.directory / CODE).open("a", encoding="utf-8") as file:
            file.write(f"// {text}\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", text)

    def settings(self) -> dict[str, object]:
        return {
            "tamma_images_source": str(self.directory),
            "tamma_images_registry": self.registry,
            "tamma_images_names": list(TYPESCRIPT),
            "tamma_images_node_image": bases.node(),
            "tamma_images_nginx_image": bases.nginx(),
            # A quarter of a gigabyte that says nothing about us.
            "tamma_images_claude_version": "",
        }

    def play(self, *options: str, **variables: object) -> Outcome:
        return self.ansible.play("images", *options, variables={**self.settings(), **variables})

    def done(self, *options: str, **variables: object) -> Outcome:
        outcome = self.play(*options, **variables)
        assert outcome.status == 0, outcome.output
        return outcome

    def served(self, name: str, tag: str) -> str:
        """The digest under a tag, or nothing."""
        host, _, path = self.registry.partition("/")
        request = urllib.request.Request(
            f"http://{host}/v2/{path}/{name}/manifests/{tag}", headers={"Accept": MANIFESTS}
        )
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=10) as response:
            return str(response.headers["Docker-Content-Digest"])
        return ""

    def everything(self) -> dict[str, str]:
        """Tag → digest, of all images."""
        found: dict[str, str] = {}
        host, _, path = self.registry.partition("/")
        for name in TYPESCRIPT:
            with contextlib.suppress(urllib.error.HTTPError):
                address = f"http://{host}/v2/{path}/{name}/tags/list"
                with urllib.request.urlopen(address, timeout=10) as response:
                    for tag in json.load(response)["tags"]:
                        found[f"{name}:{tag}"] = self.served(name, tag)
        return found


@pytest.fixture(scope="module")
def workspace(installation: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    registry.ensure()
    found = Workspace(Installed(installation), tmp_path_factory.mktemp("source") / "workspace")
    yield found
    if listed := docker("image", "ls", "--quiet", "--no-trunc", f"{found.registry}/*").split():
        docker("image", "rm", "--force", *dict.fromkeys(listed))


@pytest.fixture(scope="module")
def built(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The images of main, and what a deploy is handed."""
    check = workspace.done("--check")
    assert "sha-" in check.output
    assert not workspace.everything()
    result = tmp_path_factory.mktemp("result") / "images.yml"
    workspace.done(tamma_images_result=str(result))
    found: dict[str, Any] = yaml.safe_load(result.read_text(encoding="utf-8"))
    return found


@contextlib.contextmanager
def running(image: str, *options: str) -> Iterator[str]:
    """A container as a stack has it in production: a read-only root, and no capabilities."""
    confined = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp"]
    container = docker("run", "--detach", "--label", f"{LABEL}=test", *confined, *options, image)
    try:
        yield container
    finally:
        docker("rm", "--force", "--volumes", container)


def healthy(container: str) -> None:
    def is_healthy() -> bool:
        return docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"

    wait_until(is_healthy, 60, "the container to become healthy", lambda: docker("logs", container))


def test_a_deploy_is_told_of_every_image_by_its_digest(workspace: Workspace, built: dict[str, Any]) -> None:
    revision = workspace.git("rev-parse", "HEAD")
    tag = f"sha-{revision[:7]}"
    assert built["tamma_stack_registry"] == workspace.registry
    assert built["tamma_stack_version"] == tag
    for setting, name in zip(("API_IMAGE", "ENGINE_IMAGE", "DASHBOARD_IMAGE"), TYPESCRIPT, strict=True):
        digest = workspace.served(name, tag)
        assert digest
        assert built["tamma_images_environment"][setting] == f"{workspace.registry}/{name}:{tag}@{digest}"
        assert workspace.served(name, "latest") == digest
    labels = json.loads(
        docker("inspect", "--format", "{{json .Config.Labels}}", f"{workspace.registry}/tamma-api:{tag}")
    )
    assert labels["org.opencontainers.image.revision"] == revision
    assert workspace.git("status", "--porcelain", "--ignored") == ""


def test_a_second_run_changes_nothing(workspace: Workspace, built: dict[str, Any]) -> None:
    assert built
    before = workspace.everything()
    assert workspace.done().unchanged
    assert workspace.everything() == before


def test_the_workflow_hands_every_digest_to_the_signing_program(
    workspace: Workspace, built: dict[str, Any], tmp_path: Path
) -> None:
    """Its script, but for what only GitHub has: the builder for two architectures, and somebody to sign as."""
    assert built
    variables, result, said = tmp_path / "variables.yml", tmp_path / "images.yml", tmp_path / "said"
    settings = {**workspace.settings(), "tamma_images_platforms": [], "tamma_images_attestations": False}
    variables.write_text(yaml.safe_dump(settings), encoding="utf-8")
    cosign = tmp_path / "cosign"
    # Cosign 2, which knows no newer form that it would have to be kept from.
    cosign.write_text(
        f'#!/bin/sh\ncase $* in *--help) exit 1 ;; esac\nprintf "%s\\n" "$*" >>{said}\n', encoding="utf-8"
    )
    cosign.chmod(0o755)
    script = ROOT / "roles" / "tamma_images" / "files" / "workflows" / "publish.sh"
    run(
        ["sh", script, workspace.directory, workspace.registry, result, "push"],
        env={**os.environ, "COSIGN": str(cosign), "PUBLISH_VARIABLES": str(variables)},
    )
    assert yaml.safe_load(result.read_text(encoding="utf-8")) == built
    assert sorted(said.read_text(encoding="utf-8").splitlines()) == sorted(
        f"sign --yes {workspace.registry}/{name}@{workspace.served(name, 'latest')}" for name in TYPESCRIPT
    )


def test_the_api_runs(built: dict[str, Any]) -> None:
    port = free_port()
    with running(built["tamma_images_environment"]["API_IMAGE"], "--publish", f"127.0.0.1:{port}:3100") as container:
        healthy(container)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=10) as response:
            assert json.load(response)["status"] == "ok"
        # What only a build needs is not there, and what it needs to run is.
        listed = docker("exec", container, "sh", "-c", "ls node_modules/.pnpm; command -v npm pnpm apt-get wget; id -u")
        assert "ms@2.1.3" in listed
        for name in ("vite", "escape-string-regexp", "npm"):
            assert name not in listed
        assert listed.splitlines()[-1] == "1001"
        docker("stop", container)
        assert docker("inspect", "--format", "{{.State.ExitCode}}", container) == "0"


def test_the_engine_writes_where_it_works(built: dict[str, Any]) -> None:
    volumes = ["--volume", "/workspace", "--volume", "/app/logs"]
    with running(built["tamma_images_environment"]["ENGINE_IMAGE"], *volumes) as container:
        healthy(container)
        script = "cat /workspace/worked && touch /app/logs/x && git --version && ssh -V 2>&1 && bash --version"
        assert "workspace " in docker("exec", container, "sh", "-c", script)


def test_the_dashboard_serves_a_page_that_browsers_can_load(built: dict[str, Any]) -> None:
    image = built["tamma_images_environment"]["DASHBOARD_IMAGE"]
    # As the stack's Compose file has them.
    owned = "mode=1777,uid=101,gid=101"
    writable = [
        word
        for place in ("/etc/nginx/conf.d", "/var/cache/nginx", "/var/run")
        for word in ("--tmpfs", f"{place}:{owned}")
    ]
    with running(image, *writable) as container:
        healthy(container)
        fetch = "wget -q -O - http://127.0.0.1"
        page = docker("exec", container, "sh", "-c", f"{fetch}/")
        assert "<title>workspace</title>" in page
        script = docker(
            "exec", container, "sh", "-c", "cat /usr/share/nginx/html/assets/*.js; ls /usr/share/nginx/html/assets"
        )
        assert "/api" in script
        for unwanted in ('"node:', "localhost", ".map"):
            assert unwanted not in script
        assert "workspace" in docker("exec", container, "sh", "-c", f"{fetch}/some/page")


def test_two_builds_of_a_commit_are_the_same(workspace: Workspace, built: dict[str, Any]) -> None:
    assert built
    # Every step is done again, twice.
    workspace.done(tamma_images_rebuild=True)
    before = workspace.everything()
    workspace.done(tamma_images_rebuild=True)
    assert workspace.everything() == before


def test_a_release_is_set_on_what_is_there_and_stays(workspace: Workspace, built: dict[str, Any]) -> None:
    assert built
    workspace.git("tag", "v1.2.3")
    workspace.done(tamma_images_ref="v1.2.3")
    released = workspace.everything()
    for name in TYPESCRIPT:
        assert len({released[f"{name}:{tag}"] for tag in ("1.2.3", "1.2", "1", "latest")}) == 1
    workspace.commit("two")
    workspace.git("tag", "--force", "v1.2.3")
    refused = workspace.play(tamma_images_ref="v1.2.3")
    assert refused.status != 0
    assert "tamma-api:1.2.3 is released, and was built from " in refused.output
    assert "give this one another version. Nothing was changed." in refused.output
    assert workspace.everything() == released


def test_refusals(workspace: Workspace, built: dict[str, Any]) -> None:
    assert built
    before = workspace.everything()
    # Those that come before a registry is asked are unit tests.
    base = {"tamma_images_node_image": "127.0.0.1:1/no-base", "tamma_images_rebuild": True}
    cases: list[tuple[dict[str, object], str]] = [
        ({"tamma_images_registry": "127.0.0.1:1/team"}, "The registry 127.0.0.1:1 cannot be asked about"),
        (base, "The images could not be built"),
    ]
    for variables, words in cases:
        refused = workspace.play(**variables)
        assert refused.status != 0
        assert words in refused.output
    assert workspace.everything() == before
