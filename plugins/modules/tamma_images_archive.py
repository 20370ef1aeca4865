#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_images_archive
short_description: Write the images of a release into one file
version_added: 0.6.0
author: the Tamma collection contributors (@meywd)
description:
  - Brings every image of a release from its registry, with the signatures beside it, and writes one file that hosts
    without a network can be given (P(meywd.tamma.tamma_stack#role), C(tamma_stack_images_archive)).
  - The file is an OCI image layout in a tar file. It needs no container engine. What has come stays when it is cut off,
    and the next run goes on.
options:
  path:
    description: The file to write. What comes meanwhile is beside it, in C(<path>.blobs).
    type: path
    required: true
  images:
    description: The images. The action plugin finds them in the stack's files, if they are not given.
    type: list
    elements: str
    default: []
  files:
    description: The stack's files, as for M(meywd.tamma.tamma_deploy). The action plugin reads the images out of them.
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
    description: Whose images are archived, as in C(tamma_stack_image_keys), every rule with its images.
    type: list
    elements: dict
    default: []
  platforms:
    description: For which processors the images are archived.
    type: list
    elements: str
    default: [linux/amd64]
  insecure_registries:
    description: Registries that may be spoken to without TLS.
    type: list
    elements: str
    default: []
  registry_logins:
    description: Logins for registries. They are not stored.
    type: list
    elements: dict
    default: []
    suboptions:
      registry:
        description: The registry's name.
        type: str
        required: true
      username:
        description: The account's name.
        type: str
        required: true
      password:
        description: Its password or token.
        type: str
        required: true
  facts:
    description: What else the archive says of itself.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Asks the registries, and says how much would come.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: The same images give the same file, which is left alone.
"""

EXAMPLES = r"""
- name: The images are in one file
  meywd.tamma.tamma_images_archive:
    path: /srv/tamma-0.3.0.tar
    images: [ghcr.io/meywd/tamma-api:0.3.0, postgres:15]
  delegate_to: localhost
"""

RETURN = r"""
images:
  description: The images, and the digests that they have.
  returned: success
  type: dict
  sample: {"ghcr.io/meywd/tamma-api:0.3.0": "sha256:0123..."}
bytes:
  description: How large the archive is, or would be.
  returned: success
  type: int
  sample: 412345678
checksum:
  description: The SHA-256 of the file, which is in C(<path>.sha256) as well.
  returned: success, not in check mode
  type: str
  sample: 0123...
"""

import os
import shutil
import tempfile
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import image_archive, room, signatures
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, write
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Access, Client
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner


def archive(module: AnsibleModule) -> Dict[str, Any]:
    """Bring what belongs to the images, and write the file."""
    given = module.params
    path = given["path"]
    if not given["images"]:
        raise OperatorError("No images are named: nothing was archived.")
    logins = [Login(**item) for item in given["registry_logins"]]
    client = Client(Runner(), logins, Access(tuple(given["insecure_registries"])))
    parent = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(parent):
        raise OperatorError("The archive cannot be written, because there is no directory %s: make it." % parent)
    place = tempfile.mkdtemp(prefix="tamma-archive-") if module.check_mode else path + ".blobs"
    try:
        fetch = image_archive.Fetch(client, place, given["platforms"], lambda _phase, _words: None)
        found = fetch.plan(given["images"])
        trust = signatures.parse(given["image_keys"])
        with tempfile.TemporaryDirectory() as scratch:
            verifier = signatures.Verifier(
                trust, Runner(), client, signatures.Record(scratch), os.path.join(scratch, "run", "x-"), Runner()
            )
            problems = [verifier.problem("%s@%s" % (name.partition("@")[0], found[name])) for name in sorted(found)]
        if any(problems):
            raise OperatorError("\n".join([*sorted(filter(None, problems)), "Nothing was archived."]))
        contents = image_archive.Contents(
            found, fetch.names, fetch.blobs, sorted(fetch.documents), fetch.layers, given["facts"]
        )
        size = sum(contents.blobs.values())
        result: Dict[str, Any] = {"images": found, "bytes": size}
        if _is_there(path, contents):
            return {**result, "changed": False, "checksum": (read(path + ".sha256") or "").partition(" ")[0]}
        # The blobs that come, and the file that is made of all of them.
        room.check([room.Need("the archive", parent, size + fetch.bytes_lacking())], "The archive")
        if module.check_mode:
            return {**result, "changed": True}
        fetch.bring()
        checksum = image_archive.pack(place, contents, fetch.index(), path)
        write(parent, [File(os.path.basename(path) + ".sha256", "%s  %s\n" % (checksum, os.path.basename(path)))])
        shutil.rmtree(place)
        return {**result, "changed": True, "checksum": checksum}
    finally:
        if module.check_mode or os.path.exists(path):
            shutil.rmtree(place, ignore_errors=True)


def _is_there(path: str, contents: image_archive.Contents) -> bool:
    """Whether the file has exactly this already."""
    if not (os.path.exists(path) and os.path.exists(path + ".sha256")):
        return False
    try:
        return image_archive.Archive(path).text == contents.dump()
    except OperatorError:
        return False


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "images": {"type": "list", "elements": "str", "default": []},
            "files": {"type": "list", "elements": "dict", "default": []},
            "secret_files": {"type": "list", "elements": "dict", "default": [], "no_log": False},
            "compose_files": {"type": "list", "elements": "str", "default": []},
            "settings": {"type": "dict", "default": {}},
            "image_keys": {"type": "list", "elements": "dict", "default": [], "no_log": False},
            "platforms": {"type": "list", "elements": "str", "default": ["linux/amd64"]},
            "insecure_registries": {"type": "list", "elements": "str", "default": []},
            "registry_logins": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "registry": {"type": "str", "required": True},
                    "username": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "facts": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    shell.finish(module, lambda: archive(module))


if __name__ == "__main__":
    main()
