#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_images_load
short_description: Bring the images of an archive to a host
version_added: 0.6.0
author: the Tamma collection contributors (@meywd)
description:
  - Sends what the host lacks of an archive that M(meywd.tamma.tamma_images_archive) wrote, compares every checksum and,
    if there are keys, every signature, and lets the engine pull the images from the host itself. No registry is asked.
  - What was sent stays on the host when the connection breaks off, and the next run goes on from there.
options:
  archive:
    description: The file, on the controller.
    type: path
  files:
    description: The stack's files. The action plugin reads out of them which images the release needs.
    type: list
    elements: dict
    default: []
  secret_files:
    description: Those of them that may hold secrets.
    type: list
    elements: dict
    default: []
  compose_files:
    description: Which of the files Compose reads.
    type: list
    elements: str
    default: []
  settings:
    description: What C(.env) holds.
    type: dict
    default: {}
  image_keys:
    description: Whose images run, as in C(tamma_stack_image_keys), every rule with its images.
    type: list
    elements: dict
    default: []
  step:
    description: What is done on the host. The action plugin goes through all of them.
    type: str
    choices: [look, take, load]
    default: look
  contents:
    description: What the archive says of itself. The action plugin fills it.
    type: str
    default: ""
  documents:
    description: Small blobs, by their digests. The action plugin fills it.
    type: dict
    default: {}
  images:
    description: The images that the release needs. The action plugin fills it.
    type: list
    elements: str
    default: []
  blob:
    description: The digest of what a piece is of.
    type: str
    default: ""
  begin:
    description: Where in it the piece begins.
    type: int
    default: 0
  piece:
    description: A file on the host with the piece.
    type: path
  staging:
    description: Where on the host it is until the engine has it.
    type: path
    default: /var/lib/tamma/images
extends_documentation_fragment:
  - meywd.tamma.stack
attributes:
  check_mode:
    support: full
    description: Says which images the host lacks, and refuses what it would refuse.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: Nothing is sent to a host that has the images.
"""

EXAMPLES = r"""
- name: The images are on the host
  meywd.tamma.tamma_images_load:
    archive: /srv/tamma-0.3.0.tar
    files:
      - path: docker-compose.yml
        src: compose/docker-compose.yml
    compose_files: [docker-compose.yml]
    settings: {TAMMA_VERSION: 0.3.0}
"""

RETURN = r"""
loaded:
  description: The images that the host had not, and has now.
  returned: success
  type: list
  elements: str
  sample: ["ghcr.io/meywd/tamma-api:0.3.0"]
sent:
  description: How many bytes were sent.
  returned: success
  type: int
  sample: 12345678
"""

import base64
import os
from typing import Any, Dict, List, Set

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import image_archive, images, loopback, room, signatures
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.compose import explain_pull_failures
from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Manifest, digest_of
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

# What is compressed in an archive needs about so much more room in an engine.
_UNPACKED = 3


class Load:
    """What happens on the host."""

    def __init__(self, module: AnsibleModule) -> None:
        given = module.params
        self._given = given
        self._dry = module.check_mode
        self._engine = Engine(given["engine_socket"])
        self._contents = image_archive.load(given["contents"])
        self._staging = image_archive.Staging(os.path.join(given["staging"], given["project"]), self._contents)

    def _is_here(self, reference: str, digest: str) -> bool:
        name = reference.partition("@")[0]
        if self._engine.image("%s@%s" % (images.with_tag(name), digest)):
            return True
        return images.carried(name, self._engine.image(name)) == digest

    def _lacking(self) -> List[str]:
        wanted = [item for item in self._given["images"] if item in self._contents.images]
        return [item for item in sorted(wanted) if not self._is_here(item, self._contents.images[item])]

    def look(self) -> Dict[str, Any]:
        """What has to be sent; refuse what cannot be loaded."""
        if self._dry and not self._engine.answers():
            # A host without an engine has no image at all.
            image_archive.refuse_missing(self._contents, self._given["images"], lambda _name: False)
            self._verify()
            return {"changed": True, "lacking": sorted(self._given["images"]), "blobs": {}}
        image_archive.refuse_missing(
            self._contents, self._given["images"], lambda name: self._engine.image(name) is not None
        )
        for digest, content in self._given["documents"].items():
            if digest_of(base64.b64decode(content)) != digest:
                raise OperatorError(
                    "The archive is damaged: what it has as %s is something else. Copy it again." % digest
                )
        self._verify()
        lacking = self._lacking()
        if not lacking:
            return {"changed": False, "lacking": [], "blobs": {}}
        known = self._known_layers()
        _images, blobs = image_archive.needed(
            self._contents, lacking, self._is_here, lambda digest: digest in known or self._staging.has(digest)
        )
        begun = {digest: self._staging.begun(digest) for digest in blobs}
        coming = sum(self._contents.blobs[digest] - begun[digest] for digest in blobs)
        every = sum(self._contents.blobs[digest] for digest in blobs)
        room.check(
            [
                room.Need("what is sent", self._given["staging"], coming),
                room.Need("the images", self._engine.directory(), _UNPACKED * every),
            ],
            "The archive",
        )
        if not self._dry:
            for digest, content in self._given["documents"].items():
                self._staging.add_document(digest, base64.b64decode(content))
        return {"changed": True, "lacking": lacking, "blobs": begun}

    def _known_layers(self) -> Set[str]:
        """The layers of the archive that the engine has, by the digests that they have in it."""
        here = set(self._engine.layers())
        known: Set[str] = set()
        for document in self._given["documents"].values():
            parsed = Manifest(base64.b64decode(document), "").parsed
            config = self._given["documents"].get((parsed.get("config") or {}).get("digest", ""))
            if not config:
                continue
            diffs = (Manifest(base64.b64decode(config), "").parsed.get("rootfs") or {}).get("diff_ids") or []
            layers = [str(item.get("digest")) for item in parsed.get("layers") or []]
            # An engine has a layer on those below it only.
            for digest, diff in zip(layers, diffs):
                if diff not in here:
                    break
                known.add(digest)
        return known

    def _verify(self) -> None:
        trust = signatures.parse(self._given["image_keys"])
        if not trust.rules:
            return
        documents = {key: base64.b64decode(value) for key, value in self._given["documents"].items()}
        record = signatures.Record(self._given["directory"])
        verifier = signatures.Verifier(trust, Runner(), _Carried(self._contents, documents), record, "/run/tamma/load-")
        problems = [
            verifier.problem("%s@%s" % (images.with_tag(name.partition("@")[0]), self._contents.images[name]))
            for name in sorted(self._given["images"])
            if name in self._contents.images
        ]
        if any(problems):
            raise OperatorError(signatures.refusal([problem for problem in problems if problem]))
        if not self._dry:
            record.keep()

    def take(self) -> Dict[str, Any]:
        """Take a piece of a blob."""
        self._staging.add(self._given["blob"], self._given["begin"], self._given["piece"])
        os.unlink(self._given["piece"])
        return {"changed": True}

    def load(self) -> Dict[str, Any]:
        """Let the engine pull what it lacks, from here."""
        lacking = self._lacking()
        with loopback.serving(self._staging) as registry:
            for reference in lacking:
                digest = self._contents.images[reference]
                here = "%s@%s" % (registry.name(reference), digest)
                problem = self._engine.pull(here)
                if problem and registry.lacking:
                    return {"changed": True, "loaded": [], "asked": sorted(set(registry.lacking))}
                if problem:
                    raise OperatorError("%s Nothing that runs was changed." % _why(reference, problem))
                found = self._engine.image(here)
                if found is None:
                    raise OperatorError("The engine has not what it pulled as %s: look at its log." % here)
                name, _colon, tag = images.with_tag(reference.partition("@")[0]).rpartition(":")
                self._engine.tag_image(found["Id"], name, tag)
        self._staging.clear()
        return {"changed": bool(lacking), "loaded": lacking, "asked": []}


class _Carried:
    """The small blobs of an archive, as a source of signatures."""

    def __init__(self, contents: image_archive.Contents, documents: Dict[str, bytes]) -> None:
        self._contents = contents
        self._documents = documents

    def manifest(self, repository: str, reference: str) -> Any:
        """See ``signatures.Source``."""
        content = self._documents.get(self._contents.names.get("%s:%s" % (repository, reference), ""))
        return None if content is None else Manifest(content, "")

    def blob(self, _repository: str, digest: str) -> Any:
        """See ``signatures.Source``."""
        return self._documents.get(digest)


def _why(reference: str, problem: str) -> str:
    if "no space left" in problem.lower():
        return explain_pull_failures({reference: problem})[0]
    return "%s cannot be loaded out of the archive: %s." % (reference, problem.rstrip("."))


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            **shell.ARGUMENTS,
            "archive": {"type": "path"},
            "files": {"type": "list", "elements": "dict", "default": []},
            "secret_files": {"type": "list", "elements": "dict", "default": [], "no_log": False},
            "compose_files": {"type": "list", "elements": "str", "default": []},
            "settings": {"type": "dict", "default": {}},
            "image_keys": {"type": "list", "elements": "dict", "default": [], "no_log": False},
            "step": {"type": "str", "choices": ["look", "take", "load"], "default": "look"},
            "contents": {"type": "str", "default": ""},
            "documents": {"type": "dict", "default": {}},
            "images": {"type": "list", "elements": "str", "default": []},
            "blob": {"type": "str", "default": ""},
            "begin": {"type": "int", "default": 0},
            "piece": {"type": "path"},
            "staging": {"type": "path", "default": "/var/lib/tamma/images"},
        },
        supports_check_mode=True,
    )

    def work() -> Dict[str, Any]:
        load = Load(module)
        steps = {"look": load.look, "take": load.take, "load": load.load}
        return steps[module.params["step"]]()

    shell.finish(module, work)


if __name__ == "__main__":
    main()
