"""The stack's images in all their versions, and the names under which the registry serves them.

A version is data in tests/images/versions.json and one tiny layer on an image that all versions
share: environment variables that tell the stand-in which version it plays, and how. One that says
"today" plays Tamma as it is. The others are releases of the future: they name their "migrations", or
another version whose they bring ("like") and "further" ones; "environment" is how single images of a
version behave, "missing" what the registry does not have of it.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from . import images
from .command import docker
from .images import Context
from .names import IMAGE_SOURCES
from .progress import say

VERSIONS = IMAGE_SOURCES / "versions.json"
#: The version that plays Tamma as it is.
TODAY = "0.1.0-today"
#: Served under these names whatever the version of Tamma.
FIXED = {"postgres:15": "postgres", "rabbitmq:3": "rabbitmq", "caddy:2": "caddy"}
TAMMA = ("tamma-elsa", "tamma-api-dotnet", "tamma-api", "tamma-engine", "tamma-dashboard")


def build() -> None:
    """Make the images of every version, as far as they are missing."""
    present = images.present()
    missing = [
        (image, version) for version in _versions() for image in _images(version) if _tag(image, version) not in present
    ]
    with ThreadPoolExecutor(images.BUILDS_AT_ONCE) as pool:
        list(pool.map(lambda one: images.docker_build(_tag(*one), _context(*one), []), missing))
    if missing:
        say(f"Made {len(missing)} images of versions {', '.join(_versions())}.")


def served() -> dict[str, str]:
    """Return what the registry shall serve: name and tag -> local image."""
    names = {name: images.tag(image) for name, image in FIXED.items()}
    for version in _versions():
        names |= {f"{image}:{version}": _tag(image, version) for image in _images(version)}
    latest = _data()["latest"]
    return names | {f"{image}:latest": _tag(image, latest) for image in TAMMA}


@cache
def _data() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(VERSIONS.read_text())
    return content


def _versions() -> list[str]:
    return list(_data()["versions"])


def _images(version: str) -> list[str]:
    """Return which images there are of a version: one that lacks an image cannot be pulled."""
    lacking = _data()["versions"][version].get("missing", [])
    return [image for image in TAMMA if image not in lacking]


def migrations(version: str) -> dict[str, list[str]]:
    """Return the migrations of a release of the future by schema: its own, or another version's and further ones."""
    entry = _data()["versions"][version]
    if "like" not in entry:
        own: dict[str, list[str]] = entry["migrations"]
        return own
    further = entry.get("further", {})
    return {schema: [*names, *further.get(schema, [])] for schema, names in migrations(entry["like"]).items()}


def _behaviour(image: str, version: str) -> dict[str, str]:
    """Return the environment of one image of one version."""
    entry = _data()["versions"][version]
    future = (
        {}
        if "today" in entry
        else {
            "STANDIN_FUTURE": "1",
            "STANDIN_MIGRATIONS": json.dumps(migrations(version), separators=(",", ":")),
        }
    )
    return {"STANDIN_VERSION": version, **future, **entry.get("environment", {}).get(image, {})}


def _context(image: str, version: str) -> Context:
    """Return a build context of one or two files."""
    lines = [f"FROM {images.tag(image)}", f"LABEL org.opencontainers.image.version={version}"]
    context: Context = {}
    if image == "tamma-dashboard":
        lines.append("COPY version.json /usr/share/nginx/html/version.json")
        context["version.json"] = json.dumps({"version": version}).encode(), 0o644
    else:
        lines += [f"ENV {name}={json.dumps(value)}" for name, value in _behaviour(image, version).items()]
    context["Dockerfile"] = "\n".join(lines).encode(), 0o644
    return context


def _tag(image: str, version: str) -> str:
    return f"tamma-bench/{image}-{version}:{images.context_hash(_context(image, version))}"


def sizes() -> dict[str, int]:
    """Return the megabytes of each served image, unpacked."""
    names = served()
    listing = docker("image", "inspect", "-f", "{{.Size}}", *names.values()).splitlines()
    return {name: int(size) // 1_000_000 for name, size in zip(names, listing, strict=True)}
