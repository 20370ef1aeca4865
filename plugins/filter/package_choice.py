# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages bring the missing parts of an engine, and from where."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: package_choice
short_description: Choose the packages for the missing parts of an engine
positional: names, candidates, source, extras
version_added: "0.2.0"
author:
  - the Tamma collection contributors (@meywd)
description:
  - Docker comes from one place as a whole. Podman is always the distribution's, and Compose beside it comes from
    where it is new enough.
options:
  _input:
    description: The result of M(meywd.tamma.tamma_preflight).
    type: dict
    required: true
  names:
    description:
      - What the parts are called, by source. C(distribution) has the names by engine, C(docker) those in Docker's
        own repository.
    type: dict
    required: true
  candidates:
    description:
      - What the distribution offers, as a registered result of C(apt-cache policy) or of M(ansible.builtin.dnf) with
        C(list).
      - C(apt-cache) prints nothing where no lists were ever fetched; what is on offer is then unknown.
    type: dict
    default: {}
  source:
    description: V(auto), V(distribution) or V(docker).
    type: str
    default: auto
  extras:
    description: What is installed with a new engine.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Install what is missing
  ansible.builtin.debug:
    msg: "{{ (probe | meywd.tamma.package_choice(names, policy)).packages }}"
"""

RETURN = r"""
_value:
  description:
    - C(packages) are to be installed, C(sources) says from where in words, and C(repository) whether Docker's
      repository has to be set up for that.
    - C(unknown) says that the distribution's offer is not known, C(refusal) why nothing can be installed.
  type: dict
  sample:
    packages: [podman, catatonit, docker-compose]
    sources: [Debian GNU/Linux 13 (trixie)]
    repository: false
    unknown: false
    refusal: ""
"""

import re
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ansible_collections.meywd.tamma.plugins.module_utils.host import COMPOSE_MINIMUM, ENGINE_MINIMUM, at_least

_CANDIDATE = re.compile(r"^(\S+):$\n.*\n +Candidate: (?:\d+:)?(\d\S*)", re.MULTILINE)
_LABELS = {"docker": "Docker Engine", "podman": "Podman", "compose": "Compose"}


def package_choice(
    probe: Dict[str, Any],
    names: Dict[str, Dict[str, Any]],
    candidates: Optional[Dict[str, Any]] = None,
    source: str = "auto",
    extras: Sequence[str] = (),
) -> Dict[str, Any]:
    """Choose the packages; see the filter's documentation."""
    host, missing = probe["host"], probe["missing"]
    engine = host["engine"]
    minimums = {"engine": ENGINE_MINIMUM[engine["name"]], "compose": COMPOSE_MINIMUM}
    offer = _offer(candidates or {})
    named = {"distribution": names["distribution"].get(engine["name"], {}), "docker": names["docker"]}

    def old(part: str) -> bool:
        versions = [version for package, version in offer or [] if package == named["distribution"].get(part)]
        return offer is not None and not any(at_least(version, minimums[part]) for version in versions)

    # Nobody can tell of the client, which fits its engine, and of what only Podman needs.
    too_old = [part for part in minimums if part in missing and old(part)]
    with_choice = missing if engine["name"] == "docker" else [part for part in missing if part == "compose"]
    if engine["installed"] and engine["name"] == "docker":
        # What is missing beside Docker comes from where Docker came from.
        chosen = "docker" if engine["origin"] == "docker-ce" else "distribution"
    elif source != "auto":
        chosen = source
    else:
        chosen = "docker" if set(too_old).intersection(with_choice) else "distribution"
    sources = {part: chosen if part in with_choice else "distribution" for part in missing}
    packages: List[str] = list(dict.fromkeys(named[sources[part]].get(part, "") for part in missing))
    lacking = [part for part in too_old if sources[part] == "distribution"]
    return {
        "packages": packages + ([] if engine["installed"] else list(extras)),
        "sources": [
            words
            for name, words in (("distribution", host["name"]), ("docker", "Docker's repository"))
            if name in sources.values()
        ],
        # A host with an engine of Docker's has it already.
        "repository": "docker" in sources.values() and engine["origin"] != "docker-ce",
        "unknown": offer is None,
        "refusal": _refusal(host, missing, lacking, minimums, offer or []) if lacking else "",
    }


def _offer(candidates: Dict[str, Any]) -> Optional[List[Tuple[str, str]]]:
    """Pairs of package and version; None when they are not known."""
    if "results" in candidates:
        return [(item["name"], item["version"]) for item in candidates["results"]]
    if candidates.get("stdout") == "":
        return None
    return _CANDIDATE.findall(candidates.get("stdout", ""))


def _refusal(
    host: Dict[str, Any],
    missing: List[str],
    lacking: List[str],
    minimums: Dict[str, str],
    offer: Sequence[Tuple[str, str]],
) -> str:
    engine = host["engine"]
    if engine["name"] == "podman" and "engine" in lacking:
        remedy = "Use Docker there (tamma_runtime_engine: docker), or a newer release of the distribution."
    elif engine["name"] == "docker" and engine["installed"]:
        remedy = "Install the missing %s yourself." % " and ".join(missing)
    else:
        remedy = "Set tamma_runtime_source to 'auto' or 'docker'."
    wanted = ["%s %s" % (_LABELS[engine["name"] if part == "engine" else part], minimums[part]) for part in lacking]
    there = ", ".join("%s %s" % (package, version) for package, version in offer) or "none"
    return "%s has no package of %s or later (on offer: %s). %s" % (host["name"], " and ".join(wanted), there, remedy)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> Dict[str, Callable[..., Any]]:
        return {"package_choice": package_choice}
