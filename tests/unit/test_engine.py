# Copyright (c) 2026 the Tamma collection contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's HTTP interface, over a real local socket."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.meywd.tamma.plugins.module_utils.engine import Engine, _UnixConnection, demultiplex
from ansible_collections.meywd.tamma.plugins.module_utils.errors import OperatorError
from tests.unit.servers import Answers, Handler, UnixServer, running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    answers: Answers = {}
    with running(UnixServer(str(tmp_path / "engine.sock"), Handler), answers) as started:
        yield started


@pytest.fixture
def engine(server: Any) -> Engine:
    return Engine(server.server_address, timeout=5)


def test_an_engine_that_answers(server: Any, engine: Engine) -> None:
    server.answers["GET /_ping"] = (200, b"OK")
    assert engine.answers()


def test_an_engine_that_is_ill_does_not_count(server: Any, engine: Engine) -> None:
    server.answers["GET /_ping"] = (500, {"message": "starting up"})
    assert not engine.answers()


def test_no_engine(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "nothing.sock"))
    assert not engine.answers()
    with pytest.raises(OperatorError, match=r"does not answer on .*/nothing\.sock \(.*No such file.*\): start it \("):
        engine.containers()


def test_a_socket_that_nobody_listens_on(tmp_path: Path) -> None:
    path = str(tmp_path / "stale.sock")
    socket.socket(socket.AF_UNIX).bind(path)
    with pytest.raises(OperatorError, match=r"does not answer on .* refused"):
        Engine(path).containers()


@pytest.mark.parametrize(
    "reply", [b"", b"not HTTP at all\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut off"]
)
def test_a_connection_that_breaks_off(tmp_path: Path, reply: bytes) -> None:
    path = str(tmp_path / "odd.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(reply)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(OperatorError, match="does not answer"):
            Engine(path, timeout=5).containers()
        thread.join()


def test_a_refusal_is_quoted(server: Any, engine: Engine) -> None:
    server.answers["POST /containers/abc/start"] = (500, {"message": "port is already allocated."})
    with pytest.raises(OperatorError) as refused:
        engine.start_container("abc")
    assert refused.value.message == (
        "The container engine refused POST /containers/abc/start: port is already allocated."
    )
    assert refused.value.facts == {"status": 500}


@pytest.mark.parametrize("body", [b"plain words\n", b'["a list"]', b'{"cause": "no message"}'])
def test_a_refusal_in_another_form_is_quoted_too(server: Any, engine: Engine, body: bytes) -> None:
    server.answers["GET /containers/json"] = (400, body)
    with pytest.raises(OperatorError, match="refused GET /containers/json: ") as refused:
        engine.containers()
    assert body.decode().strip() in refused.value.message


def test_what_is_gone_is_none(engine: Engine) -> None:
    assert engine.container("abc") is None
    assert engine.image("registry.bench:5000/tamma-api:9") is None
    assert engine.logs("abc") == []


def test_what_is_there(server: Any, engine: Engine) -> None:
    server.answers["GET /containers/abc/json"] = (200, {"Id": "abc"})
    server.answers["GET /images/registry.bench:5000/tamma-api@sha256:00/json"] = (200, {"Id": "sha256:11"})
    assert engine.container("abc") == {"Id": "abc"}
    assert engine.image("registry.bench:5000/tamma-api@sha256:00") == {"Id": "sha256:11"}


def test_the_containers_of_a_project_without_one_off_ones(server: Any, engine: Engine) -> None:
    server.answers["GET /containers/json"] = (200, [{"Id": "abc"}])
    assert engine.containers("tamma") == [{"Id": "abc"}]
    (_path, query) = server.requests[-1]
    filters = json.loads(query.partition("filters=")[2].replace("+", " "))
    assert "all=1" in query
    assert sorted(filters["label"]) == ["com.docker.compose.oneoff=False", "com.docker.compose.project=tamma"]


def test_volumes_and_networks_by_name(server: Any, engine: Engine) -> None:
    server.answers["GET /volumes"] = (200, {"Volumes": [{"Name": "b"}, {"Name": "a"}]})
    server.answers["GET /networks"] = (200, [{"Name": "n"}])
    assert engine.volumes("tamma") == ["a", "b"]
    assert engine.networks("tamma") == ["n"]
    server.answers["GET /volumes"] = (200, {"Volumes": None})
    assert engine.volumes("tamma") == []


@pytest.mark.parametrize("status", [204, 304])
def test_starting_what_runs_already_is_no_error(server: Any, engine: Engine, status: int) -> None:
    server.answers["POST /containers/abc/start"] = (status, None)
    engine.start_container("abc")


def test_a_paused_container_is_woken_before_it_is_removed(server: Any, engine: Engine) -> None:
    server.answers["GET /containers/abc/json"] = (200, {"State": {"Paused": True}})
    for action in ("unpause", "stop"):
        server.answers["POST /containers/abc/" + action] = (204, None)
    server.answers["DELETE /containers/abc"] = (204, None)
    engine.remove_container("abc")
    assert [request for request, _query in server.requests if not request.startswith("GET ")] == [
        "POST /containers/abc/unpause",
        "POST /containers/abc/stop",
        "DELETE /containers/abc",
    ]


def test_removing_a_container_stops_it_first(server: Any, engine: Engine) -> None:
    server.answers["GET /containers/abc/json"] = (200, {"State": {"Paused": False}})
    server.answers["POST /containers/abc/stop"] = (304, None)
    server.answers["DELETE /containers/abc"] = (204, None)
    engine.remove_container("abc")
    assert [request for request, _query in server.requests if not request.startswith("GET ")] == [
        "POST /containers/abc/stop",
        "DELETE /containers/abc",
    ]


@pytest.mark.parametrize(("given", "sent"), [(None, ""), (3, "t=3")])
def test_stopping_takes_the_time_that_a_container_has(
    server: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch, given: int | None, sent: str
) -> None:
    waited: list[float] = []
    connect = _UnixConnection.__init__

    def remember(self: _UnixConnection, path: str, timeout: float) -> None:
        waited.append(timeout)
        connect(self, path, timeout)

    monkeypatch.setattr(_UnixConnection, "__init__", remember)
    server.answers["GET /containers/abc/json"] = (200, {"Config": {"StopTimeout": 1800}})
    server.answers["POST /containers/abc/stop"] = (204, None)
    engine.stop_container("abc", given)
    assert server.requests[-1] == ("POST /containers/abc/stop", sent)
    assert waited[-1] == 5 + (given or 1800)


def test_removing_what_is_gone_is_no_error(engine: Engine) -> None:
    engine.remove_container("abc")
    engine.remove_volume("tamma_pg-data")


def test_a_volume_in_use_is_not_passed_over(server: Any, engine: Engine) -> None:
    server.answers["DELETE /volumes/tamma_pg-data"] = (409, {"message": "volume is in use"})
    with pytest.raises(OperatorError, match="volume is in use"):
        engine.remove_volume("tamma_pg-data")


def frame(stream: int, text: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(text)) + text


def test_log_lines_of_both_streams_in_order(server: Any, engine: Engine) -> None:
    body = frame(1, b"started\n") + frame(2, "häl".encode()[:2]) + frame(2, "häl".encode()[2:] + b"\n")
    server.answers["GET /containers/abc/logs"] = (200, body)
    assert engine.logs("abc", tail=7) == ["started", "häl"]
    assert "tail=7" in server.requests[-1][1]


@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.text(max_size=20))))
def test_frames_give_back_their_text(lines: list[tuple[int, str]]) -> None:
    stream = b"".join(frame(number, text.encode("utf-8", "replace")) for number, text in lines)
    assert demultiplex(stream) == "".join(text.encode("utf-8", "replace").decode() for _number, text in lines)


def test_a_terminals_log_has_no_frames() -> None:
    assert demultiplex(b"plain \xff text\n") == "plain \ufffd text\n"


@given(st.binary(max_size=30))
def test_no_bytes_break_the_reading_of_a_log(stream: bytes) -> None:
    assert len(demultiplex(stream)) <= len(stream)


def test_a_log_that_is_cut_off_shows_what_came() -> None:
    assert demultiplex(frame(1, b"whole\n") + frame(2, b"half a line")[:12]) == "whole\nhalf"


def test_the_names_of_a_repository(server: Any, engine: Engine) -> None:
    server.answers["GET /images/json"] = (
        200,
        [
            {"Id": "sha256:a", "RepoTags": ["localhost/x:1", "localhost/x:2", "localhost/xy:1"]},
            {"Id": "sha256:b", "RepoTags": None},
            {"Id": "sha256:c", "RepoTags": ["localhost/x/y:1"]},
        ],
    )
    assert engine.image_names("localhost/x") == {"localhost/x:1": "sha256:a", "localhost/x:2": "sha256:a"}


def test_an_image_that_a_container_needs_stays(server: Any, engine: Engine) -> None:
    server.answers["DELETE /images/sha256:a"] = (409, {"message": "conflict"})
    server.answers["GET /images/sha256:a/json"] = (200, {"Id": "sha256:a", "RepoTags": ["api:1"]})
    server.answers["GET /containers/json"] = (200, [{"Id": "1", "ImageID": "sha256:a"}])
    assert not engine.remove_image("sha256:a")
    assert [request for request, _ in server.requests if request.startswith("DELETE")] == ["DELETE /images/sha256:a"]


def test_an_image_with_several_names_loses_them_one_by_one(server: Any, engine: Engine) -> None:
    server.answers["DELETE /images/sha256:a"] = (409, {"message": "conflict"})
    known = {"Id": "sha256:a", "RepoTags": ["api:1", "localhost/x:1"], "RepoDigests": ["api@sha256:d"]}
    server.answers["GET /images/sha256:a/json"] = (200, known)
    server.answers["GET /containers/json"] = (200, [])
    assert engine.remove_image("sha256:a")
    assert [request for request, _ in server.requests if request.startswith("DELETE")][1:] == [
        "DELETE /images/api:1",
        "DELETE /images/localhost/x:1",
        "DELETE /images/api@sha256:d",
    ]


def test_an_image_that_is_gone_is_removed(engine: Engine) -> None:
    assert engine.remove_image("sha256:a")
    engine.untag_image("localhost/x:1")


@pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff", b"[" * 200000])
def test_an_engine_that_speaks_no_json(server: Any, engine: Engine, body: bytes) -> None:
    server.answers["GET /containers/json"] = (200, body)
    with pytest.raises(OperatorError, match="with something else than JSON"):
        engine.containers("tamma")
