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
        name = found.metadata["Name"]
        # The first of two counts, as with imports. A damaged folder has no name.
        if name:
            packages.setdefault(name.lower().replace("_", "-").replace(".", "-"), found.version)
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
