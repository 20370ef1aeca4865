# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with signatures: made with cosign on a host, verified by a deploy, which refuses every other image."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.bench import registry
from tests.bench.names import REGISTRY_ADDRESS
from tests.integration.conftest import SANDBOX, Stack
from tests.integration.test_deploy import sandbox_settings
from tests.tools.outcome import Outcome
from tests.tools.run import follow, run

#: Nobody else's images stand there.
PLACE = f"signed-{SANDBOX.lower()}/tamma-api"
PASSWORD = "canary-cosign-0123456789abcdef"


class Signed(NamedTuple):
    """A stack whose API comes from a repository of its own, and the keys of those who may sign there."""

    stack: Stack
    key: str
    foreign: str

    def variables(self, tag: str = "signed", repository: str = PLACE, **more: Any) -> dict[str, Any]:
        settings = {**sandbox_settings(), "API_IMAGE": f"{REGISTRY_ADDRESS}/{repository}:{tag}"}
        rules = [{"images": f"{REGISTRY_ADDRESS}/{repository.partition('/')[0]}/*", "key": self.key}]
        return {"tamma_stack_environment": settings, "tamma_stack_image_keys": rules, **more}

    def deploy(self, tag: str = "signed", **more: Any) -> Outcome:
        return self.stack.play("site", variables=self.variables(tag, **more))

    def sign(self, tag: str, key: str = "own", **more: Any) -> dict[str, Any]:
        """Let the host sign what is behind a tag, with the module."""
        arguments = {
            "images": [f"{REGISTRY_ADDRESS}/{PLACE}@{self.digest(tag)}"],
            "key": self.stack.shell(f"cat /root/cosign/{key}.key"),
            "password": PASSWORD,
            "plain_http": True,
            **more,
        }
        return module(self.stack, "tamma_image_sign", arguments)

    def digest(self, tag: str) -> str:
        return registry.copy(f"{PLACE}:{tag}", f"{PLACE}:{tag}")


def module(stack: Stack, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run one module on the host; return what it says."""
    playbook = [
        {
            "hosts": "tamma1",
            "gather_facts": False,
            "tasks": [
                {f"meywd.tamma.{name}": arguments, "register": "found", "ignore_errors": True},
                {"ansible.builtin.copy": {"content": "{{ found | to_json }}", "dest": "/root/found.json"}},
            ],
        }
    ]
    path = stack.directory / "module.yml"
    path.write_text(yaml.safe_dump(playbook), encoding="utf-8")
    outcome = follow(["ansible-playbook", *stack.inventory, str(path), "-v"], cwd=stack.directory, env=stack.env)
    assert outcome.status == 0, outcome.output
    assert PASSWORD not in outcome.output
    assert "PRIVATE KEY" not in outcome.output
    found: dict[str, Any] = json.loads(stack.shell("cat /root/found.json"))
    return found


@pytest.fixture(scope="module")
def signed(stack: Stack) -> Iterator[Signed]:
    """The stack with its API from a place where images are signed; every other service is as it was."""
    install = "apt-get install --yes --no-install-recommends cosign >/dev/null 2>&1"
    stack.shell(f"command -v cosign || {install} || (apt-get update -qq && {install})")
    stack.shell("mkdir -p -m 700 /root/cosign")
    for name in ("own", "foreign"):
        stack.shell(
            f"cd /root/cosign && COSIGN_PASSWORD={PASSWORD} cosign generate-key-pair --output-key-prefix {name} 2>&1"
        )
    known = Signed(stack, *(stack.shell(f"cat /root/cosign/{name}.pub") for name in ("own", "foreign")))
    for tag, source in (("signed", "0.2.0"), ("other", "0.3.0"), ("unsigned", "0.1.0-today")):
        registry.copy(f"tamma-api:{source}", f"{PLACE}:{tag}")
    assert known.sign("signed")["signed"]
    assert not known.sign("signed")["changed"]
    outcome = known.deploy()
    assert outcome.status == 0, outcome.output
    yield known
    assert stack.play("site").status == 0


def test_a_signed_image_runs_by_the_digest_that_was_verified(signed: Signed) -> None:
    running = signed.stack.shell("docker ps --format '{{.Image}}'").split()
    pinned = json.loads(signed.stack.shell("cat /opt/tamma/docker-compose.images.yml"))["services"]["tamma-api"][
        "image"
    ]
    assert pinned == f"{REGISTRY_ADDRESS}/{PLACE}:signed@{signed.digest('signed')}"
    assert f"{REGISTRY_ADDRESS}/{PLACE}:signed" in running
    assert signed.deploy().unchanged


REFUSED = {
    "unsigned": "has no signature for what is behind it now",
    "foreign": "has no signature of a key that tamma_stack_image_keys names for it",
    "borrowed": "has a signature that is for another image",
    "elsewhere": "has a signature for the repository ghcr.io/elsewhere/signed-",
    "missing": "The registry has no image",
}


def test_every_other_image_is_refused_and_nothing_is_pulled_or_changed(signed: Signed) -> None:
    """Without a signature, with one of a foreign key, of another image, for another repository; and none at all."""
    for number, tag in enumerate(("foreign", "elsewhere")):
        registry.copy(f"tamma-api:{('0.3.0', '0.1.0')[number]}", f"{PLACE}:{tag}")
    assert signed.sign("foreign", "foreign")["signed"]
    assert signed.sign("elsewhere", known_as="ghcr.io/elsewhere")["signed"]
    registry.copy("tamma-elsa:0.2.0", f"{PLACE}:borrowed")
    registry.move(PLACE, signature(signed.digest("borrowed")), signature(signed.digest("signed")))
    before = signed.stack.state()
    # They are one host, and take turns.
    cases = {f"host-{tag}": signed.variables(tag, tamma_stack_lock_timeout=120) for tag in REFUSED}
    outcome = signed.stack.play_each("site", cases)
    assert outcome.status != 0
    for tag, words in REFUSED.items():
        assert words in said(outcome), tag
    assert signed.stack.state() == before
    assert "Nothing was pulled or changed." in said(outcome)


def said(outcome: Outcome) -> str:
    """What Ansible printed, which breaks lines anywhere."""
    return " ".join(outcome.output.split())


def signature(digest: str) -> str:
    return digest.replace(":", "-") + ".sig"


def test_a_tag_that_is_moved_does_not_bring_what_nobody_signed(signed: Signed) -> None:
    assert signed.deploy().unchanged
    kept = signed.digest("signed")
    registry.move(PLACE, "signed", "unsigned")
    try:
        assert signed.deploy().unchanged
        refused = signed.deploy(tamma_stack_pull="always")
        assert refused.status != 0
        assert "has no signature for what is behind it now" in said(refused)
        assert kept in signed.stack.shell("cat /opt/tamma/docker-compose.images.yml")
    finally:
        registry.copy("tamma-api:0.2.0", f"{PLACE}:signed")


def test_what_was_verified_needs_no_registry_again(signed: Signed) -> None:
    """Neither does a rollback; what was not verified is refused in one sentence."""
    assert signed.sign("other")["signed"]
    outcome = signed.deploy("other")
    assert outcome.status == 0, outcome.output
    with without_a_registry(signed.stack):
        assert signed.deploy("other").unchanged
        back = signed.stack.play("rollback")
        assert back.status == 0, back.output
        assert signed.deploy().unchanged
        signed.stack.shell("rm /opt/tamma/.tamma/verified.json")
        refused = signed.deploy()
        assert refused.status != 0
        assert f"The registry {REGISTRY_ADDRESS} cannot be asked about" in said(refused)
    assert signed.deploy().unchanged


@contextlib.contextmanager
def without_a_registry(stack: Stack) -> Iterator[None]:
    """A host that finds its registry where nobody answers."""
    stack.shell("cp /etc/hosts /root/hosts && echo 127.0.0.9 registry.bench >> /etc/hosts")
    try:
        yield
    finally:
        stack.shell("cat /root/hosts > /etc/hosts")


def test_an_archive_brings_an_image_to_a_host_without_a_registry(signed: Signed, tmp_path: Path) -> None:
    """Its digest is that of the registry; one that was cut, or that nobody signed, is refused, and nothing changes."""
    stack = signed.stack
    rules = signed.variables()["tamma_stack_image_keys"]
    for tag, version in (("carried", "0.1.0"), ("nobodys", "0.3.0")):
        registry.copy(f"tamma-api:{version}", f"{PLACE}:{tag}")
        if tag == "carried":
            assert signed.sign(tag)["signed"]
        archive = {"path": f"/root/{tag}.tar", "images": [f"{REGISTRY_ADDRESS}/{PLACE}:{tag}"]}
        made = module(stack, "tamma_images_archive", {**archive, "insecure_registries": [REGISTRY_ADDRESS]})
        assert made["changed"]
        run(["docker", "cp", f"{stack.container}:/root/{tag}.tar", tmp_path])
    cut = tmp_path / "cut.tar"
    cut.write_bytes((tmp_path / "carried.tar").read_bytes()[:-100_000])
    refused = module(
        stack,
        "tamma_images_archive",
        {
            "path": "/root/refused.tar",
            "images": [f"{REGISTRY_ADDRESS}/{PLACE}:unsigned"],
            "image_keys": rules,
            "insecure_registries": [REGISTRY_ADDRESS],
        },
    )
    assert "has no signature for what is behind it now" in refused["msg"]
    with without_a_registry(stack):
        before = stack.state()
        for tag, name, words in (
            ("carried", "cut.tar", "is no whole archive of images"),
            ("nobodys", "nobodys.tar", "has no signature for what is behind it now"),
            ("nobodys", "carried.tar", "The archive has no"),
        ):
            outcome = signed.deploy(tag, tamma_stack_images_archive=str(tmp_path / name))
            assert outcome.status != 0
            assert words in said(outcome)
        assert stack.state() == before
        carried = {"tamma_stack_images_archive": str(tmp_path / "carried.tar")}
        outcome = signed.deploy("carried", **carried)
        assert outcome.status == 0, outcome.output
        assert signed.deploy("carried", **carried).unchanged
        digests = "docker image inspect -f '{{.RepoDigests}}' %s/%s:carried" % (REGISTRY_ADDRESS, PLACE)
        assert signed.digest("carried") in stack.shell(digests)
        assert stack.shell("ls -A /var/lib/tamma/images").strip() == ""
