"""Calls of a host: the rows of several models go there as one call, and come back as each request's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapter import errors
from adapter.backend.error_mapping import translate
from adapter.backend.host_client import HostClient, answer_of, read_answer
from adapter.backend.protocol import Arrays
from adapter.batching.pack_member import PackMember
from adapter.codec.decode import Features
from adapter.codec.encode import Texts
from adapter.request_timings import RequestTimings
from converter.schema.manifest import ModelEntry
from converter.schema.packs.envelope import LOADING, OK, Part

# From the host's microseconds.
_SECONDS = 1e-6


class MemberRows(NamedTuple):
    """The rows of some requests of one model, how many each has, and what it is to know of the call."""

    member: PackMember
    features: Sequence[Features]
    rows: Sequence[int]
    timings: Sequence[RequestTimings]


class MemberAnswer(NamedTuple):
    """What became of one model's part: its requests' answers, or the error of them all. With neither it is loading.

    `seconds` is what the model took, 0 if that is not known.
    """

    results: Sequence[Texts | errors.BadModelOutput] = ()
    error: errors.AdapterError | None = None
    seconds: float = 0.0


_IS_LOADING = MemberAnswer()


class PackCalls:
    """Call hosts for the models that are in them."""

    def __init__(self, client: HostClient) -> None:
        self._client = client

    async def infer_alone(
        self, host: ModelEntry, member: PackMember, features: Features, deadline: float, timings: RequestTimings
    ) -> tuple[Texts, float] | None:
        """Return the answer to one request in a call of its own, and what the model took; None if it is loading.

        Raises: AdapterError, which says whatever became of the call, or of the request in it.
        """
        rows = len(features[0])
        pieces = member.form.write(member.to_arrays((features,)))
        trace = timings.trace
        if trace is None:
            outputs = await self._client.send(host, pieces, 1, deadline)
        else:
            with trace.call([trace], host.direct, rows):
                outputs = await self._client.send(host, pieces, 1, deadline)
        results, error, seconds = _read_only(member, (rows,), (timings,), outputs)
        if error is not None:
            raise error
        if not results:
            return None
        (texts,) = results
        if isinstance(texts, errors.BadModelOutput):
            raise texts
        return texts, seconds

    async def infer(self, host: ModelEntry, parts: Sequence[MemberRows], deadline: float) -> list[MemberAnswer]:
        """Return what became of each part by `deadline`, a time of the running loop.

        Raises: AdapterError, which says whatever became of the call as a whole.
        """
        pieces: list[bytes] = []
        sent: list[MemberRows] = []
        refused: dict[int, MemberAnswer] = {}
        for i, part in enumerate(parts):
            member = part.member
            try:
                pieces += member.form.write(member.to_arrays(part.features))
                sent.append(part)
            except errors.BadFeatures as error:
                refused[i] = MemberAnswer(error=error)
        answers = await self._call(host, sent, pieces, deadline) if sent else []
        # In the order of places, so that each is right when its turn comes.
        for i, answer in refused.items():
            answers.insert(i, answer)
        return answers

    async def _call(
        self, host: ModelEntry, sent: Sequence[MemberRows], pieces: list[bytes], deadline: float
    ) -> list[MemberAnswer]:
        trace = sent[0].timings[0].trace
        if trace is None:
            outputs = await self._client.send(host, pieces, len(sent), deadline)
        else:
            joined = [item.trace for part in sent for item in part.timings if item.trace is not None]
            with trace.call(joined, host.direct, sum([sum(part.rows) for part in sent])):
                outputs = await self._client.send(host, pieces, len(sent), deadline)
        if len(sent) == 1:
            member, _, rows, each = sent[0]
            return [_read_only(member, rows, each, outputs)]
        answers = read_answer(outputs, len(sent))
        return [_read(part.member, part.rows, part.timings, answer) for part, answer in zip(sent, answers, strict=True)]


def _read_only(
    member: PackMember, rows: Sequence[int], timings: Sequence[RequestTimings], outputs: Arrays
) -> MemberAnswer:
    """Read the answer to a call of one part."""
    known = member.form.read_lone(answer_of(outputs), sum(rows))
    if known is None:
        return _read(member, rows, timings, read_answer(outputs, 1)[0])
    try:
        return MemberAnswer(member.write(known[0], rows, timings), None, known[1] * _SECONDS)
    except errors.BadModelOutput as error:
        return MemberAnswer(error=error, seconds=known[1] * _SECONDS)


def _read(member: PackMember, rows: Sequence[int], timings: Sequence[RequestTimings], answer: Part) -> MemberAnswer:
    if answer.kind == LOADING:
        return _IS_LOADING
    seconds = answer.number * _SECONDS
    if answer.kind != OK:
        return MemberAnswer(error=translate(None, answer.text.decode(errors="replace")), seconds=seconds)
    try:
        outputs = member.form.read(answer)
        member.codec.answer.check_shapes(outputs, sum(rows))
        return MemberAnswer(member.write(outputs, rows, timings), None, seconds)
    except errors.BadModelOutput as error:
        return MemberAnswer(error=error, seconds=seconds)
    except (ValueError, KeyError) as error:
        wrong = errors.BadModelOutput("The model's answer is not what its config promises.", str(error))
        return MemberAnswer(error=wrong, seconds=seconds)
