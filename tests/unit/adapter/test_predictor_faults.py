"""Any order of answers, deadlines, crashes, clients that leave and open breakers: no place is lost, and no probe."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adapter import errors
from adapter.backend.protocol import Arrays
from adapter.workers import counters
from converter.schema.manifest import Tensor
from converter.schema.model import Endpoint
from converter.schema.settings import REGIMES, RegimeName
from tests.support.fakes.entries import make_entry
from tests.support.fakes.loop import counted, counted_loop
from tests.support.http.predictors import Served

REQUESTS = 300
ROOM = 100
DEADLINE = 1.0
ENTRY = make_entry(inputs=[("x", "float32", (1,))], outputs=[("y", "float32", (1,))], direct_max_rows=4)
EXPECTED = (
    errors.BadFeatures, errors.ModelFailed, errors.ModelProcessDead, errors.UpstreamDown, errors.DeadlineExceeded,
    errors.BreakerOpen, errors.Overloaded, errors.QueueFull, errors.ModelUnavailable,
)  # fmt: skip


def mend(served: Served) -> None:
    served.registry.begin_incarnation(served.model)
    served.model.status.adopt("ready")


# Not made smaller where it fails: a smaller seed is no simpler, and takes minutes to find.
@settings(deadline=None, max_examples=40, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    regime=st.sampled_from([None, *REGIMES]),
    trouble=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    leaving=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_nothing_is_lost_whatever_happens_and_in_the_end_all_is_well(
    seed: int, regime: RegimeName | None, trouble: float, leaving: float
) -> None:
    chance = random.Random(seed)
    well = False

    async def moody(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        await asyncio.sleep(chance.choice([0, 0.001, 0.02]))
        if not well and chance.random() < trouble:
            what = chance.choice(["hangs", "dies", "raises", "is gone", "leaves the queue"])
            if what == "hangs":
                await asyncio.sleep(1e6)
            elif what == "dies":
                raise errors.ModelProcessDead("no", "is not healthy")
            elif what == "raises":
                raise errors.ModelFailed("no", "ValueError")
            elif what == "is gone":
                raise errors.UpstreamDown("no", "refused")
            raise errors.DeadlineExceeded("no", "Request timeout expired", queued=True)
        return {"y": np.asarray(arrays["x"] * 2, np.float32)}

    async def main() -> None:
        nonlocal well
        served = Served(moody, ENTRY, ROOM, regime, counted_loop().time, DEADLINE)
        model_breakers = served.breakers["m"]
        tasks = []
        for number in range(REQUESTS):
            endpoint: Endpoint = chance.choice(["predict", "predict_batched"])
            timeout = chance.choice([None, None, 0.05])
            value = "a" if chance.random() < 0.05 else number
            tasks.append(asyncio.create_task(served.ask([[value]], endpoint, timeout)))
            if chance.random() < leaving:
                counted_loop().call_later(chance.choice([0, 0.001, 0.3]), tasks[-1].cancel)
            # As the reconciler does, a while after a death.
            counted_loop().call_later(0.5, mend, served)
            await asyncio.sleep(chance.choice([0, 0.001, 0.1]))
            assert served.in_flight <= ROOM
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for number, result in enumerate(results):
            if isinstance(result, BaseException):
                assert isinstance(result, (*EXPECTED, asyncio.CancelledError)), repr(result)
            else:
                assert result == {"model": "m", "predictions": [[2.0 * number]]}
        assert served.in_flight == 0
        assert served.cell(counters.IN_FLIGHT) == 0
        # Whatever state the breakers are in, a healthy model comes back through them.
        well = True
        mend(served)
        await asyncio.sleep(31)
        for _ in range(3):
            assert await served.ask([[7]]) == {"model": "m", "predictions": [[14.0]]}
        assert model_breakers.model.closed and model_breakers.triton.closed
        assert (served.cell(counters.QUEUED), served.cell(counters.QUEUED_ROWS)) == (0, 0)

    counted(main())
