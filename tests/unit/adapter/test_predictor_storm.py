"""Thousands of requests at a time, some of whose clients leave: what each of the others gets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from adapter.backend.protocol import Arrays
from adapter.workers import counters
from converter.schema.manifest import ModelEntry, Tensor
from converter.schema.model import Endpoint
from converter.schema.settings import REGIMES, RegimeName
from tests.support.fakes.entries import make_entry
from tests.support.fakes.loop import counted, counted_loop
from tests.support.http.predictors import Served

REQUESTS = 1000
MOST_ROWS = 12


def entry_of(most: int, instances: int) -> ModelEntry:
    return make_entry(
        inputs=[("x", "float32", (1,)), ("tag", "string", (1,))],
        outputs=[("y", "float32", (1,)), ("tag", "string", (1,))],
        direct_max_rows=most,
        instances=instances,
    ).model_copy(update={"queue_size": REQUESTS})


def body_of(number: int, rows: int) -> Any:
    values = range(number * MOST_ROWS, number * MOST_ROWS + rows)
    return {"x": [[value] for value in values], "tag": [[f'],["{value}'] for value in values]}


def answer_to(features: Any) -> Any:
    predictions = {"y": [[-2.0 * value] for (value,) in features["x"]], "tag": features["tag"]}
    return {"model": "m", "predictions": predictions}


# Not made smaller where it fails: a smaller seed is no simpler, and takes minutes to find.
@settings(deadline=None, max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    regime=st.sampled_from([None, *REGIMES]),
    most=st.sampled_from([1, 5, 32]),
    instances=st.integers(1, 3),
    leaving=st.sampled_from([0, 0.02, 0.3]),
)
def test_every_answer_is_of_its_own_request_whoever_leaves(
    seed: int, regime: RegimeName | None, most: int, instances: int, leaving: float
) -> None:
    chance = random.Random(seed)

    async def negate(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
        assert len(arrays["x"]) <= most
        await asyncio.sleep(chance.choice([0, 0.001, 0.004, 0.02]))
        return {"y": np.asarray(arrays["x"] * -2, np.float32), "tag": arrays["tag"]}

    async def main() -> None:
        served = Served(negate, entry_of(most, instances), REQUESTS, regime, counted_loop().time, 3600)
        tasks, wanted = [], []
        for number in range(REQUESTS):
            endpoint: Endpoint = chance.choice(["predict", "predict_batched"])
            features = body_of(number, chance.choice([1, 1, 3, MOST_ROWS]) if endpoint == "predict" else 1)
            tasks.append(asyncio.create_task(served.ask(features, endpoint)))
            wanted.append(answer_to(features))
            if chance.random() < leaving:
                leaves = chance.randrange(max(0, number - 50), number + 1)
                counted_loop().call_later(chance.choice([0, 0, 0.001, 0.01]), tasks[leaves].cancel)
            if chance.random() < 0.1:
                await asyncio.sleep(chance.choice([0, 0.0005, 0.01]))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        left = [isinstance(result, asyncio.CancelledError) for result in results]
        assert (sum(left) > 0) == (leaving > 0)
        assert sum(left) < REQUESTS * (leaving + 0.1)
        for result, answer, gone in zip(results, wanted, left, strict=True):
            assert gone or result == answer
        assert (served.in_flight, served.cell(counters.IN_FLIGHT)) == (0, 0)
        # Who left the queue is noticed when the call in flight ends.
        await asyncio.sleep(1)
        assert served.cell(counters.QUEUED) == 0

    counted(main())


def test_who_leaves_changes_nothing_in_the_calls_of_the_others() -> None:
    """The same requests with and without those who leave while their call is in flight: the same calls."""

    def calls(leavers: Sequence[int]) -> list[Any]:
        async def negate(model: str, arrays: Arrays, outputs: Sequence[Tensor]) -> Arrays:
            await asyncio.sleep(0.02)
            return {"y": np.asarray(arrays["x"] * -2, np.float32), "tag": arrays["tag"]}

        async def main() -> list[Any]:
            served = Served(negate, entry_of(8, 1), REQUESTS, "rush", counted_loop().time)
            tasks = [asyncio.create_task(served.ask(body_of(i, 1), "predict_batched")) for i in range(20)]
            await asyncio.sleep(0.01)
            for i in leavers:
                tasks[i].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [i for i, result in enumerate(results) if isinstance(result, BaseException)] == list(leavers)
            for i, result in enumerate(results):
                assert i in leavers or result == answer_to(body_of(i, 1))
            return [call.arrays["x"].ravel().tolist() for call in served.backend.calls]

        return counted(main())

    everybody = calls([])
    assert [len(call) for call in everybody] == [8, 8, 4]
    assert calls([0, 3, 7]) == everybody
    assert [len(call) for call in calls([17, 18])] == [8, 8, 2], "who waits and leaves is not sent"
