#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_images
short_description: Build the images of Tamma from its source, and push them
version_added: 0.6.0
author: the Tamma collection contributors (@meywd)
description:
  - Builds what a registry (or this host's engine) lacks, and tags it by its commit, branch or version.
  - All images are built before one is pushed. A released version is never overwritten.
  - The source is copied for the build; a checkout is only read.
requirements:
  - Docker with C(buildx), and C(git), on the host that builds
options:
  source:
    description: A directory of this host with a checkout of Tamma, or the address of its repository.
    type: str
    required: true
  ref:
    description: The branch, tag or commit to build; a checkout is built as it is when this is empty.
    type: str
    default: ""
  registry:
    description: The registry and the path in it, without the name of an image.
    type: str
    required: true
  names:
    description: The images to build.
    type: list
    elements: str
    choices: [tamma-api, tamma-engine, tamma-dashboard, tamma-elsa, tamma-api-dotnet]
    default: [tamma-api, tamma-engine, tamma-dashboard, tamma-elsa, tamma-api-dotnet]
  push:
    description: Whether to push them. Otherwise they stay in this host's engine.
    type: bool
    default: true
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
  platforms:
    description: Architectures, such as V(linux/arm64); the one of the builder when there is none.
    type: list
    elements: str
    default: []
  default_branch:
    description: The branch whose images are C(latest).
    type: str
    default: main
  variables:
    description: Variables of the bake file, such as C(NODE_IMAGE).
    type: dict
    default: {}
  files:
    description: The directory with the bake file and the Dockerfiles on this host.
    type: path
    required: true
  nginx:
    description: The directory with the dashboard's nginx template on this host.
    type: path
    required: true
  builder:
    description: The builder of C(buildx); the one in use when this is empty.
    type: str
    default: ""
  attestations:
    description: Whether to attach a list of contents and the provenance, which not every builder can.
    type: bool
    default: false
  rebuild:
    description: Whether to build what is there already, unless it is a released version.
    type: bool
    default: false
  signs:
    description: Whether the images are signed afterwards, for which C(cosign) has to be here.
    type: bool
    default: false
  source_url:
    description: What the images say about where their source is.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says what would be built and tagged. A source with an address is fetched, and removed again.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: An image that is there, of the same commit and built in the same way, is left alone.
"""

EXAMPLES = r"""
- name: The images of a release
  meywd.tamma.tamma_images:
    source: https://github.com/example/tamma.git
    ref: v1.2.3
    registry: ghcr.io/example
    files: /opt/build/docker
    nginx: /opt/build/nginx
"""

RETURN = r"""
images:
  description: What there is of each image, or would be in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - name: tamma-api
      image: ghcr.io/example/tamma-api
      tags: [sha-3610115, 1.2.3, '1.2', '1']
      digest: sha256:0123...
      reference: ghcr.io/example/tamma-api:1.2.3@sha256:0123...
      revision: 3610115...
      version: 1.2.3
      platforms: [linux/amd64]
      compressed: 80.1 MiB
      size: 230.5 MiB
      built: true
tags:
  description: The tags that the images have.
  returned: success
  type: list
  elements: str
  sample: [sha-3610115, latest]
version:
  description: The tag that a deploy names.
  returned: success
  type: str
  sample: 1.2.3
pushed:
  description: The images by their digests, as far as the registry has them.
  returned: success
  type: list
  elements: str
  sample: ["ghcr.io/example/tamma-api@sha256:0123..."]
plain_http:
  description: Whether the registry was spoken to without TLS.
  returned: success
  type: bool
dirty:
  description: Whether the source has changes that are not committed.
  returned: success
  type: bool
"""

import os
import tempfile
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import image_build, image_source, registry
from ansible_collections.meywd.tamma.plugins.module_utils import images as image_names
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.registry_client import Client
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner


def build(params: Dict[str, Any], check_mode: bool) -> Dict[str, Any]:
    """Build and push, or say what would be."""
    home = os.environ.get("HOME", "/root")
    # A login of ours has a client configuration of its own; builders stand beside the usual one.
    runner = Runner({"BUILDX_CONFIG": os.path.join(home, ".docker", "buildx")})
    wish = image_build.Wish(
        names=params["names"],
        registry=params["registry"].rstrip("/"),
        files=params["files"],
        nginx=params["nginx"],
        variables={name: str(value) for name, value in params["variables"].items()},
        source_url=params["source_url"],
        push=params["push"],
        platforms=params["platforms"],
        default_branch=params["default_branch"],
        builder=params["builder"],
        attestations=params["attestations"],
        rebuild=params["rebuild"],
        signs=params["signs"],
    )
    engine = image_build.builder(runner, wish)
    logins = [registry.Login(**item) for item in params["registry_logins"]]
    with tempfile.TemporaryDirectory(prefix="tamma-source-") as scratch:
        repository = params["source"]
        if image_source.is_address(repository):
            repository = os.path.join(scratch, "repository")
            image_source.clone(runner, params["source"], params["ref"], repository)
        source = image_source.find(runner, repository, params["ref"], scratch)
        with registry.logged_in(runner, logins, os.path.join(scratch, "login", "client")) as known:
            there = Client(runner, logins, engine.access, writes=True) if wish.push else None
            planned = image_build.plan(known, wish, source, there)
            image_build.check(planned, engine, there)
            if planned.changes and not check_mode:
                image_build.apply(known, wish, planned, there)
            images = (
                [
                    {"name": image.name, "image": image.reference, "tags": planned.tags, "digest": image.digest,
                     "revision": source.revision, "version": planned.version, "built": image.build}
                    for image in planned.images
                ]
                if check_mode
                else image_build.result(known, planned, there)
            )  # fmt: skip
    return {
        "changed": planned.changes,
        "images": images,
        "tags": planned.tags,
        "version": planned.version,
        "pushed": ["%(image)s@%(digest)s" % image for image in images if image["digest"] and there],
        "plain_http": bool(there and there.plain_http(image_names.repository(wish.registry + "/x").partition("/")[0])),
        "dirty": source.dirty,
    }


def main() -> None:
    """Run as an Ansible module."""
    names = list(image_build.IMAGES)
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "required": True},
            "ref": {"type": "str", "default": ""},
            "registry": {"type": "str", "required": True},
            "names": {"type": "list", "elements": "str", "choices": names, "default": names},
            "push": {"type": "bool", "default": True},
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
            "platforms": {"type": "list", "elements": "str", "default": []},
            "default_branch": {"type": "str", "default": "main"},
            "variables": {"type": "dict", "default": {}},
            "files": {"type": "path", "required": True},
            "nginx": {"type": "path", "required": True},
            "builder": {"type": "str", "default": ""},
            "attestations": {"type": "bool", "default": False},
            "rebuild": {"type": "bool", "default": False},
            "signs": {"type": "bool", "default": False},
            "source_url": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    shell.finish(module, lambda: build(module.params, module.check_mode))


if __name__ == "__main__":
    main()
