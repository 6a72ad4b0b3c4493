"""The queue: no key twice, none at two workers, none lost."""

from __future__ import annotations

import asyncio
import contextlib
import random

from modelyard.core.plan import Key
from modelyard.runtime.queue import DEFERRED_SECONDS, NORMAL_SECONDS, KeyedQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def key(name: str) -> Key:
    return Key("Dataset", "ns", name)


async def fake() -> tuple[KeyedQueue, Clock]:
    clock = Clock()
    return KeyedQueue(clock), clock


async def test_a_key_is_queued_once_at_its_earliest_time() -> None:
    queue, clock = await fake()
    queue.add(key("a"), 10)
    queue.add(key("a"), 5)
    queue.add(key("a"), 20)
    assert len(queue) == 1
    assert queue.pop() is None
    clock.now += 5
    assert queue.pop() == key("a")
    assert queue.pop() is None


async def test_keys_come_in_the_order_in_which_they_are_due() -> None:
    queue, clock = await fake()
    queue.add(key("late"), 3)
    queue.add(key("a"))
    queue.add(key("b"))
    clock.now += 5
    assert [queue.pop() for _ in range(3)] == [key("a"), key("b"), key("late")]


async def test_urgent_keys_go_first_but_others_do_not_wait_for_ever() -> None:
    queue, clock = await fake()
    queue.add(key("consequence"))
    clock.now += 0.1
    queue.add(key("wish"), urgent=True)
    assert queue.pop() == key("wish")
    clock.now += NORMAL_SECONDS
    queue.add(key("new wish"), urgent=True)
    assert [queue.pop(), queue.pop()] == [key("consequence"), key("new wish")]


async def test_the_status_of_an_object_that_got_its_children_comes_last() -> None:
    queue, clock = await fake()
    queue.add(key("parent"))
    queue.pop()
    queue.add(key("parent"))  # Its child is there.
    queue.defer(key("parent"))
    queue.done(key("parent"))
    clock.now += NORMAL_SECONDS
    queue.add(key("consequence"))
    queue.add(key("wish"), urgent=True)
    assert [queue.pop() for _ in range(3)] == [key("wish"), key("consequence"), key("parent")]
    assert queue.pop() is None


async def test_a_deferred_status_does_not_wait_for_ever() -> None:
    queue, clock = await fake()
    queue.add(key("parent"))
    queue.pop()
    queue.defer(key("parent"))
    queue.done(key("parent"))
    clock.now += DEFERRED_SECONDS
    queue.add(key("wish"), urgent=True)
    assert queue.pop() == key("parent")


async def test_a_deferred_key_comes_at_once_where_nothing_else_is_due() -> None:
    queue, _ = await fake()
    queue.add(key("parent"))
    queue.pop()
    queue.defer(key("parent"))
    queue.done(key("parent"))
    assert queue.pop() == key("parent")


async def test_a_deferred_key_can_become_urgent() -> None:
    queue, _ = await fake()
    queue.add(key("parent"))
    queue.pop()
    queue.defer(key("parent"))
    queue.done(key("parent"))
    queue.add(key("consequence"))
    queue.add(key("parent"), urgent=True)
    assert queue.pop() == key("parent")


async def test_a_queued_key_can_become_urgent() -> None:
    queue, _ = await fake()
    queue.add(key("first"))
    queue.add(key("second"))
    queue.add(key("second"), urgent=True)
    assert [queue.pop() for _ in range(3)] == [key("second"), key("first"), None]


async def test_a_key_that_becomes_urgent_while_worked_on_stays_so() -> None:
    queue, _ = await fake()
    queue.add(key("a"))
    queue.pop()
    queue.add(key("a"), urgent=True)
    queue.add(key("b"))
    queue.done(key("a"))
    assert queue.pop() == key("a")


async def test_a_key_added_while_worked_on_comes_again_afterwards() -> None:
    queue, _ = await fake()
    queue.add(key("a"))
    assert queue.pop() == key("a")
    queue.add(key("a"))
    queue.add(key("a"))
    assert queue.pop() is None, "two workers must never have the same key"
    queue.done(key("a"))
    assert queue.pop() == key("a")
    queue.done(key("a"))
    assert queue.pop() is None


async def test_a_key_that_backs_off_is_not_due_earlier_whatever_adds_it() -> None:
    queue, clock = await fake()
    queue.add(key("a"))
    queue.pop()
    queue.back_off(key("a"), 30)
    queue.done(key("a"))
    queue.add(key("a"))
    clock.now += 29
    assert queue.pop() is None
    clock.now += 2
    assert queue.pop() == key("a")


async def test_a_released_key_comes_at_once() -> None:
    queue, _ = await fake()
    queue.back_off(key("a"), 30)
    queue.release(key("a"))
    queue.add(key("a"))
    assert queue.pop() == key("a")
    assert queue.pop() is None


async def test_a_closed_queue_hands_out_nothing() -> None:
    queue, _ = await fake()
    queue.add(key("a"))
    queue.add(key("b"))
    assert queue.pop() == key("a")
    queue.close()
    queue.add(key("a"))
    queue.done(key("a"))
    assert queue.pop() is None
    await queue.idle()


async def test_oldest_is_the_age_of_due_work_only() -> None:
    queue, clock = await fake()
    queue.add(key("a"), 10)
    assert queue.oldest() == 0
    clock.now += 25
    assert queue.oldest() == 15
    assert queue.due() == 1
    queue.pop()
    assert queue.oldest() == 0


async def test_workers_get_every_key_and_never_the_same_at_once() -> None:
    queue = KeyedQueue()
    keys = [key(str(n)) for n in range(200)]
    seen: dict[Key, int] = {}
    working: set[Key] = set()
    rng = random.Random(7)

    async def worker() -> None:
        while True:
            got = await queue.get()
            assert got not in working
            working.add(got)
            await asyncio.sleep(rng.random() / 1000)
            seen[got] = seen.get(got, 0) + 1
            working.discard(got)
            queue.done(got)

    workers = [asyncio.create_task(worker()) for _ in range(8)]
    for one in keys:
        queue.add(one, rng.random() / 20)
        if rng.random() < 0.5:
            queue.add(rng.choice(keys))
    async with asyncio.timeout(10):
        while len(seen) < len(keys) or len(queue):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await queue.idle()
    for one in workers:
        one.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await one


async def test_a_cancelled_waiter_does_not_swallow_a_wake_up() -> None:
    queue = KeyedQueue()
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(key("a"))
    first.cancel()
    async with asyncio.timeout(2):
        assert await second == key("a")


async def test_a_delayed_key_wakes_its_waiter() -> None:
    queue = KeyedQueue()
    queue.add(key("slow"), 30)
    waiter = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(key("soon"), 0.02)
    async with asyncio.timeout(2):
        assert await waiter == key("soon")


async def test_keys_that_workers_have_are_counted_until_they_are_done() -> None:
    queue, _ = await fake()
    queue.add(key("a"))
    assert queue.working() == 0

    assert await queue.get() == key("a")
    assert (queue.due(), queue.working()) == (0, 1)

    queue.done(key("a"))
    assert queue.working() == 0
