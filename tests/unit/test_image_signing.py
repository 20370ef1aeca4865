# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing with cosign, played here: the key is in its environment alone, and what it says becomes a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import image_signing
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

IMAGE = "registry.example:5000/team/tamma-api@sha256:" + "a" * 64
TAGGED = IMAGE.replace("@", ":1@")

COSIGN = """#!/bin/sh
case "$*" in
*--help) for word in {knows}; do [ "$2" = "$word" ] && exit 0; done; exit 1 ;;
esac
echo "$*" >> {log}
[ "$COSIGN_PRIVATE_KEY $COSIGN_PASSWORD" = "the-key the-password" ] || {{ echo 'decrypt: failed' >&2; exit 1; }}
case $1 in
public-key) echo the-public-key ;;
verify) [ -e {log}.signed ] && echo '[{{"critical":{{"identity":{{"docker-reference":"{repository}"}}}}}}]' ;;
sign) [ -z '{fails}' ] || {{ echo '{fails}' >&2; exit 1; }}; touch {log}.signed ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def signer(
    home: Path,
    fails: str = "",
    password: str = "the-password",
    repository: str = "registry.example:5000/team/tamma-api",
    knows: str = "",
) -> image_signing.Signer:
    program = home / "cosign"
    program.write_text(COSIGN.format(log=home / "log", fails=fails, repository=repository, knows=knows))
    program.chmod(0o755)
    return image_signing.Signer(Runner(), "the-key", password, str(program))


def asked(home: Path) -> list[str]:
    return [line.split()[0] for line in (home / "log").read_text().splitlines()]


def test_a_digest_is_signed_once_and_its_statements_come_first(home: Path) -> None:
    (home / "sbom").write_text("{}")
    statements = {IMAGE: {"spdxjson": str(home / "sbom")}}
    assert image_signing.sign(signer(home), [IMAGE], statements, dry=True) == [IMAGE]
    assert "sign" not in asked(home)
    assert image_signing.sign(signer(home), [IMAGE], statements) == [IMAGE]
    assert asked(home)[-2:] == ["attest", "sign"]
    assert image_signing.sign(signer(home), [IMAGE], statements) == []
    assert asked(home)[-1] == "verify"
    log = (home / "log").read_text()
    assert "the-key" not in log
    assert "the-password" not in log


@pytest.mark.parametrize(
    "knows", ["", "--new-bundle-format=false", "--new-bundle-format=false --use-signing-config=false"]
)
def test_signatures_have_the_form_that_hosts_compare(home: Path, knows: str) -> None:
    """What cosign 2.5 and 3 know of it; an option that a command does not know would fail it."""
    (home / "sbom").write_text("{}")
    image_signing.sign(signer(home, knows=knows), [IMAGE], {IMAGE: {"spdxjson": str(home / "sbom")}})
    for line in (home / "log").read_text().splitlines()[1:]:
        assert [word for word in line.split() if word.endswith(("format=false", "config=false"))] == knows.split()
    assert asked(home) == ["public-key", "verify", "attest", "sign"]


def test_a_signature_for_another_repository_is_none(home: Path) -> None:
    elsewhere = signer(home, repository="registry.example:5000/other/tamma-api")
    image_signing.sign(elsewhere, [IMAGE], {})
    assert image_signing.sign(elsewhere, [IMAGE], {}) == [IMAGE]


def test_hosts_may_call_the_registry_something_else(home: Path) -> None:
    known = signer(home)._replace(known_as="mirror.example")
    assert known.identity(TAGGED) == "mirror.example/team/tamma-api"
    image_signing.sign(known, [IMAGE], {})
    assert "--sign-container-identity mirror.example/team/tamma-api" in (home / "log").read_text()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("UNAUTHORIZED: authentication required", "the registry refused the login"),
        ("MANIFEST_UNKNOWN: manifest unknown", "the registry does not have it"),
        ("http: server gave HTTP response to HTTPS client", "speaks plain HTTP"),
        ("dial tcp 192.0.2.1:443: i/o timeout", "cannot be reached"),
        ("something else entirely.", "something else entirely"),
    ],
)
def test_what_cosign_says_becomes_a_sentence(home: Path, said: str, words: str) -> None:
    with pytest.raises(OperatorError, match=words) as caught:
        image_signing.sign(signer(home, said), [IMAGE], {})
    assert caught.value.message.startswith(IMAGE + " was not signed: ")


def test_what_cannot_be_signed_is_refused_before(home: Path) -> None:
    with pytest.raises(OperatorError, match="the password does not fit"):
        image_signing.sign(signer(home, password="another"), [IMAGE], {})
    with pytest.raises(OperatorError, match="no image with a digest"):
        image_signing.sign(signer(home), [IMAGE, "registry.example:5000/team/tamma-api:1"], {})
    with pytest.raises(OperatorError, match=r"the statement .* is not there"):
        image_signing.sign(signer(home), [IMAGE], {IMAGE: {"spdxjson": "/nowhere"}})
    with pytest.raises(OperatorError, match="has no /nowhere/cosign: install it"):
        image_signing.sign(signer(home)._replace(program="/nowhere/cosign"), [IMAGE], {})
    assert asked(home) == ["public-key"]
