# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built, pushed and tagged, and what is refused before anything changes: against a registry in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import IO, Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import image_build
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.image_build import RECIPE, REVISION, Wish
from ansible_collections.meywd.tamma.plugins.module_utils.image_source import Source
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Access, Answer, Client
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

ROLES = Path(__file__).parents[2] / "roles"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
REVISION_1, REVISION_2 = "1" * 40, "2" * 40
WISH = Wish(
    names=["tamma-api", "tamma-dashboard"],
    registry="registry.example/team",
    files=str(ROLES / "tamma_images" / "files" / "docker"),
    nginx=str(ROLES / "tamma_stack" / "files" / "nginx"),
    variables={"NODE_IMAGE": "node:22"},
)
ENGINE = image_build.Builder("docker", "/", Access())


class Server:
    """A registry in memory: repository → tag or digest → its manifest. Counts what is written."""

    def __init__(self, account: str = "", scheme: str = "https", bearer: bool = False) -> None:
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.account, self.scheme, self.bearer = account, scheme, bearer
        self.written: list[str] = []
        self.uploads = 0
        self.denies = False
        self.token = "given"

    def put(self, path: str, tag: str, **labels: str) -> str:
        """Have an image with labels; returns its digest."""
        config = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Labels": labels}}).encode()
        name = "sha256:" + hashlib.sha256(config).hexdigest()
        self.blobs[name] = config
        manifest = json.dumps({"config": {"digest": name}, "layers": [{"size": 3 << 20}]}).encode()
        digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
        self.manifests[path, tag] = self.manifests[path, digest] = MANIFEST, manifest
        return digest

    def digest(self, path: str, tag: str) -> str:
        found = self.manifests.get((path, tag))
        return "sha256:" + hashlib.sha256(found[1]).hexdigest() if found else ""

    def __call__(self, method: str, address: str, headers: dict[str, str], body: bytes | None) -> Answer:
        scheme, _, rest = address.partition("://")
        if scheme != self.scheme:
            raise OSError("Connection refused")
        place = rest.partition("/")[2]
        if place.startswith("token"):
            known = headers.get("Authorization") == "Basic " + self.account
            return Answer(200 if known else 401, {}, json.dumps({"token": self.token}).encode())
        wanted = f"Bearer {self.token}" if self.bearer else "Basic " + self.account
        if self.account and headers.get("Authorization") != wanted:
            challenge = 'Bearer realm="https://registry.example/token",service="it"' if self.bearer else "Basic realm=x"
            return Answer(401, {"www-authenticate": challenge}, b'{"errors": [{"code": "UNAUTHORIZED"}]}')
        return self._answer(method, place, headers, body)

    def _answer(self, method: str, place: str, headers: dict[str, str], body: bytes | None) -> Answer:
        if found := re.fullmatch(r"v2/(.+)/manifests/(.+)", place):
            path, reference = found.groups()
            if method == "PUT":
                self.manifests[path, reference] = headers["Content-Type"], body or b""
                self.written.append(f"{path}:{reference}")
                return Answer(201, {}, b"")
            kind, content = self.manifests.get((path, reference), ("", b""))
            return Answer(200 if content else 404, {"content-type": kind}, content or b"{}")
        if found := re.fullmatch(r"v2/.+/blobs/(sha256:.+)", place):
            return Answer(200, {}, self.blobs[found[1]])
        if place.endswith("/blobs/uploads/"):
            self.uploads += not self.denies
            denied = b'{"errors": [{"code": "DENIED", "message": "requested access is denied"}]}'
            return Answer(403, {}, denied) if self.denies else Answer(202, {"location": "/v2/upload/1"}, b"")
        if method == "DELETE":
            self.uploads -= 1
            return Answer(204, {}, b"")
        return Answer(200, {}, b"{}")


class Registry(Client):
    """What asks it."""

    def __init__(self, server: Server, *logins: Login, insecure: tuple[str, ...] = ()) -> None:
        super().__init__(Runner(), logins, Access(insecure), writes=True)
        self.server = server

    def _open(
        self,
        registry: str,
        method: str,
        url: str,
        headers: dict[str, str],
        authorization: str | None,
        body: bytes | None = None,
        handle: IO[bytes] | None = None,
    ) -> Answer:
        assert (registry, handle) == ("registry.example", None)
        return self.server(method, url, {**headers, "Authorization": authorization or ""}, body)


@pytest.fixture(autouse=True)
def no_logins_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


class Docker(Runner):
    """The programs of a host that builds; what bake pushes comes to the registry."""

    def __init__(self, server: Server, **answers: Result) -> None:
        super().__init__()
        self.server, self.answers = server, answers
        self.env: dict[str, str] = {}
        self.commands: list[str] = []
        self.bakes: list[tuple[dict[str, str], list[str]]] = []

    def with_env(self, more: dict[str, str]) -> Docker:
        self.env = {**self.env, **more}
        return self

    def run(self, argv: list[str], *_words: Any, **_named: Any) -> Result:
        line = " ".join(argv)
        self.commands.append(line)
        for start, answer in self.answers.items():
            if line.startswith(start.replace("_", " ")):
                return answer
        if " bake " in line:
            self.bakes.append((dict(self.env), argv))
            if "--push" in argv:
                self._push(argv)
        elif line.startswith("docker info"):
            return Result(0, json.dumps({"ServerVersion": "27", "DockerRootDir": "/"}), "")
        elif line.startswith("docker image inspect"):
            return Result(1, "", "No such image")
        return Result(0, "", "")

    def _push(self, argv: list[str]) -> None:
        for name in image_build.IMAGES:
            recipe = next((word.partition("=")[2] for word in argv if word.startswith(f"{name}.labels.{RECIPE}=")), "")
            if recipe:
                labels = {REVISION: self.env["TAMMA_REVISION"], RECIPE: recipe}
                for tag in self.env["TAMMA_TAGS"].split(","):
                    self.server.put(f"team/{name}", tag, **labels)


@pytest.fixture
def nothing_to_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_build.image_source, "copy", lambda *_: None)


def source(tag: str = "", revision: str = REVISION_1, branch: str = "main", *, dirty: bool = False) -> Source:
    return Source("/source", revision, 0, "" if tag else branch, tag, [tag] if tag else [], dirty)


def done(server: Server, wish: Wish = WISH, found: Source | None = None) -> tuple[image_build.Plan, Docker]:
    """Plan, check and apply, as the module does."""
    docker, registry = Docker(server), Registry(server)
    planned = image_build.plan(docker, wish, found or source(), registry)
    image_build.check(planned, ENGINE, registry)
    if planned.changes:
        image_build.apply(docker, wish, planned, registry)
    return planned, docker


@pytest.mark.usefixtures("nothing_to_copy")
class TestBuilding:
    def test_all_are_built_before_one_is_pushed_and_pushed_before_one_is_called_latest(self) -> None:
        server = Server()
        _, docker = done(server)
        (_, built), (pushed_with, pushed) = docker.bakes
        assert built[-3:] == ["--load", "tamma-api", "tamma-dashboard"]
        assert pushed[-3:] == ["--push", "tamma-api", "tamma-dashboard"]
        assert pushed_with["TAMMA_TAGS"] == "sha-1111111"
        assert server.written == ["team/tamma-api:latest", "team/tamma-dashboard:latest"]
        for name in WISH.names:
            assert server.digest(f"team/{name}", "latest") == server.digest(f"team/{name}", "sha-1111111") != ""

    def test_a_second_run_has_nothing_to_do(self) -> None:
        server = Server()
        done(server)
        planned, docker = done(server)
        assert not planned.changes
        assert not docker.bakes
        assert not [image for image in planned.images if not image.digest]

    def test_a_commit_that_is_there_only_gets_its_tags(self) -> None:
        server = Server()
        done(server)
        _, docker = done(server, found=source("v1.2.0"))
        assert not docker.bakes
        assert server.digest("team/tamma-api", "1.2.0") == server.digest("team/tamma-api", "sha-1111111")
        assert {"team/tamma-api:1.2.0", "team/tamma-api:1.2", "team/tamma-api:1"} < set(server.written)

    def test_only_what_is_missing_is_built(self) -> None:
        server = Server()
        done(server, WISH._replace(names=["tamma-api"]))
        _, docker = done(server)
        assert docker.bakes[-1][1][-2:] == ["--push", "tamma-dashboard"]

    def test_another_base_is_another_build(self) -> None:
        server = Server()
        done(server)
        planned, _ = done(server, WISH._replace(variables={"NODE_IMAGE": "node:24"}))
        assert [image.build for image in planned.images] == [True, True]
        planned, _ = done(server, WISH._replace(variables={"NODE_IMAGE": "node:24", "NGINX_IMAGE": "nginx:2"}))
        assert [image.build for image in planned.images] == [False, True]

    @pytest.mark.parametrize("name", ["root.sh", "dates.sh", "docker-bake.hcl", "typescript.Dockerfile"])
    def test_another_file_of_ours_is_another_build(self, name: str, tmp_path: Path) -> None:
        files = shutil.copytree(WISH.files, tmp_path / "docker")
        wish = WISH._replace(files=str(files))
        assert image_build.recipe(wish, "tamma-api") == image_build.recipe(WISH, "tamma-api")
        with (files / name).open("a", encoding="utf-8") as file:
            file.write("# another\n")
        assert image_build.recipe(wish, "tamma-api") != image_build.recipe(WISH, "tamma-api")

    def test_what_is_not_committed_is_always_built_and_called_so(self) -> None:
        server = Server()
        for _ in range(2):
            planned, docker = done(server, found=source(dirty=True))
            assert docker.bakes[-1][0]["TAMMA_TAGS"] == "sha-1111111-dirty"
        assert planned.version == "sha-1111111-dirty"
        assert not server.written

    def test_a_build_again_moves_no_version(self) -> None:
        server = Server()
        done(server, found=source("v1.2.0"))
        assert not done(server, WISH._replace(rebuild=True), source("v1.2.0"))[0].changes
        again, docker = done(server, WISH._replace(rebuild=True), source(revision=REVISION_2))
        assert again.changes
        assert ["--no-cache" in words for _, words in docker.bakes] == [True, False]

    def test_a_failed_build_pushes_nothing(self) -> None:
        server = Server()
        failed = Docker(server, docker_buildx_bake=Result(1, "", "#1 step\nERROR: failed to solve: no base."))
        registry = Registry(server)
        planned = image_build.plan(failed, WISH, source(), registry)
        with pytest.raises(OperatorError, match=r"^The images could not be built: failed to solve: no base\. "):
            image_build.apply(failed, WISH, planned, registry)
        assert not server.manifests

    def test_a_version_that_somebody_releases_during_the_build_stays(self) -> None:
        server = Server()
        docker, registry = Docker(server), Registry(server)
        planned = image_build.plan(docker, WISH, source("v1.2.0"), registry)
        theirs = server.put("team/tamma-dashboard", "1.2.0", **{REVISION: REVISION_2})
        with pytest.raises(OperatorError, match="is released, and was built from 222222222222"):
            image_build.apply(docker, WISH, planned, registry)
        assert len(docker.bakes) == 1
        assert server.digest("team/tamma-dashboard", "1.2.0") == theirs

    def test_without_a_registry_they_stay_in_the_engine_under_all_tags(self) -> None:
        docker = Docker(Server())
        planned = image_build.plan(docker, WISH._replace(push=False), source("v1.2.0"), None)
        image_build.apply(docker, WISH._replace(push=False), planned, None)
        ((env, command),) = docker.bakes
        assert env["TAMMA_TAGS"] == "sha-1111111,1.2.0,1.2,1"
        assert "--load" in command


@pytest.mark.usefixtures("nothing_to_copy")
class TestRefusals:
    def test_a_released_version_of_another_commit(self) -> None:
        server = Server()
        done(server, found=source("v1.2.0"))
        before = dict(server.manifests)
        with pytest.raises(
            OperatorError,
            match=r"^registry\.example/team/tamma-api:1\.2\.0 is released, and was built from 111111111111, not from "
            r"222222222222: give this one another version\. Nothing was changed\.$",
        ):
            done(server, found=source("v1.2.0", REVISION_2))
        assert server.manifests == before

    def test_a_released_version_that_was_built_otherwise(self) -> None:
        server = Server()
        done(server, found=source("v1.2.0"))
        with pytest.raises(OperatorError, match="was built of other bases or settings"):
            done(server, WISH._replace(variables={}), source("v1.2.0"))

    def test_a_released_version_that_somebody_else_made(self) -> None:
        server = Server()
        server.put("team/tamma-api", "1.2.0")
        with pytest.raises(OperatorError, match="was built from an unknown commit"):
            done(server, found=source("v1.2.0"))

    def test_a_registry_that_lets_nobody_push(self) -> None:
        server = Server()
        server.denies = True
        with pytest.raises(
            OperatorError,
            match=r"Nobody can push registry.example/team/tamma-api with this login: the login is refused",
        ):
            done(server)
        assert not server.manifests

    def test_a_registry_that_is_away(self) -> None:
        with pytest.raises(
            OperatorError, match=r"^The registry registry\.example cannot be asked about .* \(Connection refused\)"
        ):
            done(Server(scheme="none"))

    def test_a_disk_that_is_too_small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(image_build.room, "needed_and_free", lambda *_: (5 << 30, 1 << 30))
        with pytest.raises(OperatorError, match=r"^A build needs up to 5\.0 GiB below /, and 1\.0 GiB are free"):
            done(Server())

    @pytest.mark.parametrize(
        ("answers", "wish", "words"),
        [
            ({"docker_buildx_version": Result(1, "", "unknown command")}, WISH, "has no docker buildx"),
            ({"docker_info": Result(1, "", "Cannot connect.")}, WISH, "Docker does not answer on this host: Cannot"),
            (
                {"docker_buildx_inspect": Result(1, "", 'ERROR: no builder "x" found')},
                WISH._replace(builder="x"),
                'The builder x cannot be used: no builder "x" found',
            ),
            ({}, WISH._replace(platforms=["linux/amd64", "linux/arm64"]), "makes no several architectures"),
            ({}, WISH._replace(attestations=True), "makes no attestations"),
            ({}, WISH._replace(signs=True), "has no cosign, which signs the images"),
        ],
    )
    def test_a_host_that_cannot_build(
        self, answers: dict[str, Result], wish: Wish, words: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(image_build.shutil, "which", lambda _: None)
        with pytest.raises(OperatorError, match=words):
            image_build.builder(Docker(Server(), **answers), wish)

    def test_a_builder_that_can_do_more(self) -> None:
        inspected = {"docker_buildx_inspect": Result(0, "Name: x\nDriver: docker-container\n", "")}
        wish = WISH._replace(attestations=True, platforms=["linux/amd64", "linux/arm64"])
        assert image_build.builder(Docker(Server(), **inspected), wish).driver == "docker-container"


API = "registry.example/team/tamma-api"
ACCOUNT = base64.b64encode(b"robot:secret").decode()


@pytest.mark.parametrize("bearer", [False, True])
def test_a_registry_with_a_login(bearer: bool) -> None:
    server = Server(ACCOUNT, bearer=bearer)
    digest = server.put("team/tamma-api", "latest")
    registry = Registry(server, Login("registry.example", "robot", "secret"))
    found = registry.served(API, "latest")
    assert found is not None
    assert (found.digest, found.size, found.platforms) == (digest, 3 << 20, ["linux/amd64"])
    registry.check_push(API)
    assert server.uploads == 0
    wrong = Registry(server, Login("registry.example", "robot", "wrong-one"))
    for asked in (wrong.check_push, lambda name: wrong.served(name, "latest")):
        with pytest.raises(OperatorError, match="tamma_images_registry_logins") as caught:
            asked(API)
        assert "wrong-one" not in caught.value.message


def test_a_token_that_ended_during_the_build_is_asked_for_again() -> None:
    server = Server(ACCOUNT, bearer=True)
    digest = server.put("team/tamma-api", "sha-1")
    registry = Registry(server, Login("registry.example", "robot", "secret"))
    assert registry.served(API, "sha-1")
    server.token = "another"
    registry.tag(API, digest, "latest")
    assert server.digest("team/tamma-api", "latest") == digest


def test_without_tls_only_where_it_is_allowed() -> None:
    server = Server(scheme="http")
    registry = Registry(server, insecure=("registry.example",))
    assert registry.served(API, "latest") is None
    assert registry.plain_http("registry.example")
    with pytest.raises(OperatorError, match="cannot be asked about"):
        Registry(server).served(API, "latest")


def test_an_index_is_read_by_its_first_architecture() -> None:
    server = Server()
    inner = server.put("team/tamma-api", "inner", **{REVISION: REVISION_1})
    entries = [
        {"digest": "sha256:0", "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": inner, "platform": {"os": "linux", "architecture": "arm64"}},
    ]
    server.manifests["team/tamma-api", "latest"] = INDEX, json.dumps({"manifests": entries}).encode()
    found = Registry(server).served(API, "latest")
    assert found is not None
    assert (found.labels[REVISION], found.platforms) == (REVISION_1, ["linux/arm64"])
