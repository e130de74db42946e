from __future__ import annotations

import pytest

from schwift.load.answer_check import AnswerCheck

FIRST = b'{"model":"m","predictions":[[0.123456,1],["a",null]]}'


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        (FIRST, True),
        (b'{"predictions":[[0.1234561,1.0],["a",null]],"model":"m"}', True),
        (b'{"model":"m","predictions":[[0.12346,1],["a",null]]}', False),
        (b'{"model":"m","predictions":[[0.123456,2],["a",null]]}', False),
        (b'{"model":"m","predictions":[[0.123456,true],["a",null]]}', False),
        (b'{"model":"m","predictions":[[0.123456,1],["b",null]]}', False),
        (b'{"model":"m","predictions":[[0.123456,1]]}', False),
        (b'{"model":"m","predictions":[[0.123456,1],["a",null]],"more":1}', False),
        (b"not JSON", False),
    ],
)
def test_an_answer_is_the_same_as_far_as_numbers_round(answer: bytes, same: bool) -> None:
    check = AnswerCheck()
    assert check.is_same(0, FIRST)
    assert check.is_same(0, answer) is same
    # Known or not, it is judged alike; and of another request it is the first.
    assert check.is_same(0, answer) is same
    assert check.is_same(1, answer)


def test_what_is_no_json_is_compared_too() -> None:
    check = AnswerCheck()
    assert [check.is_same(0, body) for body in (b"a,b", b"a,b", b"a,c")] == [True, True, False]
