"""The OpenAPI document of the Open Inference Protocol's specification, driven by schemathesis."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

from tests.suites.outcomes import Outcome
from tests.suites.target import Target
from tests.suites.workshop import Workshop, run
from tests.support.servers.server import ROOT

_SUITE = "OIP's OpenAPI"
_REPOSITORY = "kserve/open-inference-protocol"
_COMMIT = "d49cc23f89d709d87b210ef9449e273ae243984e"
_HOOKS = "tests.suites.programs.oip_hooks"
_DOCUMENT = "specification/protocol/open_inference_rest.yaml"
# All checks but one: a request that fits the document seldom has the tensors that the model takes, and is then 400.
_CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")
_OPTIONS = ("--max-examples", "100", "--seed", "1", "--continue-on-failure", "--report", "junit")


def drive_with_schemathesis(target: Target, workshop: Workshop, scratch: Path) -> list[Outcome]:
    """Send what schemathesis makes of the document: a row for each of its operations."""
    document = workshop.checkout(_REPOSITORY, _COMMIT, _DOCUMENT)
    report = scratch / "schemathesis.xml"
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "run", document, "--url", target.url, *_CHECKS, *_OPTIONS, "--report-junit-path", report]
    # It keeps what it found in its working directory.
    environment = {"SCHEMATHESIS_HOOKS": _HOOKS, "PYTHONPATH": str(ROOT)}
    done = run(command, check=False, cwd=scratch, environment=environment)
    if not report.exists():
        return [Outcome(_SUITE, "all", "FAILED", done.stdout[-300:])]
    return [_read(case) for case in ElementTree.parse(report).iter("testcase")]


def _read(case: ElementTree.Element) -> Outcome:
    part = case.get("name", "?")
    wrong = [*case.iter("failure"), *case.iter("error"), *case.iter("skipped")]
    if wrong:
        return Outcome(_SUITE, part, "FAILED", f"{wrong[0].get('message')} {wrong[0].text}")
    return Outcome(_SUITE, part, "passed")
