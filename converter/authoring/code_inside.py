"""What a model's files would run that no build looks into: pickles in an MLflow folder, and types in a skops file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from converter.errors import ArtifactError
from converter.schema.settings import Settings
from converter.trust.allow_list import allowed
from converter.trust.operator_trust import OperatorTrust, read_trust
from converter.trust.scan import ALLOWED, NO_CODE, list_files
from converter.trust.scan_command import scan_files


def check_folder(folder: Path, settings: Settings) -> None:
    """Raise ArtifactError if loading a file of an MLflow folder may run more than the operator lets in."""
    trust = read_trust(settings)
    if trust.covers(folder, trusted=True):
        return
    for report in scan_files(list_files([folder]), trust):
        if report.verdict not in (ALLOWED, NO_CODE):
            # skops and others come with what they are; a refusal begins with a verb.
            raise ArtifactError(
                f"{folder.name}/{Path(report.path).name} {report.reason or report.verdict}; for a folder of MLflow "
                f"that is SCHWIFT_TRUST_FOLDERS={folder}"
            )


def choose_trusted_types(types: Sequence[str], settings: Settings) -> list[str]:
    """Keep the types that may be made: what an MLflow folder says of itself counts for nothing."""
    trust = read_trust(settings)
    return [name for name in types if _may_be_made(name, trust)]


def _may_be_made(name: str, trust: OperatorTrust) -> bool:
    module, _, kind = name.rpartition(".")
    return trust.anything or (module, kind) in allowed("make") | allowed("call") or trust.allows(module, kind)
