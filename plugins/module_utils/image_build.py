# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of Tamma from its source: what is there already, what has to be built, and how they come to the registry.

All of them are built before any is pushed, and are pushed under the tag of their commit alone. Versions, ``latest`` and
branches are set afterwards, in the registry: whoever pulls one of those finds all images of a build or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import image_source, image_tags, room
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.image_source import Source
from ansible_collections.meywd.tamma.plugins.module_utils.images import repository
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Access, Client, Served, access
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Result, Runner

#: Image → its Dockerfile and the variables of the bake file that go into it.
IMAGES: Dict[str, Tuple[str, Tuple[str, ...]]] = {
    "tamma-api": ("typescript.Dockerfile", ("NODE_IMAGE", "NPM_CONFIG_REGISTRY")),
    "tamma-engine": ("typescript.Dockerfile", ("NODE_IMAGE", "NPM_CONFIG_REGISTRY", "CLAUDE_VERSION")),
    "tamma-dashboard": ("dashboard.Dockerfile", ("NODE_IMAGE", "NGINX_IMAGE", "NPM_CONFIG_REGISTRY")),
    "tamma-elsa": ("elsa.Dockerfile", ("DOTNET_SDK_IMAGE", "ASPNET_IMAGE")),
    "tamma-api-dotnet": ("api-dotnet.Dockerfile", ("DOTNET_SDK_IMAGE", "ASPNET_IMAGE")),
}
REVISION, RECIPE = "org.opencontainers.image.revision", "tamma.recipe"
#: What a build of all five takes on the disk of the engine at most, above the images that are there.
_BYTES = 4 << 30


class Wish(NamedTuple):
    """What an operator wants to have."""

    names: List[str]
    registry: str
    #: Directories on this host: of the bake file, and of the dashboard's nginx template.
    files: str
    nginx: str
    #: Variables of the bake file that were set.
    variables: Dict[str, str]
    source_url: str = ""
    push: bool = True
    platforms: Sequence[str] = ()
    default_branch: str = "main"
    builder: str = ""
    attestations: bool = False
    rebuild: bool = False
    #: Whether the images are signed afterwards, by the program of that name.
    signs: bool = False


class Image(NamedTuple):
    """What is to be done about one image."""

    name: str
    reference: str
    recipe: str
    #: Whether it is built; otherwise it is there, under this digest (of the registry) or id (of the engine).
    build: bool
    digest: str
    #: Tags that it lacks.
    lacks: List[str]


class Plan(NamedTuple):
    """What is to be done."""

    source: Source
    tags: List[str]
    images: List[Image]

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return any(image.build or image.lacks for image in self.images)

    @property
    def version(self) -> str:
        """The tag that a deploy names: the version, or the commit."""
        return next((tag for tag in self.tags if image_tags.stays(tag)), self.tags[0])


class Builder(NamedTuple):
    """The engine and the builder of this host, as they say themselves."""

    driver: str
    directory: str
    access: Access


def builder(runner: Runner, wish: Wish) -> Builder:
    """Ask for the builder; raises OperatorError on a host that cannot build."""
    if runner.run(["docker", "buildx", "version"]).rc:
        raise OperatorError(
            "This host has no docker buildx, which builds the images: install it (Debian: docker-buildx; Docker's own "
            "packages: docker-buildx-plugin). Nothing was changed."
        )
    if wish.signs and not shutil.which("cosign"):
        raise OperatorError(
            "This host has no cosign, which signs the images: install it (Debian 13 has a package cosign), or unset "
            "tamma_images_sign_key. Nothing was changed."
        )
    info = runner.run(["docker", "info", "--format", "{{json .}}"])
    described = json.loads(info.out or "{}") if info.rc == 0 else {}
    if not described.get("ServerVersion"):
        raise OperatorError("Docker does not answer on this host: %s. Nothing was changed." % _last(info))
    inspected = runner.run(["docker", "buildx", "inspect", *([wish.builder] if wish.builder else [])])
    if inspected.rc:
        raise OperatorError(
            "The builder %s cannot be used: %s. Nothing was changed." % (wish.builder, _last(inspected))
        )
    driver = next((line.split()[1] for line in inspected.out.splitlines() if line.startswith("Driver:")), "docker")
    snapshotter = any("io.containerd.snapshotter" in str(item) for item in described.get("DriverStatus") or [])
    if driver == "docker" and not snapshotter:
        for wanted, what in ((len(wish.platforms) > 1, "several architectures"), (wish.attestations, "attestations")):
            if wanted:
                raise OperatorError(
                    "The builder of this host makes no %s: use Docker's containerd image store, or name a builder of "
                    "another driver (tamma_images_builder). Nothing was changed." % what
                )
    return Builder(
        driver="docker+containerd" if driver == "docker" and snapshotter else driver,
        directory=str(described.get("DockerRootDir") or "/"),
        access=access(described, {}),
    )


def recipe(wish: Wish, name: str) -> str:
    """What decides about an image beside the commit: our files, its bases, the architectures."""
    dockerfile, variables = IMAGES[name]
    digest = hashlib.sha256("\0".join([name, *wish.platforms, str(wish.attestations)]).encode("utf-8"))
    nginx = os.path.join(wish.nginx, "default.conf.template")
    own = [
        os.path.join(wish.files, found)
        for found in sorted(os.listdir(wish.files))
        if found in (dockerfile, "docker-bake.hcl") or found.endswith((".sh", ".mjs"))
    ]
    for path in [*own, *([nginx] if "NGINX_IMAGE" in variables else [])]:
        with open(path, "rb") as file:
            digest.update(file.read() + b"\0")
    for variable in variables:
        digest.update(("%s=%s\0" % (variable, wish.variables.get(variable, ""))).encode("utf-8"))
    return digest.hexdigest()[:12]


def plan(runner: Runner, wish: Wish, source: Source, registry: Optional[Client]) -> Plan:
    """Find out what is there; raises OperatorError when a released version would change."""
    tags = image_tags.tags(
        source.revision, source.branch, source.tag, wish.default_branch, source.dirty, set(source.tags) - {source.tag}
    )
    images = []
    for name in wish.names:
        reference = "%s/%s" % (wish.registry, name)
        made = recipe(wish, name)
        path = repository(reference)
        here: Dict[str, Optional[Served]] = {}
        for tag in tags:
            here[tag] = registry.served(path, tag) if registry else _local(runner, "%s:%s" % (reference, tag))
            found = here[tag]
            if registry and found and image_tags.stays(tag):
                _check_release(reference, tag, found, source.revision, made)
        ours = [
            found.digest
            for found in here.values()
            if found and found.labels.get(REVISION) == source.revision and found.labels.get(RECIPE) == made
        ]
        # What is not committed can be anything.
        build = not ours or source.dirty or (wish.rebuild and not any(map(image_tags.stays, filter(here.get, tags))))
        digest = "" if build else ours[0]
        images.append(
            Image(
                name=name,
                reference=reference,
                recipe=made,
                build=build,
                digest=digest,
                lacks=[tag for tag, found in here.items() if build or not found or found.digest != digest],
            )
        )
    return Plan(source, tags, images)


def check(planned: Plan, engine: Builder, registry: Optional[Client]) -> None:
    """Raise OperatorError when it is known already that the plan cannot be done."""
    if any(image.build for image in planned.images) and os.path.isdir(engine.directory):
        needed, free = room.needed_and_free(engine.directory, _BYTES)
        if free < needed:
            raise OperatorError(
                "A build needs up to %s below %s, and %s are free: make room there ('docker system prune'). Nothing "
                "was changed." % (room.human(needed), engine.directory, room.human(free))
            )
    if registry:
        for image in planned.images:
            if image.lacks:
                registry.check_push(repository(image.reference))


def apply(runner: Runner, wish: Wish, planned: Plan, registry: Optional[Client]) -> None:
    """Build what is missing, then push all of it, then set the tags."""
    building = [image for image in planned.images if image.build]
    if building:
        directory = tempfile.mkdtemp(prefix="tamma-images-")
        try:
            image_source.copy(runner, planned.source, directory)
            # A builder that is no part of the engine keeps what it built until it is told where it goes.
            kept = len(wish.platforms) > 1 or wish.attestations
            first = ["--set", "*.output=type=cacheonly"] if registry and kept else ["--load"]
            # Packages of the distribution are newer where no step has changed.
            first += ["--no-cache"] if wish.rebuild else []
            _bake(runner, wish, planned, building, directory, planned.tags if not registry else planned.tags[:1], first)
            if registry:
                _still_free(registry, planned)
                _bake(runner, wish, planned, building, directory, planned.tags[:1], ["--push"])
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    if not registry:
        for image in planned.images:
            for tag in () if image.build else image.lacks:
                _done(runner.run(["docker", "tag", image.digest, "%s:%s" % (image.reference, tag)]), "tagged")
        return
    digests = {}
    for image in planned.images:
        path = repository(image.reference)
        found = registry.served(path, planned.tags[0]) if image.build else None
        if image.build and not found:
            raise OperatorError(
                "%s:%s was pushed, and the registry does not have it." % (image.reference, planned.tags[0])
            )
        digests[image.name] = found.digest if found else image.digest
    for image in planned.images:
        for tag in image.lacks:
            if not (image.build and tag == planned.tags[0]):
                registry.tag(repository(image.reference), digests[image.name], tag)


def result(runner: Runner, planned: Plan, registry: Optional[Client]) -> List[Dict[str, Any]]:
    """Say of each image what there is now."""
    said = []
    for image in planned.images:
        name = "%s:%s" % (image.reference, planned.tags[0])
        local = _local(runner, name)
        found = registry.served(repository(image.reference), planned.tags[0]) if registry else local
        said.append(
            {
                "name": image.name,
                "image": image.reference,
                "tags": planned.tags,
                "digest": found.digest if found and registry else "",
                "reference": "%s:%s@%s" % (image.reference, planned.version, found.digest)
                if found and registry
                else name,
                "revision": planned.source.revision,
                "version": planned.version,
                "platforms": found.platforms if found else [],
                # As it travels, and as it lies on a disk.
                "compressed": room.human(found.size) if found and registry else "",
                "size": room.human(local.size) if local else "",
                "built": image.build,
            }
        )
    return said


def _check_release(reference: str, tag: str, found: Served, revision: str, made: str) -> None:
    theirs = found.labels.get(REVISION, "")
    if theirs != revision:
        raise OperatorError(
            "%s:%s is released, and was built from %s, not from %s: give this one another version. Nothing was changed."
            % (reference, tag, theirs[:12] or "an unknown commit", revision[:12])
        )
    if found.labels.get(RECIPE) != made:
        raise OperatorError(
            "%s:%s is released, and was built of other bases or settings: a released version stays as it is, so give "
            "this one another version. Nothing was changed." % (reference, tag)
        )


def _still_free(registry: Client, planned: Plan) -> None:
    """A build takes minutes: look again whether somebody else has released the same version meanwhile."""
    for image in planned.images:
        for tag in filter(image_tags.stays, image.lacks):
            found = registry.served(repository(image.reference), tag)
            if found:
                _check_release(image.reference, tag, found, planned.source.revision, image.recipe)


def _bake(
    runner: Runner,
    wish: Wish,
    planned: Plan,
    images: List[Image],
    directory: str,
    tags: Sequence[str],
    output: Sequence[str],
) -> None:
    settings = {
        **wish.variables,
        "TAMMA_REGISTRY": wish.registry,
        "TAMMA_TAGS": ",".join(tags),
        "TAMMA_SOURCE": directory,
        "TAMMA_SOURCE_URL": wish.source_url,
        "TAMMA_REVISION": planned.source.revision,
        "TAMMA_VERSION": planned.version,
        "TAMMA_FILES": wish.files,
        "TAMMA_NGINX": wish.nginx,
        "SOURCE_DATE_EPOCH": str(planned.source.committed),
    }
    words = ["docker", "buildx", "bake", "--file", os.path.join(wish.files, "docker-bake.hcl"), "--progress", "plain"]
    words += [
        "--provenance=%s" % ("mode=max" if wish.attestations else "false"),
        "--sbom=%s" % str(wish.attestations).lower(),
    ]
    if wish.builder:
        words += ["--builder", wish.builder]
    if wish.platforms:
        words += ["--set", "*.platform=%s" % ",".join(wish.platforms)]
    for image in images:
        words += ["--set", "%s.labels.%s=%s" % (image.name, RECIPE, image.recipe)]
    done = runner.with_env(settings).run([*words, *output, *(image.name for image in images)], cwd=wish.files)
    _done(done, "pushed" if "--push" in output else "built")


def _done(done: Result, what: str) -> None:
    if done.rc:
        lines = done.err.strip().splitlines()
        raise OperatorError(
            "The images could not be %s: %s. No version and no branch has changed in the registry."
            % (what, _last(done)),
            lines=lines[-40:],
        )


def _local(runner: Runner, reference: str) -> Optional[Served]:
    """The image of the engine, if it has it."""
    done = runner.run(["docker", "image", "inspect", reference])
    if done.rc:
        return None
    (found,) = json.loads(done.out)
    platform = "%s/%s" % (found["Os"], found["Architecture"])
    return Served(found["Id"], found["Config"].get("Labels") or {}, found["Size"], [platform])


def _last(done: Result) -> str:
    lines = [line for line in done.err.strip().splitlines() if line.strip()] or ["no reason given"]
    said = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
    return said.replace("ERROR: ", "").strip().rstrip(".")
