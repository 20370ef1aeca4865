# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins for registries that exist for the time of a pull only.

``docker login`` leaves the password on the disk, merely encoded. Ours stand in a client
configuration on a tmpfs, beside the logins that the host has itself, and go with it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import tempfile
from typing import Any, Dict, Iterator, List, NamedTuple

from ansible_collections.meywd.tamma.plugins.module_utils.files import File, read, write
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

# How the client's configuration calls Docker Hub (github.com/docker/cli, config/credentials).
_HUB = "https://index.docker.io/v1/"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io", "hub.docker.com")


class Login(NamedTuple):
    """An account at a registry, which is named as in an image reference."""

    registry: str
    username: str
    password: str

    @property
    def encoded(self) -> str:
        """The account in the form in which it travels."""
        return base64.b64encode(("%s:%s" % (self.username, self.password)).encode("utf-8")).decode("ascii")


def client_config(logins: List[Login], existing: Dict[str, Any]) -> Dict[str, Any]:
    """The client's configuration *existing* with our logins, which win over its own.

    A credential store would be asked for every registry, ours too: it is kept for those it is known
    to hold.
    """
    config = dict(existing)
    auths = dict(config.get("auths") or {})
    helpers = dict(config.get("credHelpers") or {})
    store = config.pop("credsStore", None)
    if store:
        helpers = {**{name: store for name, item in auths.items() if not (item or {}).get("auth")}, **helpers}
    for login in logins:
        name = _HUB if login.registry in _HUB_NAMES else login.registry
        auths[name] = {"auth": login.encoded}
        helpers.pop(name, None)
    config["auths"] = auths
    if helpers:
        config["credHelpers"] = helpers
    return config


@contextlib.contextmanager
def logged_in(runner: Runner, logins: List[Login], scratch: str) -> Iterator[Runner]:
    """Yield a runner whose programs know *logins*; *scratch* begins the path of what stands there meanwhile."""
    if not logins:
        yield runner
        return
    home = os.environ.get("HOME", "/root")
    try:
        existing = json.loads(read(os.path.join(home, ".docker", "config.json")) or "{}")
    except ValueError:
        existing = {}
    os.makedirs(os.path.dirname(scratch), mode=0o700, exist_ok=True)
    directory = tempfile.mkdtemp(prefix=os.path.basename(scratch), dir=os.path.dirname(scratch))
    try:
        write(directory, [File("config.json", json.dumps(client_config(logins, existing)), 0o600)])
        yield runner.with_env({"DOCKER_CONFIG": directory})
    finally:
        shutil.rmtree(directory)
