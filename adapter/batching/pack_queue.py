"""What waits for calls of a host: each model has its own line, and the models take turns.

A call takes from one model after the other what fits, the one first that had a turn the longest ago: whoever has much
waiting is ahead of nobody. Models that are far slower than their mates take turns with each other and not with these: a
call of theirs has one of them alone.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from operator import attrgetter
from typing import NamedTuple

from adapter.batching.pack_member import PackMember
from adapter.batching.queue import PendingRequest

_last_turn = attrgetter("last_turn")


class MemberBatch(NamedTuple):
    """One model's requests in a call."""

    member: PackMember
    items: list[PendingRequest]


class PackBatch(NamedTuple):
    """The requests of one call. `slow` says that they are of a slow model, in a call of its own."""

    parts: list[MemberBatch]
    slow: bool


class _Turns:
    """The models for which something waits, those first that had a turn the longest ago; so many `rows`, `requests`."""

    def __init__(self) -> None:
        self.members: list[PackMember] = []
        self.rows = 0
        self.requests = 0

    def enter(self, member: PackMember) -> None:
        insort(self.members, member, key=_last_turn)
        self.count(member.queue.rows, len(member.queue))

    def count(self, rows: int, requests: int) -> None:
        self.rows += rows
        self.requests += requests


class PackQueue:
    """Hold the requests of a pack's models that wait in one worker.

    `most_slow` is how many calls of slow models may be under way, and `slow_calls` how many are; whoever has had one
    back says so with `slow_ended`.
    """

    def __init__(self, most_slow: int) -> None:
        self.most_slow = most_slow
        self.slow_calls = 0
        self._turn = 0
        self._slow_next = False
        self._quick, self._slow = _Turns(), _Turns()
        # In which line a model stands now.
        self._turns_of: dict[PackMember, _Turns] = {}
        # Who wants to know when so many requests wait.
        self._awaited = 0
        self._reached: asyncio.Future[bool] | None = None

    def __len__(self) -> int:
        """Return how many requests wait that are not of slow models."""
        return self._quick.requests

    @property
    def rows(self) -> int:
        """How many rows wait that a call may take now."""
        slow = self._slow.rows
        return self._quick.rows + slow if slow and self._may_be_slow() else self._quick.rows

    @property
    def models(self) -> int:
        """How many models wait that are not slow."""
        return len(self._quick.members)

    @property
    def slow_waits(self) -> bool:
        """Whether a call of a slow model may be made."""
        return bool(self._slow.members) and self._may_be_slow()

    def has_room(self, member: PackMember, rows: int) -> bool:
        """Return whether a request of so many rows of a model may wait too, once those who are gone are dropped."""
        queue = member.queue
        before = queue.rows, len(queue)
        has_room = queue.has_room_without_gone(rows)
        if (turns := self._turns_of.get(member)) is not None:
            turns.count(queue.rows - before[0], len(queue) - before[1])
        return has_room

    def append(self, member: PackMember, item: PendingRequest) -> None:
        """Let a request of a model wait, and tell whoever wanted to know of so many."""
        member.queue.append(item)
        turns = self._turns_of.get(member)
        if turns is not None:
            turns.count(item.rows, 1)
        elif not member.pauses:
            self._enter(member)
        reached = self._reached
        if reached is not None and self._quick.requests >= self._awaited and not reached.done():
            reached.set_result(True)

    def reach(self, requests: int) -> asyncio.Future[bool]:
        """Return a future that is True as soon as one more has come and so many wait. The newest one alone counts."""
        self._awaited = requests
        self._reached = reached = asyncio.get_running_loop().create_future()
        return reached

    def pause(self, member: PackMember) -> None:
        """Let what a model is asked wait until it is resumed as often."""
        member.pauses += 1
        self._leave(member)

    def resume(self, member: PackMember) -> None:
        """Let a model that was paused take its turns again."""
        member.pauses -= 1
        if not member.pauses and len(member.queue):
            self._enter(member)

    def take(self, rows: int, models: int, loop_now: float, now: float) -> PackBatch:
        """Take the requests of the next call, of at most so many rows and models.

        `now` is what its requests' `taken_at` will say. There is none if nothing waits that may go now.
        """
        ways = (True, False) if self._slow_next else (False, True)
        for slow in ways:
            if slow and not self._may_be_slow():
                continue
            turns = self._slow if slow else self._quick
            parts = self._take(turns, 1 if slow else models, rows, loop_now, now)
            if parts:
                self._slow_next = not slow
                self.slow_calls += slow
                return PackBatch(parts, slow)
        return PackBatch([], False)

    def change_turns(self, member: PackMember) -> None:
        """Let a model take its turns with the others that are as slow, or as quick, as it was found to be."""
        if self._leave(member):
            self._enter(member)

    def slow_began(self) -> None:
        """Count a call of a slow model that was not taken from here."""
        self.slow_calls += 1

    def slow_ended(self) -> None:
        """Count a call of a slow model as over."""
        self.slow_calls -= 1

    def _take(self, turns: _Turns, most: int, rows: int, loop_now: float, now: float) -> list[MemberBatch]:
        parts: list[MemberBatch] = []
        taken = 0
        for _ in range(len(turns.members)):
            if taken >= rows or len(parts) >= most:
                break
            member = turns.members[0]
            queue = member.queue
            # A host that takes fewer rows than its member is about to be another one.
            room = rows - taken if parts else max(rows, member.entry.direct_max_rows)
            before = queue.rows, len(queue)
            items = queue.take(member.shedder, loop_now, now, rows - taken, room)
            if not items and len(queue):
                # The next one does not fit: it goes first in the next call, and nobody passes it.
                turns.count(queue.rows - before[0], len(queue) - before[1])
                break
            del turns.members[0]
            self._turn += 1
            member.last_turn = self._turn
            turns.count(-before[0], -before[1])
            del self._turns_of[member]
            if len(queue):
                self._enter(member)
            if items:
                taken += sum([item.rows for item in items])
                parts.append(MemberBatch(member, items))
        return parts

    def _enter(self, member: PackMember) -> None:
        turns = self._turns_of[member] = self._slow if member.slow else self._quick
        turns.enter(member)

    def _leave(self, member: PackMember) -> bool:
        """Take a model's turns away, and return whether it had any."""
        turns = self._turns_of.pop(member, None)
        if turns is None:
            return False
        turns.members.remove(member)
        turns.count(-member.queue.rows, -len(member.queue))
        return True

    def _may_be_slow(self) -> bool:
        return self.slow_calls < self.most_slow
