# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that belong to who writes there, and nothing that a link in them leads to."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import ownership
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project, Service
from ansible_collections.meywd.tamma.plugins.module_utils.engine import SERVICE_LABEL, Engine

PASSWD = "root:x:0:0::/root:/bin/sh\ntamma:x:1001:1002::/home/tamma:/bin/sh\nbroken\n"


class Fake:
    """An engine with one container of the service "worker"."""

    def __init__(self, mounts: list[dict[str, Any]], user: str = "tamma", passwd: str = PASSWD) -> None:
        self.inspected: dict[str, Any] = {"Id": "one", "Mounts": mounts, "Config": {"User": user}}
        self.passwd = passwd
        self.mapped = False

    def maps_users(self) -> bool:
        return self.mapped

    def containers(self, project: str) -> list[dict[str, Any]]:
        assert project == "tamma"
        return [{"Id": "one", "Labels": {SERVICE_LABEL: "worker"}}]

    def container(self, identifier: str) -> dict[str, Any] | None:
        return self.inspected if identifier == "one" else None

    def file(self, identifier: str, path: str) -> str:
        assert (identifier, path) == ("one", "/etc/passwd")
        return self.passwd


def project(writes: str = "/workspace /app/logs") -> Project:
    service = Service("worker", "worker:1", 1, {}, [], [], {ownership.LABEL: writes}, "")
    return Project("tamma", {"worker": service}, [])


def mount(
    source: Path, target: str = "/workspace", writable: bool = True, volume: str = "tamma_work"
) -> dict[str, Any]:
    return {"Type": "volume", "Name": volume, "Source": str(source), "Destination": target, "RW": writable}


def find(fake: Any, writes: str = "/workspace /app/logs") -> list[ownership.Place]:
    return ownership.find(fake, project(writes))


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    directory = tmp_path / "_data"
    directory.mkdir(mode=0o755)
    return directory


@pytest.mark.parametrize(
    ("user", "passwd", "ids"),
    [
        ("tamma", PASSWD, (1001, 1002)),
        ("1001", PASSWD, (1001, 1002)),
        ("1234", PASSWD, (1234, -1)),
        ("tamma:5", PASSWD, (1001, 5)),
        ("tamma", "", (1001, -1)),
        ("1234:5", "", (1234, 5)),
        ("", PASSWD, (0, 0)),
        ("root", PASSWD, (0, 0)),
    ],
)
def test_whose_a_container_is(user: str, passwd: str, ids: tuple[int, int]) -> None:
    fake: Any = Fake([], user, passwd)
    assert ownership.user_of(fake, fake.inspected) == ids


@pytest.mark.parametrize(
    ("owner", "group", "mode", "able"),
    [
        (0, 0, 0o755, False),
        (0, 0, 0o1777, True),
        (1001, 0, 0o700, True),
        (1001, 0, 0o577, False),
        (0, 1002, 0o770, True),
        (0, 1002, 0o757, False),
    ],
)
def test_who_can_write(owner: int, group: int, mode: int, able: bool) -> None:
    status: Any = SimpleNamespace(st_uid=owner, st_gid=group, st_mode=0o040000 | mode)
    assert ownership.can_write(status, 1001, {1002, -1}) is able
    assert ownership.can_write(status, 0, {0})


def test_what_is_not_found(roots: Path) -> None:
    assert find(Fake([mount(roots)]), "") == []
    assert find(Fake([mount(roots, "/elsewhere")])) == []
    assert find(Fake([mount(roots, writable=False)])) == []
    assert find(Fake([mount(roots / "missing")])) == []
    assert find(Fake([mount(roots)], user="0")) == []


def test_a_place_is_told_once(roots: Path) -> None:
    (place,) = find(Fake([mount(roots), mount(roots, "/app/logs")]))
    assert place.words == "give /workspace of worker (volume tamma_work) to the user 1001"
    (bound,) = find(Fake([{**mount(roots), "Type": "bind"}]))
    assert bound.words == f"give /workspace of worker ({roots}) to the user 1001"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
def test_the_directory_is_given_and_nothing_in_it(roots: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (roots / "link").symlink_to(secret)
    (roots / "file").write_text("somebody's")
    roots.chmod(0o555)
    (place,) = find(Fake([mount(roots)]))
    ownership.give(place)
    status = roots.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1001, 1002, 0o755)
    assert {(path.lstat().st_uid) for path in (secret, roots / "link", roots / "file")} == {os.geteuid()}
    assert find(Fake([mount(roots)])) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
def test_a_link_in_the_place_of_the_directory_is_not_followed(roots: Path, tmp_path: Path) -> None:
    (place,) = find(Fake([mount(roots)]))
    roots.rmdir()
    target = tmp_path / "target"
    target.mkdir()
    roots.symlink_to(target)
    ownership.give(place)
    assert target.stat().st_uid == os.geteuid()
    assert find(Fake([mount(roots)])) == []


def test_what_the_file_system_refuses_is_one_sentence(roots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    told: list[str] = []
    ownership.give_all([ownership.Place("worker", "/workspace", str(roots), "", 1001, -1)], told.append)
    assert told == [
        f"give /workspace of worker ({roots}) to the user 1001",
        (
            f"{roots} of this host cannot be given to the user 1001 of worker (Operation not permitted): if that "
            "cannot write to /workspace, give it to the user where its file system is kept."
        ),
    ]


def test_a_directory_that_more_than_its_mode_decides_about_stays_whose_it_is(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(find(Fake([mount(roots)]))) == 1
    monkeypatch.setattr(ownership, "_file_system", lambda _device: "nfs4")
    assert find(Fake([mount(roots)])) == []
    monkeypatch.setattr(ownership, "_file_system", lambda _device: "fuse.sshfs")
    assert find(Fake([mount(roots)])) == []
    monkeypatch.setattr(ownership, "_file_system", lambda _device: "xfs")
    monkeypatch.setattr(os, "listxattr", lambda _directory: ["system.posix_acl_access"])
    assert find(Fake([mount(roots)])) == []


def test_the_file_system_of_a_directory_is_known() -> None:
    assert ownership._file_system(os.stat("/proc").st_dev) == "proc"
    assert ownership._file_system(os.makedev(4095, 4095)) == ""


def test_users_of_another_namespace_are_not_those_of_the_host(roots: Path) -> None:
    fake = Fake([mount(roots)])
    fake.inspected["HostConfig"] = {"UsernsMode": "auto"}
    assert find(fake) == []
    fake.inspected["HostConfig"] = {"UsernsMode": "host"}
    assert len(find(fake)) == 1
    fake.mapped = True
    assert find(fake) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
def test_another_group_of_a_service_counts(roots: Path) -> None:
    fake = Fake([mount(roots)])
    os.chown(roots, 0, 5000)
    roots.chmod(0o770)
    assert len(find(fake)) == 1
    fake.inspected["HostConfig"] = {"GroupAdd": ["audio", "5000"]}
    assert find(fake) == []


def test_a_file_of_a_container_is_read_from_the_engines_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    def archive(*entries: tarfile.TarInfo) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as written:
            for entry in entries:
                written.addfile(entry, io.BytesIO(b"x" * entry.size))
        return stream.getvalue()

    content, directory = tarfile.TarInfo("passwd"), tarfile.TarInfo("passwd")
    content.size, directory.type = 3, tarfile.DIRTYPE
    answers = [
        (200, archive(content), "xxx"),
        (200, archive(directory), ""),
        (200, archive(), ""),
        (200, b"rubbish", ""),
        (404, b'{"message": "no such file"}', ""),
    ]
    engine = Engine("/nowhere.sock")
    for status, body, expected in answers:
        monkeypatch.setattr(engine, "_request", lambda *_given, answer=(status, body): answer)
        assert engine.file("one", "/etc/passwd") == expected
