"""One requirement of a model's environment: a name and its versions, and nothing that runs or comes from elsewhere."""

from __future__ import annotations

import re

_MOST_LENGTH = 1000


def check_requirement(text: str) -> str:
    """Return the line in its plain form. Raises ValueError with one sentence if it is more than names and versions."""
    # Not at the top: the adapter reads configs too, and has no use for it.
    from packaging.requirements import InvalidRequirement, Requirement

    text = text.strip()
    shown = repr(text[:100])
    if len(text) > _MOST_LENGTH:
        raise ValueError(f"{shown}… is longer than {_MOST_LENGTH} characters: write one requirement")
    if text.startswith("-") or re.search(r"\s--?[a-zA-Z]", text):
        raise ValueError(
            f"{shown} has an option of pip, and only names and versions are taken: remove it, and set what pip shall "
            "do in its own configuration"
        )
    if "@" in text or "://" in text:
        raise ValueError(f"{shown} names an address: write the name and the version of a package of the index")
    if re.match(r"[./~]|[\w.-]*[/\\]", text) or re.search(r"\.(whl|tar\.gz|zip|txt)\s*$", text):
        raise ValueError(f"{shown} names a file: write the name and the version of a package of the index")
    try:
        return str(Requirement(text))
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{shown} is no requirement ({reason}): write it as in scikit-learn==1.7.2") from error


def name_of(line: str) -> str:
    """Return the normalized name of a requirement's package."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    return canonicalize_name(Requirement(line).name)
