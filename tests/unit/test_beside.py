# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else may reach what runs in the containers."""

from __future__ import annotations

import pwd

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils.beside import neighbour_advice, user_advice
from ansible_collections.meywd.tamma.plugins.module_utils.host import Engine

PORTS = [("tamma-api", "127.0.0.1", 3000), ("edge", "", 443), ("postgres", "127.0.0.43", 5432)]


def said(name: str, number: int, shell: str) -> list[str]:
    def look_up(asked: int) -> pwd.struct_passwd:
        if asked != number:
            raise KeyError(asked)
        return pwd.struct_passwd((name, "x", number, number, "", "/home/" + name, shell))

    return list(user_advice(look_up))


@pytest.mark.parametrize("number", [70, 100, 101, 999, 1001])
@pytest.mark.parametrize("shell", ["/bin/bash", "/usr/bin/zsh", ""])
def test_a_person_with_an_id_of_the_images_is_named(number: int, shell: str) -> None:
    (words,) = said("ada", number, shell)
    assert words.startswith("The user ada of this host has the id %d, " % number)
    assert "whoever logs in as ada may end" in words


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/bin/sync"])
def test_a_user_of_the_system_is_nobody_s_business(shell: str) -> None:
    assert said("systemd-coredump", 999, shell) == []


def test_other_ids_are_free() -> None:
    assert said("ada", 1000, "/bin/bash") == []


@pytest.mark.parametrize("version", ["26.1.5+dfsg1", "25.0", "27.5.1"])
def test_an_old_docker_lets_neighbours_in(version: str) -> None:
    (words,) = neighbour_advice(Engine(version=version), PORTS)
    assert "Docker %s lets neighbours" % version in words
    assert "tamma-api (3000), postgres (5432). Upgrade to Docker 28" in words


@pytest.mark.parametrize(
    ("engine", "ports"),
    [
        (Engine(version="28.0.1"), PORTS),
        (Engine(version="29.1"), PORTS),
        (Engine(version=""), PORTS),
        (Engine(name="podman", version="4.9"), PORTS),
        (Engine(version="26.1.5"), [("edge", "", 443), ("edge", "203.0.113.7", 80)]),
    ],
)
def test_where_nothing_is_open_nothing_is_said(engine: Engine, ports: list[tuple[str, str, int]]) -> None:
    assert neighbour_advice(engine, ports) == []
