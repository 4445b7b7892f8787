"""Slots: granted in turn, in one go, the urgent first."""

import asyncio

import pytest

from jtd_worker.slots import Slots


async def test_slots_given_back_one_by_one_make_one_grant() -> None:
    slots = Slots(4)
    assert await slots.take(10) == 4
    waiting = asyncio.create_task(slots.take(10))
    await asyncio.sleep(0)
    for _ in range(3):
        slots.give(1)
    assert await waiting == 3


async def test_who_waits_is_served_in_turn_and_the_urgent_first() -> None:
    slots, order = Slots(1), []
    await slots.take(1)

    async def take(name: str, *, is_urgent: bool = False) -> None:
        assert await slots.take(5, is_urgent=is_urgent) == 1
        order.append(name)
        slots.give(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(take("first"))
        group.create_task(take("second"))
        group.create_task(take("urgent", is_urgent=True))
        await asyncio.sleep(0)
        slots.give(1)
    assert order == ["urgent", "first", "second"]


async def test_a_cancelled_taker_takes_nothing() -> None:
    slots = Slots(1)
    await slots.take(1)
    waiting = asyncio.create_task(slots.take(1))
    await asyncio.sleep(0)
    slots.give(1)
    await asyncio.sleep(0)  # granted, and not yet told
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await slots.take(1) == 1
