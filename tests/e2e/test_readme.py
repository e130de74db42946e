"""The commands and the Python of the README, of docs/http-api.md and of docs/dialects.md, as they stand there.

tests/unit/test_docs.py holds the tables and options of the documents.
"""

from __future__ import annotations

from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.e2e.documented import assert_answer, run_curl, run_python, take_tour
from tests.support import documents
from tests.support.servers.server import Served

README = documents.commands(documents.page("README.md"))
HTTP_API = documents.commands(documents.page("docs/http-api.md"))
DIALECTS = documents.commands(documents.page("docs/dialects.md"))
SNIPPETS = [
    snippet for page in ("http-api", "dialects") for snippet in documents.snippets(documents.page(f"docs/{page}.md"))
]


def test_the_documents_have_commands() -> None:
    assert (len(README), len(HTTP_API), len(DIALECTS), len(SNIPPETS)) == (5, 4, 6, 4)
    assert len([answer for _, answer in README + HTTP_API + DIALECTS if answer]) == 12


@pytest.mark.parametrize(("command", "answer"), README + HTTP_API + DIALECTS)
def test_a_curl_line_answers_as_the_document_says(server: Served, command: str, answer: str) -> None:
    printed = run_curl(server, command)
    if answer:
        assert_answer(printed, answer)
    elif "metrics" in command:
        assert "inference_requests_total" in printed and "nv_inference_count" in printed
    else:
        assert "iris_logreg" in printed


@pytest.mark.parametrize(("code", "output"), SNIPPETS)
def test_python_prints_what_the_document_says(server: Served, code: str, output: str) -> None:
    assert run_python(server, code) == output


def test_two_commands_go_from_a_pickle_to_a_verified_server(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    pickle = tmp_path / "elsewhere" / "flowers.joblib"
    joblib.dump(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), pickle)
    _, verified = take_tour(pickle, tmp_path / "here")
    row = verified.splitlines()[1].split()
    assert row[:2] == ["flowers", "equal"]
    assert (tmp_path / "here" / "models" / "flowers" / "model_config.yaml").is_file()
