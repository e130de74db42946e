"""What a model's file of any kind would run when it is loaded, as `schwift scan` says it; nothing is run here."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converter.trust import pickle_reader
from converter.trust.inflating import CHUNK, most_inflated
from converter.trust.operator_trust import OperatorTrust
from converter.trust.own_modules import OwnModules
from converter.trust.pickle_reader import Contents, DamagedPickle, TooLarge
from converter.trust.verdict import explain, judge

ALLOWED, REFUSED, NO_CODE, DAMAGED, TOO_LARGE = "allowed", "refused", "no code of this kind", "damaged", "too large"
# In folders these are models; a file that is named is read whatever it is called.
_PICKLES = {
    ".pkl", ".pickle", ".joblib", ".sav", ".p", ".dill", ".model", ".pt", ".pth", ".bin", ".npy", ".npz", ".gz", ".z",
    ".bz2", ".xz", ".lzma", ".lz4",
}  # fmt: skip
_NO_CODE = {
    ".onnx": "ONNX: a graph, which ONNX Runtime reads", ".ubj": "XGBoost's own format", ".cbm": "CatBoost's own format",
    ".skops": "skops: its types are checked when it is loaded",
}  # fmt: skip
_STARTS = {b"tree\n": "LightGBM's own format", b"{": "JSON, as XGBoost writes it", b"CBM1": "CatBoost's own format"}
_NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"


@dataclass(frozen=True)
class FileReport:
    """What is to be said of one file; `uses` are [module, name, use], and `refused` those that are not allowed."""

    path: str
    verdict: str
    reason: str = ""
    uses: tuple[tuple[str, str, str], ...] = ()
    refused: tuple[tuple[str, str, str], ...] = ()
    own: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Make it JSON."""
        return asdict(self)


def list_files(paths: list[Path]) -> list[Path]:
    """List the files that are named, and the models in the folders that are."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        for where, folders, files in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
            known = (Path(where, name) for name in sorted(files) if Path(name).suffix.lower() in {*_PICKLES, *_NO_CODE})
            found += (file for file in known if file.is_file())
    return found


def scan_file(path: Path, trust: OperatorTrust) -> FileReport:
    """Read one file. Raises OSError if it cannot be read."""
    contents = Contents()
    try:
        with open(path, "rb") as file:
            contents.sha256 = _hash(file)
            file.seek(0)
            said = _read_any(path, file, contents)
    except TooLarge as error:
        return FileReport(str(path), TOO_LARGE, f"it inflates to more than {error} bytes", sha256=contents.sha256)
    except MemoryError:
        return FileReport(
            str(path), TOO_LARGE, "it takes more memory than a file of its size may", sha256=contents.sha256
        )
    except (DamagedPickle, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        return FileReport(str(path), DAMAGED, f"{type(error).__name__}: {error}", sha256=contents.sha256)
    if said is not None and not contents.names and not contents.problems:
        return FileReport(str(path), NO_CODE, said, sha256=contents.sha256)
    beside = {file.relative_to(path.parent).as_posix(): file for file in path.parent.rglob("*.py")}
    folder = path.absolute().parent
    verdict = judge(contents, trust, OwnModules(beside, f"{folder.parent.name}.{folder.name}"))
    return FileReport(
        str(path), ALLOWED if verdict.allowed or trust.anything else REFUSED,
        "" if verdict.allowed else explain(verdict, contents), tuple(sorted(contents.uses)), verdict.refused,
        verdict.own, tuple(_list_versions(contents)), contents.sha256,
    )  # fmt: skip


def _hash(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _list_versions(contents: Contents) -> Iterator[str]:
    yield from (f"scikit-learn {version}" for version in sorted(contents.sklearn))
    if any(module.startswith("numpy._core") for module, _ in contents.names):
        yield "numpy 2"


def _read_any(path: Path, file: Any, contents: Contents) -> str | None:
    """Read a file's pickles into `contents`; return what it is if it is no pickle itself."""
    start = file.peek(8)[:8]
    if (said := _NO_CODE.get(path.suffix.lower())) is not None:
        return said
    if start.startswith(_NPY):
        _read_npy(file, os.fstat(file.fileno()).st_size, contents)
        return "numbers of numpy"
    if start.startswith(_ZIP):
        return _read_zip(file, os.fstat(file.fileno()).st_size, contents)
    for prefix, said in _STARTS.items():
        if start.startswith(prefix):
            return said
    pickle_reader.read_stream(file, os.fstat(file.fileno()).st_size, contents)
    return None


def _read_npy(file: Any, size: int, contents: Contents) -> None:
    """Read the pickle that an array of objects is."""
    from numpy.lib import format as numpy_format

    npy: Any = numpy_format
    version = npy.read_magic(file)
    reader: Any = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if reader is None:
        raise ValueError(f"version {version} of numpy's format")
    if reader(file)[2].hasobject:
        pickle_reader.read_stream(file, size, contents)


def _read_zip(file: Any, size: int, contents: Contents) -> str:
    with zipfile.ZipFile(file) as archive:
        items = archive.infolist()
        if sum(item.file_size for item in items) > most_inflated(size):
            raise TooLarge(most_inflated(size))
        names = [item.filename for item in items]
        if "schema.json" in names:
            return _NO_CODE[".skops"]
        script = any(name.endswith("/constants.pkl") for name in names)
        for item in items:
            # TorchScript's own reader, in C++, makes no object of Python.
            if item.filename.endswith(".pkl") and not script:
                data = archive.read(item)
                pickle_reader.read_stream(io.BufferedReader(io.BytesIO(data)), len(data), contents)
            elif item.filename.endswith(".npy"):
                data = archive.read(item)
                _read_npy(io.BufferedReader(io.BytesIO(data)), len(data), contents)
        if script:
            pickles = ", ".join(name for name in names if name.endswith(".pkl"))
            return f"TorchScript: its own reader makes no object of Python of {pickles}"
        return "numbers of numpy" if any(name.endswith(".npy") for name in names) else "a zip without pickles"
