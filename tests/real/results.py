"""What came of a run of the real services: a table, and the page of the documentation that has it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.bench.names import REPOSITORY

from .source import CACHE, Built

PAGE = REPOSITORY / "docs" / "real.md"
#: In the order in which they are run; a page of the documentation has them all.
PROFILES = ("production", "development", "lite")
COLUMNS = ("profile", "service", "healthy after", "memory", "pages opened", "API calls", "failed", "issue processed")
TEXT = """# The real services, run

`make real TAMMA_SOURCE=<checkout>` has made this page: it builds API, engine and dashboard from the source, deploys
them with this collection on hosts of the test bench, opens every page in a browser, and lets the engine take an issue
from a GitHub of the bench to the merged pull request. The agent only plays ([CONTRIBUTING.md](../CONTRIBUTING.md)).

Source: `Tam-ma/tamma` at `{commit}`. ELSA and the .NET API (marked *) were stand-ins.

{table}

Healthy after: from the start of the container to the first health check that it passed, on two cores that others used
as well. Memory: after that, at rest.

{notes}
"""


@dataclass
class Results:
    """Rows by profile and service, and what was seen beside them."""

    built: Built
    #: (profile, service) → column → what was seen.
    rows: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, profile: str, service: str, **seen: str) -> None:
        self.rows.setdefault((profile, service), {}).update(
            {name.replace("_", " "): text for name, text in seen.items()}
        )

    def note(self, words: str) -> None:
        self.notes.append(words)

    def table(self) -> list[str]:
        lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
        for (profile, service), seen in self.rows.items():
            cells = [profile, service, *(seen.get(name, "") for name in COLUMNS[2:])]
            lines.append(f"| {' | '.join(cells)} |")
        return lines

    def write(self, *, complete: bool) -> None:
        """Keep the table; a run without a failure and of every profile goes into the documentation."""
        text = TEXT.format(
            commit=self.built.commit,
            table="\n".join(self.table()),
            notes="\n".join(f"- {note}" for note in self.notes),
        )
        CACHE.mkdir(parents=True, exist_ok=True)
        (CACHE / "result.md").write_text(text, encoding="utf-8")
        if complete and {profile for profile, _ in self.rows} == set(PROFILES):
            PAGE.write_text(text, encoding="utf-8")
