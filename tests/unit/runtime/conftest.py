"""The runtime imports Triton's module by name, which only Triton's own processes have."""

import sys

from tests.support.fakes import triton_python_backend_utils

sys.modules.setdefault("triton_python_backend_utils", triton_python_backend_utils)
