"""MLServer's own tests of its REST endpoints, against this server."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

from tests.suites.outcomes import Outcome
from tests.suites.target import Target
from tests.suites.workshop import PROGRAMS, Workshop, run

_SUITE = "MLServer 1.7.1"
_REPOSITORY = "SeldonIO/MLServer"
_COMMIT = "1d1f3ee42f96744d809aca941ed2925347d198e9"
# What its pyproject.toml tests with, as far as these tests need it.
_PACKAGES = (
    "mlserver==1.7.1", "pytest==7.4.4", "pytest-asyncio==0.21.1", "pytest-cases==3.8.5", "pytest-lazy-fixture==0.6.3",
    "httpx==0.27.0", "httpx-sse==0.4.0", "aiohttp", "aiohttp-retry==2.8.3", "filelock", "pyyaml", "tenacity",
)  # fmt: skip
_DOCS = "documents at MLServer's own addresses; here they are /docs and /openapi.json"
_VERSION = "asks for version v1.2.3: versions are numbers here, and the part without it passes"
_OWN_WORDS = "compares MLServer's own wording, status or name"
_CONTROL = "models are loaded and unloaded by who runs the server, not by its clients"
_PIECES = "generate and its stream are not of the protocol, and not served here"
_LEFT_OUT = {
    "test_metadata": _OWN_WORDS,
    "test_openapi": _DOCS,
    "test_docs": _DOCS,
    "test_model_openapi": _DOCS,
    "test_model_docs": _DOCS,
    "test_infer[sum-model-v1.2.3]": _VERSION,
    "test_generate": _PIECES,
    "test_generate_stream": _PIECES,
    "test_infer_headers": "wants the request's headers echoed, and CloudEvents' headers, which are MLServer's own",
    "test_infer_error": _OWN_WORDS,
    "test_infer_invalid_datatype_error": _OWN_WORDS,
    "test_model_repository_unload": _CONTROL,
    "test_model_repository_load": _CONTROL,
    "test_model_repository_load_error": _CONTROL,
}


def run_mlserver_tests(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """Run test_endpoints of REST as it stands there, with fixtures that ask the target."""
    tests = workshop.checkout(_REPOSITORY, _COMMIT, "tests")
    python = workshop.environment("mlserver", *_PACKAGES) / "python"
    folder, report = scratch / "mlserver", scratch / "mlserver.xml"
    rest = folder / "tests" / "rest"
    shutil.copytree(tests, folder / "tests", ignore=shutil.ignore_patterns("rest"))
    rest.mkdir()
    for name in ("__init__.py", "test_endpoints.py"):
        shutil.copy(tests / "rest" / name, rest)
    shutil.copy(PROGRAMS / "mlserver_conftest.py", rest / "conftest.py")
    options = ["-o", "asyncio_mode=auto", "--import-mode=importlib", "-p", "no:cacheprovider", "--junit-xml", report]
    command = [python, "-m", "pytest", "-q", "--rootdir", folder, *options, rest / "test_endpoints.py"]
    done = run(command, check=False, cwd=folder, environment={"SUITES_URL": target.url, "PYTEST_ADDOPTS": ""})
    cases = [*ElementTree.parse(report).iter("testcase")] if report.exists() else []
    if not cases:
        return [Outcome(_SUITE, "all", "FAILED", done.stdout[-300:])]
    return [_read(case) for case in cases]


def _read(case: ElementTree.Element) -> Outcome:
    part = case.get("name", "?")
    why = _LEFT_OUT.get(part) or _LEFT_OUT.get(re.sub(r"\[.*", "", part))
    wrong = [*case.iter("failure"), *case.iter("error"), *case.iter("skipped")]
    if not wrong:
        return Outcome(_SUITE, part, "passed")
    if why:
        return Outcome(_SUITE, part, "left out", why)
    return Outcome(_SUITE, part, "FAILED", str(wrong[0].get("message")))
