# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The dashboard of an image as Tamma's own Dockerfile makes it: root's, on port 3001, with a developer's addresses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.bench import engine, images
from tests.bench.browser import browser
from tests.bench.command import docker, one_at_a_time, run
from tests.bench.names import LABEL
from tests.tools import stack_files
from tests.tools.roles import ROOT

PROJECT = f"tamma-dashboard-test-{os.getpid()}"
DOCKERFILE = """
FROM {parent}
USER root
RUN rm -rf /usr/share/nginx/html/* && rm -f /run/nginx.pid && chown -R root:root /var/cache/nginx \
 && sed -i '1iuser nginx;' /etc/nginx/nginx.conf && sed -i 's/listen 80;/listen 3001;/' /etc/nginx/conf.d/default.conf
COPY html/ /usr/share/nginx/html/
"""
SCRIPT = """import"node:crypto";import{randomUUID as made}from"node:crypto";
const one="http://localhost:3001/api";async function asked(path){return(await fetch(`${one}${path}`)).status}
const other="http://localhost:3001/api";Promise.all([asked("/engine/state"),fetch(`${other}/config`)]).then(()=>{
document.title=made()});
"""
PAGE = (
    '<!DOCTYPE html><title>blank</title><link rel="stylesheet" href="/assets/index-2.css">'
    '<script type="module" crossorigin src="/assets/index-1.js"></script>'
)
PROFILES = {"development": [], "production": ["docker-compose.hardened.yml", "docker-compose.production.yml"]}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with one_at_a_time():
        engine.ensure()
        images.build(["tamma-dashboard"])
    context = tmp_path_factory.mktemp("image")
    (context / "Dockerfile").write_text(DOCKERFILE.format(parent=images.tag("tamma-dashboard")), encoding="utf-8")
    assets = context / "html" / "assets"
    assets.mkdir(parents=True)
    (assets / "index-1.js").write_text(SCRIPT, encoding="utf-8")
    (assets / "index-2.css").write_text("body { color: black }", encoding="utf-8")
    (context / "html" / "index.html").write_text(PAGE, encoding="utf-8")
    name = f"{PROJECT}:{os.getpid()}"
    docker("build", "--quiet", "--label", f"{LABEL}=test", "--tag", name, str(context))
    yield name
    docker("image", "rm", name)


@pytest.fixture(scope="module", params=sorted(PROFILES))
def address(image: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the dashboard of a stack answers that has this image."""
    directory: Path = tmp_path_factory.mktemp("stack")
    for name, text in stack_files.texts().items():
        (directory / name).write_text(text, encoding="utf-8")
    shutil.copytree(ROOT / "roles/tamma_stack/files/nginx", directory / "nginx")
    files = ["docker-compose.yml", *PROFILES[request.param], "docker-compose.dashboard.yml"]
    settings = {"DASHBOARD_IMAGE": image, "DASHBOARD_REPLICAS": "1", "COMPOSE_FILE": ":".join(files)}
    compose = ["docker", "compose", "--project-name", PROJECT, "--project-directory", str(directory)]
    env = {**os.environ, **settings}
    try:
        started = subprocess.run(
            [*compose, "up", "--detach", "--wait", "--no-deps", "tamma-dashboard"],
            cwd=directory, env=env, check=False, capture_output=True, text=True,
        )  # fmt: skip
        container = f"{PROJECT}-tamma-dashboard-1"
        assert started.returncode == 0, started.stderr + run(["docker", "logs", container]).stderr
        seen = json.loads(docker("inspect", container))[0]
        yield next(iter(seen["NetworkSettings"]["Networks"].values()))["IPAddress"]
    finally:
        subprocess.run([*compose, "down", "--volumes"], cwd=directory, env=env, check=True, capture_output=True)


def test_it_runs_as_nobody_in_particular_and_serves(address: str) -> None:
    lines = docker("top", f"{PROJECT}-tamma-dashboard-1", "-eo", "pid,uid").splitlines()[1:]
    assert {line.split()[1] for line in lines} == {"101"}
    answer = httpx.get(f"http://{address}/settings/anything")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")


def test_what_is_adapted_has_another_name_and_no_mark_of_the_file(address: str) -> None:
    page = httpx.get(f"http://{address}/").text
    assert 'src="/assets/adapted-1/index-1.js"' in page
    assert 'href="/assets/adapted-1/index-2.css"' in page
    asked = {"Accept-Encoding": "gzip, br"}
    script = httpx.get(f"http://{address}/assets/adapted-1/index-1.js", headers=asked)
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert not {"ETag", "Last-Modified", "Content-Encoding"} & set(script.headers)
    assert "localhost" not in script.text
    assert script.text.count('"/api"') == 2
    assert script.text.count('"/assets/adapted-1/node-crypto.js"') == 2
    style = httpx.get(f"http://{address}/assets/adapted-1/index-2.css")
    assert (style.text, style.headers["Content-Type"]) == ("body { color: black }", "text/css")
    assert "ETag" in style.headers
    for path in ("/assets/adapted-1/index-3.js", "/assets/index-3.js"):
        assert httpx.get(f"http://{address}{path}").status_code == 404


def test_nobody_starts_the_engine_inside_the_api_beside_the_other_one(address: str) -> None:
    refused = httpx.post(f"http://{address}/api/engine/command", json={"type": "start"})
    assert (refused.status_code, refused.headers["Content-Type"]) == (409, "application/json")
    assert "tamma_stack_engine_runs" in refused.json()["error"]


def test_a_browser_shows_the_page_and_asks_the_address_that_it_has(address: str) -> None:
    asked: list[str] = []
    errors: list[str] = []
    with browser() as chromium:
        page = chromium.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(error.message))
        page.goto(f"http://{address}/")
        page.wait_for_function("document.title != 'blank'")
        assert len(page.title()) == len("10000000-1000-4000-8000-100000000000")
    assert errors == []
    assert {url for url in asked if not url.startswith(f"http://{address}/")} == set()
    assert {f"http://{address}/api/engine/state", f"http://{address}/api/config"} < set(asked)
