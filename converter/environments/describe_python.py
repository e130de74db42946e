"""Says what a Python is and has, as JSON; runs in any Python, so it is nothing but the standard library's, and old.

Its arguments are folders of packages that the Python would not look into by itself.
"""

import ctypes
import importlib.util
import json
import os
import sys
import sysconfig
from importlib import metadata


def describe() -> "dict[str, object]":
    """Describe the Python that runs this; `libpython` is a folder, "" if the loader finds it alone, None if missing."""
    packages: dict[str, str] = {}
    modules = {*sys.builtin_module_names, *getattr(sys, "stdlib_module_names", ())}
    for found in metadata.distributions():
        name, version = read_name_and_version(found)
        # The first of two counts, as with imports. A damaged folder has no name.
        if name:
            packages.setdefault(name.lower().replace("_", "-").replace(".", "-"), version)
            modules.update((found.read_text("top_level.txt") or name.replace("-", "_")).split())
    for folder in sys.path:
        if os.path.isabs(folder) and os.path.isdir(folder):
            modules.update(entry.split(".")[0] for entry in os.listdir(folder))
    return {
        "version": "{}.{}".format(*sys.version_info),
        "executable": sys.executable,
        "libpython": find_libpython(),
        "makes_venvs": all(importlib.util.find_spec(name) is not None for name in ("venv", "ensurepip")),
        "packages": packages,
        "modules": sorted(name for name in modules if name.isidentifier()),
        "paths": [folder for folder in sys.path if os.path.isabs(folder)],
    }


def read_name_and_version(found: metadata.Distribution) -> "tuple[str | None, str]":
    """Return what a package is called, and its version: to parse all of its metadata takes a millisecond."""
    head = (found.read_text("METADATA") or found.read_text("PKG-INFO") or "").partition("\n\n")[0]
    lines = [line for line in head.splitlines() if line.startswith(("Name: ", "Version: "))]
    # The first of two counts.
    fields = dict(line.split(": ", 1) for line in reversed(lines))
    if len(fields) < 2:
        return found.metadata["Name"], found.version
    return fields["Name"].strip(), fields["Version"].strip()


def find_libpython() -> "str | None":
    """Find the folder that LD_LIBRARY_PATH needs; "" if the loader finds the library alone, None if it is missing."""
    name = "libpython{}.{}.so.1.0".format(*sys.version_info)
    multiarch = sysconfig.get_config_var("MULTIARCH")
    for folder in (sysconfig.get_config_var("LIBDIR"), sys.base_prefix + "/lib", multiarch and "/usr/lib/" + multiarch):
        if folder and os.path.isfile(os.path.join(folder, name)):
            return str(folder)
    try:
        ctypes.CDLL(name)
    except OSError:
        return None
    return ""


if __name__ == "__main__":
    sys.path += sys.argv[1:]
    print(json.dumps(describe()))
