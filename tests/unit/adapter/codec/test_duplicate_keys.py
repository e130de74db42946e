"""Keys that stand twice, against a slow reader of every object."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.codec import duplicate_keys
from adapter.codec.codec import Codec
from adapter.errors import BadFeatures, MalformedJson
from tests.support.fakes.entries import make_entry

ONE = Codec(make_entry()).request
TWO = Codec(make_entry(inputs=(("a", "float32", (2,)), ("b", "string", (1,))))).request
TEXT = Codec(make_entry(inputs=(("x", "string", (1,)),))).request
PARSERS = {"one": ONE, "two": TWO, "text": TEXT}


def has_duplicates(body: bytes) -> bool:
    """By reading all of it."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        keys = [key for key, _ in pairs]
        found = found or len(keys) != len(set(keys))

    json.loads(body, object_pairs_hook=look, parse_int=str)
    return found


def spelled(key: str, escaped: bool) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" for c in key) + '"' if escaped else json.dumps(key)


KEYS = st.sampled_from(["features", "a", "b", "x", ":", '"', "\\", 'a":1,"a', "é", "{", ""])
STRINGS = st.text(st.sampled_from(list(':"\\{}[],aé\n')), max_size=6)


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds(lambda key, odd, value: f"{spelled(key, odd)} : {value}", KEYS, st.booleans(), values)
    return st.lists(member, max_size=4).map(lambda members: "{" + ", ".join(members) + "}")


VALUES = st.recursive(
    st.sampled_from(["1", "-2.5e3", "null", "true"]) | STRINGS.map(json.dumps),
    lambda inner: objects(inner) | st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
    max_leaves=12,
)
FEATURES = {
    "one": st.just("[[1, 2, 3, 4]]"),
    "two": st.builds(
        lambda text, more: '{"a": [[1, 2]], "b": [[' + text + "]]" + more + "}",
        STRINGS.map(json.dumps),
        st.lists(st.builds(lambda k, o, v: f",{spelled(k, o)}:{v}", KEYS, st.booleans(), VALUES), max_size=2).map(
            "".join
        ),
    ),
    "text": STRINGS.map(lambda text: f"[[{json.dumps(text)}]]"),
}


@pytest.mark.parametrize("kind", PARSERS)
@given(data=st.data())
def test_exactly_the_bodies_with_a_key_twice_are_malformed(kind: str, data: st.DataObject) -> None:
    members = st.lists(st.builds(lambda k, o, v: f"{spelled(k, o)}:{v}", KEYS, st.booleans(), VALUES), max_size=3)
    more, features = data.draw(members), data.draw(FEATURES[kind])
    place = data.draw(st.integers(0, len(more)))
    text = ", ".join([*more[:place], f"{spelled('features', data.draw(st.booleans()))}: {features}", *more[place:]])
    body = ("{" + text + "}").encode()
    try:
        PARSERS[kind].parse(body)
        refused = None
    except (BadFeatures, MalformedJson) as error:
        refused = error
    if has_duplicates(body):
        assert isinstance(refused, MalformedJson)
        assert "twice in an object" in refused.detail
    else:
        assert not isinstance(refused, MalformedJson)


@given(VALUES)
def test_keys_are_counted_exactly(text: str) -> None:
    body = text.encode()
    count = 0

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal count
        count += len(pairs)

    json.loads(body, object_pairs_hook=look)
    assert not duplicate_keys.may_have_more(body, count)
    assert count == 0 or duplicate_keys.may_have_more(body, count - 1)


@pytest.mark.parametrize(
    "kind, body",
    [
        ("one", '{"features": [[1,2,3,4]], "features": [[1,2,3,4]]}'),
        ("one", '{"features": [[1,2,3,4]], "\\u0066eatures": [[1,2,3,4]]}'),
        ("one", '{"features": "x", "features": [[1,2,3,4]]}'),
        ("one", '{"features": [1,2,3,4], "features": [1,2,3,4]}'),
        ("one", '{"x": {"y": [{"k": 1, "k": 1}]}, "features": [[1,2,3,4]]}'),
        ("two", '{"features": {"a": [[1,2]], "a": [[1,2]], "b": [["x"]]}}'),
        ("two", '{"features": {"a": [[1,2]], "b": [["x"]], "\\u0062": [["y"]]}}'),
        ("text", '{"features": [["a"]], "features": [["b"]]}'),
    ],
)
def test_duplicates_are_named(kind: str, body: str) -> None:
    with pytest.raises(MalformedJson, match=r'The body has the key "(features|k|a|b)" twice in an object\.'):
        PARSERS[kind].parse(body.encode())


@pytest.mark.parametrize("text", ["::::", '"features":[["x"]],"features":', "http://a:1/b", "\\"])
def test_strings_that_look_like_keys_are_none(text: str) -> None:
    assert TEXT.parse(json.dumps({"features": [[text]]}).encode()) == ([[text]],)


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud800\\u0041", "\\udc00\\ud800", "\\ud800x"])
def test_lone_surrogates_are_malformed_wherever_they_stand(escape: str) -> None:
    for body in (f'{{"features": [["{escape}"]]}}', f'{{"x": "{escape}", "features": [["a"]]}}',
                 f'{{"x": 1, "{escape}": 1, "features": [["a"]]}}'):  # fmt: skip
        with pytest.raises(MalformedJson):
            TEXT.parse(body.encode())


@pytest.mark.parametrize("value", ["1e999", "1" * 5000, "NaN", "01", '"\\q"', "[" * 100_000])
def test_what_is_passed_over_must_be_json_too(value: str) -> None:
    with pytest.raises(MalformedJson):
        ONE.parse(f'{{"features": [[1,2,3,4]], "x": {value}}}'.encode())


def test_plain_bodies_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicate_keys, "check", None)
    monkeypatch.setattr(duplicate_keys, "may_have_more", None)
    assert ONE.parse(b'{"features": [[1,2,3,4]]}') == ([[1.0, 2.0, 3.0, 4.0]],)
    assert len(TWO.parse(msgspec.json.encode({"features": {"a": [[1, 2]], "b": [["x"]]}}))) == 2
