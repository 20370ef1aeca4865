# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and paths of the operator's mean in a unit and in a shell what they say, or are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import boot, module
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.places import path_problems, project_problems

SIGNS = ["\n", "\r", "\t", "\0", "\x1b", "\x85", "\u2028", "\u00a0", '"', "'", "\\", "$", "`", ";", "|", "{"]


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("place", ["/opt/ta%smma", "/opt/tamma%s", "/opt%s/tamma"])
def test_a_path_with_a_sign_of_systemd_or_a_shell_is_refused(sign: str, place: str) -> None:
    (said,) = path_problems({"tamma_stack_directory": place % sign})
    assert said.startswith("tamma_stack_directory is ")
    assert said.isascii()
    assert said.isprintable()


@pytest.mark.parametrize("path", ["opt/tamma", "/opt/../etc", "/opt/./tamma", "/opt/tamma ", "/opt/ tamma", "/"])
def test_a_path_is_absolute_and_straight(path: str) -> None:
    assert len(list(path_problems({"tamma_stack_directory": path}))) == 1


@pytest.mark.parametrize("path", ["", "/opt/tamma", "/srv/my stacks/tamma-2.0@eu+x", "/srv/100%/tamma", "/srv/für/t/"])
def test_a_usual_path(path: str) -> None:
    assert not list(path_problems({"tamma_stack_directory": path}))


@pytest.mark.parametrize("name", ["", "Tamma", "-tamma", "ta mma", "tamma\n", "ta%mma", "ta;mma", "../tamma"])
def test_a_name_that_is_none(name: str) -> None:
    assert len(list(project_problems({"tamma_stack_name": name}))) == 1


@pytest.mark.parametrize(
    "given",
    [{"directory": "/opt/tamma\nExecStart=/bin/sh"}, {"project": "a;b"}, {"engine_socket": "/run/d.sock\nUser=x"}],
)
def test_every_module_refuses_it_before_any_work(given: dict[str, Any]) -> None:
    with pytest.raises(OperatorError, match=" is '"):
        module.refuse_places({"project": "tamma", "directory": "/opt/tamma", **given})


def test_percent_signs_and_spaces_are_quoted_for_systemd() -> None:
    text = boot.unit("tamma", "/srv/100% of/tamma", "/run/my 1%/docker.sock", "/usr/bin/docker-compose")
    assert "\nWorkingDirectory=/srv/100%% of/tamma\n" in text
    assert '\nEnvironment="DOCKER_HOST=unix:///run/my 1%%/docker.sock" HOME=/root\n' in text
    plain = boot.unit("tamma", "/opt/tamma", "/run/docker.sock", "/usr/bin/docker-compose")
    assert "\nEnvironment=DOCKER_HOST=unix:///run/docker.sock HOME=/root\n" in plain
