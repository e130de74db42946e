"""What a host says of the models in its processes, also one on the runtime of an older build."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from adapter.backend.host_client import HostClient
from adapter.backend.protocol import Arrays
from adapter.lifecycle.packs.pack_control import HostMemory, PackControl
from converter.schema.manifest import Tensor
from converter.schema.packs.envelope import OK, Part, write_envelope
from converter.schema.wire import ANSWER_TENSOR
from tests.support.fakes.backend import FakeBackend
from tests.support.fakes.pack_host import KEY
from tests.support.packs import make_host_entry


@pytest.mark.parametrize(
    ("others", "wanted"),
    [({"others": [{"pid": 2, "members": {"a_alone/1": 5}}]}, {"a_alone/1": 6}), ({}, {"a_alone/1": 2})],
)
async def test_a_host_that_does_not_tell_of_its_other_process_holds_the_same_there(
    others: dict[str, object], wanted: dict[str, int]
) -> None:
    async def answer(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        told = Part(OK, json.dumps({"members": {"a_alone/1": {"bytes": 1}}, **others}).encode())
        return {ANSWER_TENSOR: np.frombuffer(write_envelope([told]), np.uint8).reshape(1, -1)}

    host, backend = make_host_entry(instances=2), FakeBackend(answer)
    control = PackControl(backend, HostClient(backend, lambda _: KEY), lambda _: host)
    assert await control.describe(host) == HostMemory(wanted, whole="others" in others)
