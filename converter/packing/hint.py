"""What packs would save: said once by a build, where they are off and it would be much."""

from __future__ import annotations

from collections.abc import Sequence

from converter.errors import ConfigError
from converter.packing.placement import Packable, place_models
from converter.repository.plan import BuildOptions

# An isolated model's processes, its front's included.
_MODEL_MB = 100
_MUCH_MB = 1024
_FEW_CORES = 2


def suggest_packs(candidates: Sequence[Packable], options: BuildOptions) -> str | None:
    """Say what packs would save; None if they are on, or if it would be little."""
    if options.settings.pack != "off":
        return None
    settings = options.settings.model_copy(update={"pack": "libraries"})
    asking = [item for item in candidates if item.spec.pack is None]
    try:
        hosts = place_models(asking, BuildOptions(settings, options.cores)).hosts
    except ConfigError:
        return None
    count, processes = len(hosts), len(set(hosts.values()))
    saved = (count - processes) * _MODEL_MB
    if count < 2 or (saved <= _MUCH_MB and options.cores > _FEW_CORES):
        return None
    shared = "a process" if processes == 1 else f"{processes} processes"
    return (
        f"{count} models could share {shared}, which saves some {saved} MB and the cores' time: "
        "set SCHWIFT_PACK=libraries (docs/packs.md says what they share then)"
    )
