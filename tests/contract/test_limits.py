"""What the doctor tells that Tamma cannot do today, and that it is silent once it can."""

from __future__ import annotations

import pytest

import tests.tools.checkout  # noqa: F401 - before anything of the collection is imported
from ansible_collections.meywd.tamma.plugins.module_utils.elsa import Elsa
from ansible_collections.meywd.tamma.plugins.module_utils.limits import TABLE, Services, found, refused_key

from .peers import Recorder
from .processes import Driver
from .test_elsa import save, write
from .test_tamma import DEFINITION, SERVER


@pytest.mark.usefixtures("tables")
def test_what_does_not_work_is_told(elsa: Driver, tamma: Driver, api_dotnet: Driver) -> None:
    server, api = elsa.start().health(), tamma.start(arguments=SERVER).health()
    dotnet = api_dotnet.start().health()
    services = Services(Elsa(server.url), api.url, dotnet.url)
    # Without a workflow nothing shows that none would arrive.
    assert len(found(services)) == len(TABLE) - 1
    save(server, write())
    told = found(services)
    assert len(told) == len(TABLE)
    assert told[0].startswith("ELSA's workflows do not reach tamma-api")
    api.ask("/api/workflows/definitions", "POST", DEFINITION)
    assert told[0] not in found(services)
    # What the .NET API calls is no limit where it does not run.
    assert found(services._replace(dotnet="http://127.0.0.1:1")) == []


def test_a_key_that_elsa_does_not_know_is_a_finding(elsa: Driver) -> None:
    url = elsa.start().health().url
    (words,) = refused_key(Services(Elsa(url, "a-key-of-before"), "", ""))
    assert "take tamma_stack_elsa_api_key (ELSA_API_KEY) out of the inventory" in words
    assert "a-key-of-before" not in words
    assert refused_key(Services(Elsa(url), "", "")) == []


def test_a_key_where_the_built_in_one_is_not_known_either(recorder: Recorder) -> None:
    recorder.answers["GET", "/elsa/api/workflow-definitions"] = 401, {}
    (words,) = refused_key(Services(Elsa(recorder.url, "wrong"), "", ""))
    assert "set tamma_stack_elsa_api_key (ELSA_API_KEY) to the key that this ELSA knows" in words


def test_a_release_in_which_it_works_is_not_complained_about(recorder: Recorder) -> None:
    recorder.answers["GET", "/elsa/api/workflow-definitions"] = 200, {"items": [{"id": "w"}], "totalCount": 1}
    recorder.answers["GET", "/api/workflows/definitions"] = 200, [DEFINITION]
    recorder.answers["GET", "/api/health"] = 200, {"status": "ok", "version": "9.0.0"}
    recorder.answers["GET", "/health"] = 200, {}
    recorder.answers["GET", "/api/mentorship/sessions"] = 401, {}
    assert found(Services(Elsa(recorder.url), recorder.url, recorder.url)) == []


def test_services_that_do_not_answer_say_nothing() -> None:
    services = Services(Elsa("http://127.0.0.1:1"), "http://127.0.0.1:1", "")
    assert found(services) == refused_key(services) == []
