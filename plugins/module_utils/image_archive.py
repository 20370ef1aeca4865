# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a release in one file, for hosts that reach no registry.

It is a tar file with an OCI image layout, which other tools read as well (``skopeo``, as ``oci-archive:``). Each blob
is in it once, under its digest. ``tamma.json``, the first file in it, says what else there is. The signatures beside
the images are in it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import tarfile
from typing import IO, Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, cast

from ansible_collections.meywd.tamma.plugins.module_utils import images, room
from ansible_collections.meywd.tamma.plugins.module_utils.compose import explain_pull_failures
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import (
    INDEXES,
    Client,
    Manifest,
    children,
    digest_of,
)
from ansible_collections.meywd.tamma.plugins.module_utils.signatures import signature_tag

Progress = Callable[[str, str], None]

_FORMAT = 1
_ABOUT = "tamma.json"
_LAYOUT = json.dumps({"imageLayoutVersion": "1.0.0"})
_REFERENCE = "org.opencontainers.image.ref.name"
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# What stands beside an image in its registry, and goes with it.
_BESIDE = (".sig", ".att", ".sbom")


class Contents(NamedTuple):
    """What is in an archive.

    images: reference → digest. names: every manifest, "repository:tag" → digest. blobs: digest → bytes. documents: the
    small ones among them, which are no layers. layers: image → the digests of its layers. facts: what else an operator
    wants to know of it.
    """

    images: Dict[str, str]
    names: Dict[str, str]
    blobs: Dict[str, int]
    documents: List[str]
    layers: Dict[str, List[str]]
    facts: Dict[str, Any]

    def dump(self) -> str:
        """As it stands in the archive."""
        return json.dumps({"format": _FORMAT, **self._asdict()}, indent=1, sort_keys=True) + "\n"


def load(text: str) -> Contents:
    """Read what is in an archive."""
    try:
        found = json.loads(text)
        if found.pop("format") != _FORMAT:
            raise OperatorError("The archive was written by a newer version of this collection: use that one.")
        return Contents(**found)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise OperatorError(
            "The archive does not say what is in it: write it again with the playbook archive."
        ) from exc


def blob_path(digest: str) -> str:
    """Where a blob is in a layout."""
    return "blobs/" + digest.replace(":", "/")


# -- writing --------------------------------------------------------------------------------


class Fetch:
    """Brings the images of a release from their registries into a directory."""

    def __init__(self, client: Client, place: str, platforms: Sequence[str], progress: Progress) -> None:
        self._client = client
        self._place = place
        self._platforms = platforms
        self._progress = progress
        self.names: Dict[str, str] = {}
        self.blobs: Dict[str, int] = {}
        self.documents: List[str] = []
        self.layers: Dict[str, List[str]] = {}
        self._from: Dict[str, str] = {}
        self._kinds: Dict[str, str] = {}

    def plan(self, references: Iterable[str]) -> Dict[str, str]:
        """Find out what belongs to images; return their digests. Only small things have come then."""
        found = {}
        for reference in sorted(references):
            name, _at, digest = reference.partition("@")
            repository = images.repository(images.untagged(name))
            tag = images.with_tag(name).rpartition(":")[2]
            top = self._client.manifest(repository, digest or tag)
            if top is None:
                raise OperatorError(explain_pull_failures({reference: "manifest unknown"})[0])
            self.names["%s:%s" % (repository, tag)] = found[reference] = top.digest
            self.layers[reference] = []
            self._image(repository, top, reference)
            for suffix in _BESIDE:
                beside = signature_tag(top.digest)[: -len(".sig")] + suffix
                manifest = self._client.manifest(repository, beside)
                if manifest:
                    self.names["%s:%s" % (repository, beside)] = manifest.digest
                    self._image(repository, manifest, "")
        return found

    def _image(self, repository: str, manifest: Manifest, reference: str) -> None:
        self._document(manifest.digest, manifest.content)
        self._kinds[manifest.digest] = str(manifest.parsed.get("mediaType") or manifest.media_type)
        if manifest.media_type in INDEXES or children(manifest):
            wanted = [item for item in children(manifest) if _platform(item) in (*self._platforms, "unknown/unknown")]
            if not any(_platform(item) in self._platforms for item in wanted):
                raise OperatorError(
                    "%s does not exist for %s: it is there for %s."
                    % (
                        reference,
                        " or ".join(self._platforms),
                        ", ".join(sorted(set(map(_platform, children(manifest))))),
                    )
                )
            for item in wanted:
                child = self._client.manifest(repository, str(item["digest"]))
                if child is None:
                    raise OperatorError("The registry lacks a part of %s (%s)." % (reference, item["digest"]))
                self._image(repository, child, reference)
            return
        parsed = manifest.parsed
        for number, item in enumerate([parsed.get("config") or {}, *(parsed.get("layers") or [])]):
            digest, size = str(item.get("digest", "")), int(item.get("size", 0))
            if not digest.startswith("sha256:"):
                raise OperatorError("The registry answers for %s with something that is no image." % repository)
            self.blobs[digest] = size
            self._from.setdefault(digest, repository)
            if number == 0 or not reference:
                if digest not in self.documents:
                    self.documents.append(digest)
            elif digest not in self.layers[reference]:
                self.layers[reference].append(digest)

    def _document(self, digest: str, content: bytes) -> None:
        if digest not in self.documents:
            self.documents.append(digest)
        self.blobs[digest] = len(content)
        path = os.path.join(self._place, blob_path(digest))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as handle:
            handle.write(content)

    def bring(self) -> None:
        """Bring every blob that is not in the directory yet, each with its digest."""
        lacking = [digest for digest in sorted(self.blobs) if not self._is_here(digest)]
        for digest in lacking:
            path = os.path.join(self._place, blob_path(digest))
            self._progress("pull", "%s (%s)" % (digest[:19], room.human(self.blobs[digest])))
            with open(path + ".part", "wb") as handle:
                self._client.download(self._from[digest], digest, handle)
            os.replace(path + ".part", path)

    def bytes_lacking(self) -> int:
        """How much has to come."""
        return sum(size for digest, size in self.blobs.items() if not self._is_here(digest))

    def _is_here(self, digest: str) -> bool:
        path = os.path.join(self._place, blob_path(digest))
        return os.path.isfile(path) and os.path.getsize(path) == self.blobs[digest]

    def index(self) -> str:
        """What other tools begin with."""
        entries = [
            {
                "mediaType": self._kinds[digest] or _MANIFEST,
                "digest": digest,
                "size": self.blobs[digest],
                "annotations": {_REFERENCE: name},
            }
            for name, digest in sorted(self.names.items())
        ]
        return json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}, indent=1) + "\n"


def _platform(item: Mapping[str, Any]) -> str:
    known = item.get("platform") or {}
    return "%s/%s" % (known.get("os", "unknown"), known.get("architecture", "unknown"))


def pack(place: str, contents: Contents, index: str, target: str) -> str:
    """Write the archive; return its checksum. What is at *target* is replaced when all of it is written."""
    with open(target + ".part", "wb") as plain:
        handle = _Summed(plain)
        # Only what a stream is asked for is there.
        with tarfile.open(fileobj=cast(IO[bytes], handle), mode="w|", format=tarfile.USTAR_FORMAT) as archive:
            for name, text in ((_ABOUT, contents.dump()), ("oci-layout", _LAYOUT), ("index.json", index)):
                archive.addfile(_member(name, len(text.encode())), io.BytesIO(text.encode()))
            for digest in sorted(contents.blobs):
                path = os.path.join(place, blob_path(digest))
                with open(path, "rb") as source:
                    archive.addfile(_member(blob_path(digest), contents.blobs[digest]), source)
        plain.flush()
        os.fsync(plain.fileno())
    os.replace(target + ".part", target)
    return handle.sum.hexdigest()


class _Summed:
    """A file that is written, and its checksum."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self.sum = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.sum.update(content)
        return self._handle.write(content)


def _member(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.mode = size, 0o644
    return found


# -- reading --------------------------------------------------------------------------------


class Archive:
    """An archive that somebody carried here."""

    def __init__(self, path: str) -> None:
        self._path = path
        cut = OperatorError(
            "%s is no whole archive of images: it was cut when it was copied, or is another file. Copy it again. "
            "Nothing was changed." % path
        )
        try:
            size = os.path.getsize(path)
            with tarfile.open(path, "r:") as archive:
                first = archive.next()
                about = archive.extractfile(first) if first and first.name == _ABOUT else None
                if about is None:
                    raise cut
                self.text = about.read().decode("utf-8", "replace")
                self.contents = load(self.text)
                self._places = {item.name: (item.offset_data, item.size) for item in archive}
        except (tarfile.TarError, EOFError) as exc:
            raise cut from exc
        except FileNotFoundError as exc:
            raise OperatorError("There is no archive %s on this machine." % path) from exc
        for digest, length in self.contents.blobs.items():
            start, there = self._places.get(blob_path(digest), (0, -1))
            if there != length or start + length > size or size % tarfile.RECORDSIZE:
                raise cut

    def piece(self, digest: str, begin: int, most: int) -> bytes:
        """A piece of a blob."""
        start, size = self._places[blob_path(digest)]
        with open(self._path, "rb") as handle:
            handle.seek(start + begin)
            return handle.read(min(most, size - begin))

    def blob(self, digest: str) -> bytes:
        """A small blob."""
        return self.piece(digest, 0, self.contents.blobs[digest])


# -- on the host ----------------------------------------------------------------------------


class Staging:
    """What has come to a host of an archive, until the engine has it."""

    def __init__(self, directory: str, contents: Contents) -> None:
        self.directory = directory
        self.contents = contents

    def _path(self, digest: str) -> str:
        if digest not in self.contents.blobs:
            raise OperatorError("The archive has no %s." % digest)
        return os.path.join(self.directory, digest.replace(":", "-"))

    def has(self, digest: str) -> bool:
        """Whether all of a blob is here."""
        return os.path.isfile(self._path(digest))

    def begun(self, digest: str) -> int:
        """How many bytes of a blob are here already."""
        part = self._path(digest) + ".part"
        return os.path.getsize(part) if os.path.isfile(part) else 0

    def add(self, digest: str, begin: int, path: str) -> None:
        """Take the next piece of a blob, from a file; a blob that is complete has its digest, or goes."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        whole = self._path(digest)
        if begin != self.begun(digest):
            raise OperatorError("A piece of %s does not follow the one before." % digest)
        with open(path, "rb") as source, open(whole + ".part", "ab") as handle:
            try:
                shutil.copyfileobj(source, handle, 1 << 20)
                handle.flush()
                os.fsync(handle.fileno())
            except OSError as exc:
                with contextlib.suppress(OSError):
                    handle.truncate(begin)
                exc.filename = whole
                raise
        if self.begun(digest) < self.contents.blobs[digest]:
            return
        if file_digest(whole + ".part") != digest:
            os.unlink(whole + ".part")
            raise OperatorError(
                "The archive is damaged: what it has as %s is something else. Copy it again, or write it again. "
                "Nothing was changed." % digest
            )
        os.replace(whole + ".part", whole)

    def add_document(self, digest: str, content: bytes) -> None:
        """Take a small blob."""
        if digest_of(content) != digest:
            raise OperatorError("The archive is damaged: what it has as %s is something else. Copy it again." % digest)
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        with open(self._path(digest), "wb") as handle:
            handle.write(content)

    def open(self, digest: str) -> Optional[IO[bytes]]:
        """A blob, to be read; None if it is not here."""
        if digest not in self.contents.blobs or not self.has(digest):
            return None
        return open(self._path(digest), "rb")

    # As a source of signatures.

    def manifest(self, repository: str, reference: str) -> Optional[Manifest]:
        """A manifest by its digest, or by its tag."""
        digest = reference if ":" in reference else self.contents.names.get("%s:%s" % (repository, reference), "")
        content = self.blob(repository, digest) if digest else None
        return None if content is None else Manifest(content, media_type(content))

    def blob(self, _repository: str, digest: str) -> Optional[bytes]:
        """A small blob."""
        handle = self.open(digest)
        if handle is None:
            return None
        with handle:
            return handle.read()

    def clear(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.directory, ignore_errors=True)


def media_type(content: bytes) -> str:
    """The media type of a manifest that is no longer told by anybody."""
    try:
        found = json.loads(content)
    except ValueError:
        return ""
    return str(found.get("mediaType") or (_INDEX if "manifests" in found else _MANIFEST))


def file_digest(path: str) -> str:
    """The digest of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as handle:
        for piece in iter(lambda: handle.read(1 << 20), b""):
            found.update(piece)
    return "sha256:" + found.hexdigest()


def needed(
    contents: Contents, references: Sequence[str], known: Callable[[str, str], bool], has_layer: Callable[[str], bool]
) -> Tuple[List[str], List[str]]:
    """Which of *references* a host lacks, and which blobs have to be sent for them.

    known: whether the host has an image with a digest. has_layer: whether its engine has a layer, by its digest.
    """
    lacking = [item for item in references if item in contents.images and not known(item, contents.images[item])]
    blobs = {digest for item in lacking for digest in contents.layers[item] if not has_layer(digest)}
    return lacking, sorted(blobs)


def refuse_missing(contents: Contents, references: Iterable[str], is_here: Callable[[str], bool]) -> None:
    """Refuse an archive without an image of the release, which the host does not have either."""
    missing = sorted(item for item in set(references) if item not in contents.images and not is_here(item))
    if missing:
        raise OperatorError(
            "The archive has no %s: it is of Tamma %s. Write one of this release with the playbook archive. "
            "Nothing was changed." % (", ".join(missing), contents.facts.get("version", "(unknown)"))
        )
