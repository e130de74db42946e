"""CSV: columns by name or by place, and each cell by what the model takes there."""

from __future__ import annotations

from typing import Any

import pytest

from adapter.codec.codec import make_parser
from adapter.dialects.scoring.foreign_body import parse_foreign
from adapter.errors import AdapterError, BadFeatures, MalformedJson, SchemaMismatch
from converter.schema.manifest import ModelEntry
from tests.support.fakes.entries import make_columns_entry, make_entry

FOUR = make_entry()
FREE = make_entry(inputs=(("x", "float32", (-1,)),))
IMAGE = make_entry(inputs=(("x", "float32", (2, 2)),))
TEXTS = make_entry(inputs=(("words", "string", ()),))
FLAGS = make_entry(inputs=(("word", "string", (1,)), ("flag", "bool", (1,))))
TWO = make_entry(inputs=(("left", "float32", (2,)), ("right", "int64", (1,))))
COLUMNS = make_columns_entry(
    [
        {"name": "age", "dtype": "int64"},
        {"name": "city", "dtype": "string", "nullable": True},
        {"name": "income", "dtype": "float64", "nullable": True},
    ]
)


def read(body: str | bytes, entry: ModelEntry, reader: str = "csv") -> Any:
    raw = body if isinstance(body, bytes) else body.encode()
    features, where = parse_foreign(reader, make_parser(entry), raw)
    assert where == "rows"
    return [[list(row) for row in part] for part in features]


def refused(body: str | bytes, entry: ModelEntry, reader: str = "csv") -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        read(body, entry, reader)
    return caught.value


@pytest.mark.parametrize(
    ("entry", "body", "rows"),
    [
        (FOUR, "a,b,c,d\n1,2.5,-3e2,0\n", [[[1, 2.5, -300, 0]]]),
        (FOUR, "a,b,c,d\r\n 1 ,+2,.5,007\r\n\r\n4,3,2,1", [[[1, 2, 0.5, 7], [4, 3, 2, 1]]]),
        (FREE, "a,b\n1,2\n", [[[1, 2]]]),
        (TEXTS, 'any\n"one, two"\n"say ""hi"""\n', [[["one, two"], ['say "hi"']]]),
        (FLAGS, "flag,word\nTrue,a\n0,b\n", [[["a"], ["b"]], [[True], [False]]]),
    ],
)  # fmt: skip
def test_cells_are_read_as_the_model_takes_them(entry: ModelEntry, body: str, rows: Any) -> None:
    assert read(body, entry) == rows
    assert read(b"\xef\xbb\xbf" + body.encode(), entry) == rows


def test_columns_are_matched_by_name_and_empty_cells_are_missing() -> None:
    body = 'income,"city",age\n1.5,Bern,31\n,,40\nNaN,NA,"22"\n'
    ages, cities, incomes = [[31], [40], [22]], [["Bern"], [None], ["NA"]], [[1.5], [None], [None]]
    assert sorted(map(str, read(body, COLUMNS))) == sorted(map(str, [ages, cities, incomes]))


def test_without_a_header_columns_go_by_place() -> None:
    assert read("1,2,3,4\n5,6,7,8\n", FOUR, "csv without header") == [[[1, 2, 3, 4], [5, 6, 7, 8]]]
    assert read("31,Bern,1.5\n", COLUMNS, "csv without header") == read("age,city,income\n31,Bern,1.5\n", COLUMNS)


@pytest.mark.parametrize(
    ("entry", "body", "kind", "said"),
    [
        (COLUMNS, "age,town\n1,x\n", SchemaMismatch,
         'columns: the columns "city", "income" are missing, and the model has no column "town".'),
        (FOUR, "a,b,c\n1,2,3\n", SchemaMismatch, "columns: there are 3, and the model takes 4."),
        (FOUR, "a,b,c,d\n1,2,3\n", BadFeatures, "row 0 has 3 values, and there are 4 columns."),
        (FOUR, "a,b,c,d\n", BadFeatures, "The body has no rows."),
        (FOUR, "", BadFeatures, "The body is empty: CSV begins with a line of the columns' names."),
        (FOUR, "a,b,c,d\n1,2,3,4\n1,2,x,4\n", BadFeatures, "row 1, column c: expected a number, got text."),
        (FOUR, "a,b,c,d\n1,2,,4\n", BadFeatures, "row 0, column c: expected a number, got nothing."),
        (FOUR, "a,b,c,d\n1,2,inf,4\n", BadFeatures, "row 0, column c: expected a number, got text."),
        (FOUR, "a,b,c,d\n1,2,1_0,4\n", BadFeatures, "row 0, column c: expected a number, got text."),
        (FLAGS, "word,flag\na,yes\n", BadFeatures, "row 0, column flag: expected a boolean, got text."),
        (IMAGE, "a\n1\n", BadFeatures, "The model's rows are no flat lists, which is all that CSV has: send JSON."),
        (TWO, "left,right\n1,2\n", BadFeatures,
         "The model's inputs have several values a row, which CSV has no form for: send JSON."),
        (FOUR, 'a,b,c,d\n1,2,3,"4\n', MalformedJson, "The body is not CSV: unexpected end of data."),
        (FOUR, b"a,b,c,d\n1,2,3,\xff\n", MalformedJson, "The body is not UTF-8 at byte 14."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(entry: ModelEntry, body: str, kind: type[AdapterError], said: str) -> None:
    error = refused(body, entry)
    assert (type(error), error.detail) == (kind, said)
