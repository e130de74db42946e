"""What the operator says of pickles, in the settings: a file beside a model says nothing of itself that counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from converter.errors import ConfigError
from converter.schema.settings import Settings


@dataclass(frozen=True)
class OperatorTrust:
    """`anything` lets every pickle in; in `folders` a config's `trusted: true` does; `imports` are allowed besides."""

    anything: bool = False
    folders: tuple[Path, ...] = ()
    imports: tuple[str, ...] = ()

    def covers(self, folder: Path, trusted: bool) -> bool:
        """Tell whether a model's files may be any code; `trusted` is what its config says."""
        if self.anything:
            return True
        real = folder.resolve()
        return trusted and any(real.is_relative_to(known) for known in self.folders)

    def allows(self, module: str, name: str) -> bool:
        """Tell whether a class or function is among the imports."""
        names = {f"{module}:{name}", f"{module}.{name}"}
        # Of a whole module, what is defined there: `a.*` says nothing of the modules that it imports.
        parts = module.split(".") if "." not in name else []
        names |= {".".join([*parts[:count], "*"]) for count in range(1, len(parts) + 1)}
        return not names.isdisjoint(self.imports)


def read_trust(settings: Settings) -> OperatorTrust:
    """Read it from the settings. Raises ConfigError for an import or a folder of no such form."""
    imports = tuple(filter(None, (item.strip() for item in (settings.trust_imports or "").split(","))))
    for item in imports:
        module, separator, name = item.partition(":") if ":" in item else item.rpartition(".")
        if not separator or not module or not name or any(char.isspace() for char in item):
            raise ConfigError(f"SCHWIFT_TRUST_IMPORTS: {item!r}: write module:name or module.*, separated by commas")
    folders = [Path(item) for item in (settings.trust_folders or "").split(":") if item]
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"SCHWIFT_TRUST_FOLDERS: {folder}: no such folder: name folders, separated by `:`")
    return OperatorTrust(settings.trust == "any", tuple(folder.resolve() for folder in folders), imports)
