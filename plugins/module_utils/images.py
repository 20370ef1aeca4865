# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pinned images: a release says which bits it is made of, whatever the registry puts behind a tag later.

An overlay that the operator writes gives each service its image with the digest ("name:tag@sha256:..."). What
has none, because it never came from a registry, is left as it is.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, Mapping, Optional

from ansible_collections.meywd.tamma.plugins.module_utils.compose import Project
from ansible_collections.meywd.tamma.plugins.module_utils.files import File

OVERLAY = "docker-compose.images.yml"
# Where a host pulls from what was carried to it.
LOOPBACK = "127.0.0.1"


def parse(text: Optional[str]) -> Dict[str, str]:
    """Read an overlay: service → pinned reference; nothing for one that is missing or was not written by us."""
    try:
        services = json.loads(text or "{}").get("services") or {}
        return {name: str(item["image"]) for name, item in services.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def overlay(pinned: Mapping[str, str]) -> File:
    """The overlay for service → pinned reference, in JSON, which is YAML."""
    services = {name: {"image": reference} for name, reference in sorted(pinned.items())}
    return File(OVERLAY, json.dumps({"services": services}, indent=2, sort_keys=True) + "\n")


def tagged(reference: str) -> str:
    """A reference without its digest, if it has a tag as well: what people call the image."""
    name, separator, _digest = reference.partition("@")
    return name if separator and ":" in name.rpartition("/")[2] else reference


def pin(reference: str, image: Optional[Mapping[str, Any]], known: Iterable[str] = ()) -> Optional[str]:
    """Add the digest of a local image to a reference; None when there is no such image, or it has none.

    image: as the engine inspects it. known: pinned references that are kept if they still mean this image.
    """
    if "@" in reference:
        return reference
    if not image:
        return None
    digests = {
        found.rpartition("@")[2]
        for found in image.get("RepoDigests") or []
        if repository(found.partition("@")[0]) == repository(untagged(reference))
    }
    pinned = sorted("%s@%s" % (with_tag(reference), digest) for digest in digests if digest)
    kept = [item for item in known if item in pinned]
    return next(iter([*kept, *pinned]), None)


def carried(reference: str, image: Optional[Mapping[str, Any]]) -> Optional[str]:
    """The digest of a local image that came out of an archive; None for one that did not.

    Such an image was pulled from this host itself, under the name that *reference* has elsewhere.
    """
    wanted = repository(untagged(reference.partition("@")[0]))
    for found in (image or {}).get("RepoDigests") or []:
        name, _at, digest = found.partition("@")
        host, _slash, rest = name.partition("/")
        if host.partition(":")[0] == LOOPBACK and rest == wanted.replace(":", "_"):
            return str(digest)
    return None


def pins_of(project: Project, pinned: Mapping[str, str]) -> Dict[str, str]:
    """Of the pins service → reference, those that still belong to the image which the service asks for."""
    return {
        name: pinned[name]
        for name, service in project.services.items()
        if name in pinned and pinned[name].partition("@")[0] == with_tag(service.image)
    }


def untagged(reference: str) -> str:
    """A reference without its tag."""
    head, slash, last = reference.rpartition("/")
    return head + slash + last.partition(":")[0]


def with_tag(reference: str) -> str:
    """A reference with the tag that it has, or stands for."""
    return reference if ":" in reference.rpartition("/")[2] else reference + ":latest"


def repository(name: str) -> str:
    """A repository's full name: Docker leaves out its own registry, Podman does not."""
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return "docker.io/library/" + rest if first == "docker.io" and "/" not in rest else name
    return "docker.io/" + (name if slash else "library/" + name)
