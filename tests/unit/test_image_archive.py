# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of images: written from a registry, cut, damaged, sent in pieces, served to an engine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any

import pytest

from ansible_collections.meywd.tamma.plugins.module_utils import image_archive as known
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.loopback import serving
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import INDEXES, MANIFESTS, Manifest, digest_of

LAYERS = [b"the base" * 1000, b"the service" * 1000, b"for another processor" * 1000]
API, ELSA = "ghcr.io/meywd/tamma-api:1", "ghcr.io/meywd/tamma-elsa:1"


class Registry:
    """A registry with two images on one base, the first of which is there for two processors, and signed."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, Manifest] = {}
        self.downloads: list[str] = []
        self.fails_at = ""
        api = [self.image("tamma-api", layers) for layers in (LAYERS[:2], [LAYERS[0], LAYERS[2]])]
        parts = [
            {"digest": part, "platform": {"os": "linux", "architecture": name}}
            for part, name in zip(api, ("amd64", "arm64"), strict=True)
        ]
        index = self.put("tamma-api", "1", {"manifests": parts}, INDEXES[0])
        self.image("tamma-elsa", [LAYERS[0]], "1")
        self.image("tamma-api", [b'{"critical": {}}'], index.replace(":", "-") + ".sig")

    def image(self, name: str, layers: list[bytes], tag: str = "") -> str:
        described = [self._described(content) for content in [json.dumps({"of": name}).encode(), *layers]]
        return self.put(name, tag, {"config": described[0], "layers": described[1:]}, MANIFESTS[0])

    def _described(self, content: bytes) -> dict[str, Any]:
        self.blobs[digest_of(content)] = content
        return {"digest": digest_of(content), "size": len(content)}

    def put(self, name: str, tag: str, content: dict[str, Any], kind: str) -> str:
        manifest = Manifest(json.dumps({**content, "mediaType": kind}).encode(), kind)
        for reference in (tag, manifest.digest):
            self.manifests[f"ghcr.io/meywd/{name} {reference}"] = manifest
        return manifest.digest

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        return self.manifests.get(f"{repository} {reference}")

    def download(self, _repository: str, digest: str, handle: IO[bytes]) -> None:
        if digest == self.fails_at:
            raise OperatorError("The line is dead.")
        self.downloads.append(digest)
        handle.write(self.blobs[digest])


def write(registry: Registry, place: Path, *references: str) -> tuple[Path, known.Contents]:
    fetch = known.Fetch(registry, str(place / "blobs.d"), ["linux/amd64"], lambda *_words: None)  # type: ignore[arg-type]
    found = fetch.plan(references or (API, ELSA))
    facts = {"version": "1"}
    contents = known.Contents(found, fetch.names, fetch.blobs, sorted(fetch.documents), fetch.layers, facts)
    fetch.bring()
    target = place / "release.tar"
    checksum = known.pack(str(place / "blobs.d"), contents, fetch.index(), str(target))
    assert checksum == hashlib.sha256(target.read_bytes()).hexdigest()
    return target, contents


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_an_archive_is_a_layout_with_each_blob_once_and_the_signatures(registry: Registry, tmp_path: Path) -> None:
    target, contents = write(registry, tmp_path)
    with tarfile.open(target) as archive:
        names = archive.getnames()
        read = {name: archive.extractfile(name) for name in names}
        assert json.loads((read["oci-layout"] or io.BytesIO()).read()) == {"imageLayoutVersion": "1.0.0"}
        index = json.loads((read["index.json"] or io.BytesIO()).read())["manifests"]
        for name in names:
            if name.startswith("blobs/"):
                assert (
                    digest_of((archive.extractfile(name) or io.BytesIO()).read()) == "sha256:" + name.rpartition("/")[2]
                )
    assert len(names) == len(set(names))
    assert {item["annotations"]["org.opencontainers.image.ref.name"] for item in index} == set(contents.names)
    assert any(name.endswith(".sig") for name in contents.names)
    base, own, other = map(digest_of, LAYERS)
    assert {base, own} <= set(contents.blobs)
    # For another processor, which nobody asked for; what an index says stays as it is.
    assert other not in contents.blobs
    assert contents.images[API] == registry.manifests["ghcr.io/meywd/tamma-api 1"].digest


def test_the_same_images_give_the_same_bytes(registry: Registry, tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    first.mkdir(), second.mkdir()
    assert write(registry, first)[0].read_bytes() == write(registry, second, ELSA, API)[0].read_bytes()


def test_what_has_come_does_not_come_again(registry: Registry, tmp_path: Path) -> None:
    registry.fails_at = max(digest for digest in map(digest_of, LAYERS[:2]))
    with pytest.raises(OperatorError, match="dead"):
        write(registry, tmp_path)
    assert not (tmp_path / "release.tar").exists()
    before, registry.fails_at = list(registry.downloads), ""
    write(registry, tmp_path)
    assert before
    assert len(registry.downloads) == len(set(registry.downloads))


@pytest.mark.parametrize(
    ("reference", "platform", "words"),
    [
        ("ghcr.io/meywd/tamma-api:2", "linux/amd64", "The registry has no image ghcr.io/meywd/tamma-api:2"),
        (API, "linux/s390x", "does not exist for linux/s390x: it is there for linux/amd64, linux/arm64"),
    ],
)
def test_what_is_not_there_is_told(
    registry: Registry, tmp_path: Path, reference: str, platform: str, words: str
) -> None:
    fetch = known.Fetch(registry, str(tmp_path), [platform], lambda *_words: None)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match=words):
        fetch.plan([reference])


@pytest.mark.parametrize("share", [0, 0.0001, 0.1, 0.5, 0.9])
def test_an_archive_that_was_cut_is_refused(registry: Registry, tmp_path: Path, share: float) -> None:
    target, _contents = write(registry, tmp_path)
    os.truncate(target, int(target.stat().st_size * share))
    with pytest.raises(OperatorError, match="is no whole archive of images") as caught:
        known.Archive(str(target))
    assert "Nothing was changed." in caught.value.message


@pytest.mark.parametrize("content", [b"not a tar file at all", b"\0" * 20480])
def test_another_file_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(OperatorError, match="is no whole archive"):
        known.Archive(str(tmp_path / "file"))
    with pytest.raises(OperatorError, match="There is no archive"):
        known.Archive(str(tmp_path / "none"))


def send(archive: known.Archive, staging: known.Staging, digest: str, piece: int, scratch: Path) -> None:
    begin = staging.begun(digest)
    while begin < archive.contents.blobs[digest]:
        content = archive.piece(digest, begin, piece)
        scratch.write_bytes(content)
        staging.add(digest, begin, str(scratch))
        begin += len(content)


def test_pieces_become_a_blob_also_after_a_cut(registry: Registry, tmp_path: Path) -> None:
    archive = known.Archive(str(write(registry, tmp_path)[0]))
    staging = known.Staging(str(tmp_path / "staging"), archive.contents)
    digest = digest_of(LAYERS[0])
    scratch = tmp_path / "piece"
    scratch.write_bytes(archive.piece(digest, 0, 3000))
    staging.add(digest, 0, str(scratch))
    with pytest.raises(OperatorError, match="does not follow"):
        staging.add(digest, 0, str(scratch))
    again = known.Staging(str(tmp_path / "staging"), archive.contents)
    assert again.begun(digest) == 3000
    assert not again.has(digest)
    send(archive, again, digest, 3000, scratch)
    handle = again.open(digest)
    assert handle
    with handle:
        assert handle.read() == LAYERS[0]


def test_a_damaged_blob_is_refused_and_goes(registry: Registry, tmp_path: Path) -> None:
    """An altered layer in an archive whose lengths are right."""
    target, contents = write(registry, tmp_path)
    content = target.read_bytes()
    target.write_bytes(content.replace(LAYERS[1], LAYERS[1].replace(b"service", b"SERVICE")))
    archive = known.Archive(str(target))
    staging = known.Staging(str(tmp_path / "staging"), contents)
    digest = digest_of(LAYERS[1])
    with pytest.raises(OperatorError, match="The archive is damaged"):
        send(archive, staging, digest, 1 << 20, tmp_path / "piece")
    assert not staging.has(digest)
    assert staging.begun(digest) == 0
    with pytest.raises(OperatorError, match="damaged"):
        staging.add_document(contents.documents[0], b"something else")


def test_a_disk_that_is_full_leaves_what_was_there(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = known.Archive(str(write(registry, tmp_path)[0]))
    staging = known.Staging(str(tmp_path / "staging"), archive.contents)
    digest = digest_of(LAYERS[0])
    scratch = tmp_path / "piece"
    scratch.write_bytes(archive.piece(digest, 0, 3000))
    staging.add(digest, 0, str(scratch))

    def full(source: IO[bytes], target: IO[bytes], _length: int) -> None:
        target.write(source.read(100))
        raise OSError(28, "No space left on device")

    scratch.write_bytes(archive.piece(digest, 3000, 3000))
    with monkeypatch.context() as patch:
        patch.setattr(known.shutil, "copyfileobj", full)
        with pytest.raises(OSError, match="No space left"):
            staging.add(digest, 3000, str(scratch))
    assert staging.begun(digest) == 3000
    send(archive, staging, digest, 3000, scratch)
    assert staging.has(digest)


def test_only_what_a_host_lacks_is_sent(registry: Registry, tmp_path: Path) -> None:
    _target, contents = write(registry, tmp_path)
    base, own = map(digest_of, LAYERS[:2])
    nothing = known.needed(contents, [API, ELSA], lambda _name, _digest: False, lambda _digest: False)
    assert nothing == ([API, ELSA], sorted([base, own]))
    assert known.needed(contents, [API, ELSA], lambda name, _digest: name == ELSA, lambda one: one == base) == (
        [API],
        [own],
    )
    assert known.needed(contents, [API, "postgres:15"], lambda _name, _digest: True, lambda _one: False) == ([], [])


def test_an_archive_of_another_release_is_refused(registry: Registry, tmp_path: Path) -> None:
    _target, contents = write(registry, tmp_path)
    known.refuse_missing(contents, [API, "postgres:15"], lambda name: name == "postgres:15")
    with pytest.raises(OperatorError, match=r"The archive has no ghcr.io/meywd/tamma-api:2: it is of Tamma 1"):
        known.refuse_missing(contents, ["ghcr.io/meywd/tamma-api:2"], lambda _name: False)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', '{"format": 2}'])
def test_contents_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(OperatorError, match="archive"):
        known.load(text)


def test_the_host_serves_what_it_was_sent_and_notes_what_it_lacks(registry: Registry, tmp_path: Path) -> None:
    archive = known.Archive(str(write(registry, tmp_path)[0]))
    staging = known.Staging(str(tmp_path / "staging"), archive.contents)
    for digest in archive.contents.documents:
        staging.add_document(digest, archive.blob(digest))
    base, own = map(digest_of, LAYERS[:2])
    send(archive, staging, base, 1 << 20, tmp_path / "piece")
    with serving(staging) as server:
        name = server.name("registry.example:5000/team/api:1")
        assert name.endswith("/registry.example_5000/team/api")
        where = "http://%s/v2/%s" % tuple(name.split("/", 1))
        top = archive.contents.images[API]
        with urllib.request.urlopen(f"{where}/manifests/{top}") as answer:
            assert answer.headers["Content-Type"] == INDEXES[0]
            assert digest_of(answer.read()) == top
        with urllib.request.urlopen(f"{where}/blobs/{base}") as answer:
            assert answer.read() == LAYERS[0]
        for gone in (f"manifests/{digest_of(b'x')}", f"blobs/{own}", "manifests/latest", "blobs/../../etc/passwd"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"{where}/{gone}")
        assert server.lacking == [own]
