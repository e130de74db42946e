"""Triton's tensors as processes with numpy 2 have them: DLPack alone is right, and it gives capsules an odd name."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.support.fakes import triton_python_backend_utils as pb

_set_name = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
# The capsule keeps the pointer and not the name.
_USED = ctypes.c_char_p(b"used_dlpack")


class DlpackTensor(pb.Tensor):
    """As the backend's, which knows none of DLPack's newer keywords."""

    def as_numpy(self) -> npt.NDArray[Any]:
        raise AssertionError("as_numpy is broken under numpy 2")

    def __dlpack__(self) -> Any:
        return self._array.__dlpack__()

    @classmethod
    def from_dlpack(cls, name: str, source: Any) -> DlpackTensor:
        assert source.__dlpack_device__() == (1, 0)
        capsule = source.__dlpack__(stream=None)
        array = np.array(np.from_dlpack(_Holder(capsule)))  # type: ignore[arg-type]  # numpy 2's keywords
        _set_name(capsule, _USED)
        return cls(name, array)

    @property
    def values(self) -> npt.NDArray[Any]:
        """What Triton has got."""
        return self._array


class _Holder:
    """What numpy asks for the capsule."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self) -> Any:
        return self._capsule
