"""An image is rebuilt when something that it is made of changed, and only then."""

from __future__ import annotations

from tests.bench.images import IMAGES, Context, context_hash

CONTEXT: Context = {"Dockerfile": (b"FROM scratch", 0o644), "run.sh": (b"#!/bin/sh", 0o755)}


def test_the_order_of_files_does_not_matter() -> None:
    assert context_hash(dict(reversed(CONTEXT.items()))) == context_hash(CONTEXT)


def test_everything_else_does() -> None:
    changed = [
        context_hash(CONTEXT),
        context_hash(CONTEXT, "another parent"),
        context_hash({**CONTEXT, "run.sh": (b"#!/bin/sh", 0o644)}),
        context_hash({**CONTEXT, "run.sh": (b"#!/bin/bash", 0o755)}),
        context_hash({"Dockerfile": CONTEXT["Dockerfile"], "start.sh": CONTEXT["run.sh"]}),
    ]
    assert len(set(changed)) == len(changed)


def test_content_cannot_pass_for_a_file_name() -> None:
    assert context_hash({"a": (b"", 0o644)}) != context_hash({"": (b"a", 0o644)})


def test_every_parent_is_an_image_or_a_debian_release() -> None:
    assert {image.parent for image in IMAGES.values()} <= {*IMAGES, "bookworm", "trixie"}
