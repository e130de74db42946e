"""The errors of the converter.

SchwiftError            anything said to the user in one sentence; exit 1
├── ConfigError         a bad model_config.yaml, .env or option; exit 2
│   ├── ArtifactError       a model file that cannot be served as it is
│   │   └── MissingLibrary  what a model needs is not installed
│   └── EnvironmentProblem  a Python or packages that models cannot run in, or that cannot be made
├── NotConverted        a model that would not answer the same after `schwift convert`
├── RepositoryError     the repository cannot be read or written
├── ReloadError         the server did not take a new version, and serves what it served
│   └── NothingServed   there is no server
├── RuntimeMissing      this machine lacks something that Triton needs
└── ServeError          Triton or the adapter did not start, or stopped
    └── PortInUse       exit 2
"""

from __future__ import annotations

from collections.abc import Sequence


class SchwiftError(Exception):
    """One sentence for the user; `exit_code` is what the command ends with."""

    exit_code = 1


class ConfigError(SchwiftError):
    """One or more problems in what the user wrote, each `place: message`."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class ArtifactError(ConfigError):
    """A model file that is missing, damaged, or of a kind that cannot be served as it is."""


class MissingLibrary(ArtifactError):
    """A library that a model needs is not installed here."""


class EnvironmentProblem(ConfigError):
    """A Python or its packages that models cannot run in, or an environment that cannot be made."""


class NotConverted(SchwiftError):
    """A model that cannot be converted so that its clients notice nothing; it is as it was."""


class RepositoryError(SchwiftError):
    """The repository could not be read or written."""


class ReloadError(SchwiftError):
    """The running server did not take a new version; it goes on with the one before."""


class NothingServed(ReloadError):
    """No server of this repository runs."""


class RuntimeMissing(SchwiftError):
    """Something that the embedded Triton needs is not on this machine."""


class ServeError(SchwiftError):
    """Triton or the adapter did not start, or stopped without being asked."""


class PortInUse(ServeError):
    """A port that was asked for is taken."""

    exit_code = 2
