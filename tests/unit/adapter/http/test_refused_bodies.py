"""What a refused body leaves behind: nothing that would wait, with the body, for the collector of cycles."""

from __future__ import annotations

import gc

import pytest

from adapter.codec.decode import FeaturesParser
from adapter.errors import AdapterError
from tests.support.fakes.entries import make_entry

_TRIES = 3
REFUSED = {
    "too deep": b'{"features": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no JSON": b'{"features": [[1, 2, 3, 4}',
    "a string": b'{"features": [[1, 2, 3, "x"]]}',
    "ragged": b'{"features": [[1, 2, 3, 4], [1, 2]]}',
    "a key twice": b'{"features": [[1, 2, 3, 4]], "features": [[1, 2, 3, 4]]}',
    "out of range": b'{"features": [[1, 2, 3, 1e999]]}',
    "no UTF-8": b'{"features": [[1, 2, 3, "\xff"]]}',
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_body_is_in_no_cycle(name: str) -> None:
    parser = FeaturesParser(make_entry())

    def refuse() -> bool:
        try:
            parser.parse(REFUSED[name])
        except AdapterError as error:
            # As adapter/http/predict.py does once it has the answer; pytest.raises would be in a cycle itself.
            error.__traceback__ = error.__context__ = error.__cause__ = None
            return True
        return False

    assert refuse()
    gc.collect()
    gc.disable()
    try:
        # A thread that another test left may leave something too, but not each time.
        left: list[int] = []
        while (not left or left[-1]) and len(left) < _TRIES:
            assert refuse()
            left.append(gc.collect())
        assert left[-1] == 0, left
    finally:
        gc.enable()
