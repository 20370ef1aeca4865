#!/usr/bin/python
# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tamma_image_sign
short_description: Sign images in their registry
version_added: 0.6.0
author: the Tamma collection contributors (@meywd)
description:
  - Signs digests with a key of C(cosign), beside them in their registry, as P(meywd.tamma.tamma_stack#role) verifies
    them with C(tamma_stack_image_keys).
  - The key and its password are in no file and on no command line.
requirements:
  - C(cosign) 2.0 or newer on the machine that signs
options:
  images:
    description:
      - Images with their digests (C(name@sha256:...)). What a tag means can change, so none is signed by its tag.
    type: list
    elements: str
    required: true
  key:
    description:
      - The private key, as C(cosign generate-key-pair) writes it.
    type: str
    required: true
  password:
    description:
      - The key's password.
    type: str
    default: ""
  statements:
    description:
      - What is attested of an image, signed with the same key. By image, files of this machine by the kind of what is
        in them (C(spdxjson), C(cyclonedx), C(slsaprovenance1)).
    type: dict
    default: {}
  known_as:
    description:
      - What hosts call the registry, when that is another name than here. The signature holds for that name only.
    type: str
    default: ""
  plain_http:
    description:
      - Whether the registry may be spoken to without TLS.
    type: bool
    default: false
  registry_logins:
    description:
      - Logins for registries. They are not stored.
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
  cosign:
    description:
      - The program, by its name or its path.
    type: str
    default: cosign
attributes:
  check_mode:
    support: full
    description: Finds out what has no signature of the key yet.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: A digest that has a signature of the key for its repository is left alone.
"""

EXAMPLES = r"""
- name: The image is signed
  meywd.tamma.tamma_image_sign:
    images: ["{{ pushed_image }}"] # ghcr.io/example/tamma-api@sha256:...
    key: "{{ vault_cosign_key }}"
    password: "{{ vault_cosign_password }}"
    statements:
      "{{ pushed_image }}":
        spdxjson: build/tamma-api.spdx.json
"""

RETURN = r"""
signed:
  description: The images that had no signature of the key.
  returned: success
  type: list
  elements: str
  sample: ["ghcr.io/example/tamma-api@sha256:0123..."]
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.meywd.tamma.plugins.module_utils import image_signing
from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils.registry import Login
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner


def sign(module: AnsibleModule) -> Dict[str, Any]:
    """Sign what has no signature yet."""
    given = module.params
    signer = image_signing.Signer(
        Runner(), given["key"], given["password"], given["cosign"], given["known_as"], given["plain_http"]
    )
    logins = [Login(**item) for item in given["registry_logins"]]
    signed = image_signing.sign(signer, given["images"], given["statements"], logins, module.check_mode)
    return {"changed": bool(signed), "signed": signed}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "str", "required": True},
            "key": {"type": "str", "required": True, "no_log": True},
            "password": {"type": "str", "default": "", "no_log": True},
            "statements": {"type": "dict", "default": {}},
            "known_as": {"type": "str", "default": ""},
            "plain_http": {"type": "bool", "default": False},
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
            "cosign": {"type": "str", "default": "cosign"},
        },
        supports_check_mode=True,
    )
    shell.finish(module, lambda: sign(module))


if __name__ == "__main__":
    main()
