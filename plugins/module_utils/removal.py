# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a stack off a host: its containers and networks, and its data only when asked for by name."""

from __future__ import annotations

import os
from typing import List, NamedTuple, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils import module as shell
from ansible_collections.meywd.tamma.plugins.module_utils import retained, stopping
from ansible_collections.meywd.tamma.plugins.module_utils.compose import Compose, last_line
from ansible_collections.meywd.tamma.plugins.module_utils.engine import PROJECT_LABEL, Engine
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from ansible_collections.meywd.tamma.plugins.module_utils.files import RECORD, recorded, remove
from ansible_collections.meywd.tamma.plugins.module_utils.runner import Runner

_STAYS = "The network %s stays, because %s is in it and not of the stack: take that out, and run this again"


class Removal(NamedTuple):
    """What would go, by name; files are relative to the stack's directory.

    images: the names by which images of former releases are kept; an image that has another name stays under that.
    stopping: what is lost because services stop.
    stays: the networks that somebody else's containers are in, a sentence each.
    """

    containers: List[str]
    networks: List[str]
    volumes: List[str]
    files: List[str]
    images: List[str]
    stopping: Tuple[str, ...] = ()
    stays: Tuple[str, ...] = ()


def plan(engine: Engine, project: str, directory: str, remove_volumes: str) -> Removal:
    """Say what removing the stack takes away.

    The volumes go only when *remove_volumes* is the stack's name; the files go with them, because
    ``.env`` holds the passwords that the volumes were made with.
    """
    if remove_volumes and remove_volumes != project:
        raise OperatorError(
            "The volumes of which stack? tamma_stack_remove_volumes is '%s', this stack is called '%s': write its name "
            "to have its data deleted, or leave the variable out to keep the data." % (remove_volumes, project)
        )
    there = engine.is_there()
    containers = engine.containers(project) if there else []
    networks = {name: _others(engine, name, project) for name in engine.networks(project)} if there else {}
    return Removal(
        containers=sorted((item.get("Names") or ["?"])[0].lstrip("/") for item in containers),
        networks=[name for name, others in networks.items() if not others],
        volumes=engine.volumes(project) if there and remove_volumes else [],
        files=_files(directory) if remove_volumes else [],
        # The files tell of the releases, so nobody would ask for these any more.
        images=sorted(engine.image_names(retained.repository(project))) if there and remove_volumes else [],
        stopping=tuple(stopping.of_containers(containers)),
        stays=tuple(_STAYS % (name, ", ".join(others)) for name, others in networks.items() if others),
    )


def _others(engine: Engine, network: str, project: str) -> List[str]:
    """Who is in a network without being of the project: no engine removes it then."""
    return sorted(
        (item.get("Names") or ["?"])[0].lstrip("/")
        for item in engine.attached(network)
        if (item.get("Labels") or {}).get(PROJECT_LABEL) != project
    )


def _files(directory: str) -> List[str]:
    own = os.path.dirname(RECORD)
    present = [
        os.path.relpath(os.path.join(place, name), directory)
        for place, _below, names in os.walk(os.path.join(directory, own))
        for name in names
    ]
    return [*recorded(directory), *sorted(present)]


def apply(engine: Engine, runner: Runner, removal: Removal, project: str, directory: str) -> None:
    """Remove what the plan names, dependents first; what is gone already is passed over."""
    if removal.containers or removal.networks:
        # In a directory without Compose files Compose goes by the labels on the containers, so
        # this works although somebody deleted the stack's files.
        done = Compose(runner, shell.compose_program(), "/", project).down()
        if done.rc:
            raise OperatorError("Docker Compose could not remove the stack: %s." % last_line(done.err), rc=done.rc)
        # Of two that the Compose files of two releases call the same it knows one.
        for name in engine.networks(project):
            if not _others(engine, name, project):
                engine.remove_network(name)
    for name in removal.volumes:
        engine.remove_volume(name)
    for name in removal.images:
        engine.untag_image(name)
    if removal.files:
        remove(directory, removal.files)
        # An engine makes the directories that containers mount and nobody filled.
        for parent, _directories, _names in os.walk(directory, topdown=False):
            if not os.listdir(parent):
                os.rmdir(parent)
