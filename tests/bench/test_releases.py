"""The versions that the registry serves come from one file."""

from __future__ import annotations

import json
import re

from tests.bench import releases
from tests.bench.names import IMAGE_SOURCES

DATA = json.loads(releases.VERSIONS.read_text())
FUTURE = [version for version in DATA["versions"] if version != releases.TODAY]
STANDIN = IMAGE_SOURCES / "tamma" / "standin"


def test_every_migration_of_every_version_exists() -> None:
    for version in FUTURE:
        for schema, names in releases.migrations(version).items():
            folder = STANDIN / "migrations" / schema
            missing = [name for name in names if not (folder / f"{name}.sql").is_file()]
            assert not missing, version


def test_a_version_says_its_migrations_or_whose_it_takes() -> None:
    for version in FUTURE:
        entry = DATA["versions"][version]
        assert ("migrations" in entry) != (entry.get("like") in FUTURE)
        assert "like" in entry or "further" not in entry


def test_every_release_migrates_what_the_one_before_left() -> None:
    for version in FUTURE:
        for names in releases.migrations(version).values():
            assert names == sorted(set(names)), version
    for schema, names in releases.migrations("0.3.0").items():
        before = releases.migrations("0.2.0")[schema]
        assert names[: len(before)] == before
        assert len(names) > len(before), "an update from 0.2.0 migrates both schemas"


def test_further_migrations_come_after_those_of_the_other_version() -> None:
    destructive = releases.migrations("0.3.2-destructive")
    assert destructive["Elsa"] == releases.migrations("0.3.0")["Elsa"]
    assert destructive["public"] == [*releases.migrations("0.3.0")["public"], "20260701090000_DropNotes"]


def test_a_version_lacks_the_images_that_it_says() -> None:
    served = releases.served()
    lacking = {
        f"{image}:{version}"
        for version in DATA["versions"]
        for image in releases.TAMMA
        if f"{image}:{version}" not in served
    }
    assert lacking == {"tamma-dashboard:0.3.4-missing"}


def test_what_a_version_sets_is_something_that_the_standin_reads() -> None:
    read = set(re.findall(r'"(STANDIN_\w+)"', (STANDIN / "process.py").read_text()))
    for version, entry in DATA["versions"].items():
        for image, environment in entry.get("environment", {}).items():
            assert image in releases.TAMMA, version
            assert set(environment) <= read, version


def test_one_version_plays_tamma_as_it_is() -> None:
    assert DATA["versions"][releases.TODAY] == {"today": True}
    assert [version for version, entry in DATA["versions"].items() if "today" in entry] == [releases.TODAY]


def test_latest_is_one_of_the_versions() -> None:
    assert DATA["latest"] in DATA["versions"]
