"""The versions that the registry serves come from one file."""

from __future__ import annotations

import json

from tests.bench import releases
from tests.bench.names import IMAGE_SOURCES

DATA = json.loads(releases.VERSIONS.read_text())


def test_every_migration_of_every_version_exists() -> None:
    for version, entry in DATA["versions"].items():
        for schema, names in entry.get("migrations", {}).items():
            folder = IMAGE_SOURCES / "tamma" / "standin" / "migrations" / schema
            missing = [name for name in names if not (folder / f"{name}.sql").is_file()]
            assert not missing, version


def test_a_version_says_its_migrations_or_whose_it_takes() -> None:
    for entry in DATA["versions"].values():
        assert ("migrations" in entry) != (entry.get("like") in DATA["versions"])


def test_latest_is_one_of_the_versions() -> None:
    assert DATA["latest"] in DATA["versions"]
