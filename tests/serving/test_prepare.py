"""A version that is brought up beside what serves, on a real Triton."""

from __future__ import annotations

import pytest

from modelyard.serving.settings import ServingSettings
from modelyard.serving.switch import SwitchError

from .lines import PNG, WARM_UP, answer, answers_of, box, line_states, serve_each

pytestmark = pytest.mark.triton


async def test_a_prepared_version_answers_beside_the_serving_one_and_survives_ensure(
    switcher, triton, models
):
    await serve_each(switcher, models, 1)
    first = models.constant("v1", box(1))

    generation = await switcher.prepare(2, *models.constant("v2", box(2)), ServingSettings())
    again = await switcher.ensure(1, *first, ServingSettings())

    assert not again.changed
    assert switcher.prepared == generation
    assert await answer(triton, switcher.line) == ("1", 1)
    beside = await triton.infer_image(generation.name, PNG, prove=True)
    assert round(float(beside.outputs["boxes"][0][0])) == 2


async def test_switching_to_what_was_prepared_loads_nothing(switcher, triton, models):
    await serve_each(switcher, models, 1)
    second = models.constant("v2", box(2))
    generation = await switcher.prepare(2, *second, ServingSettings())
    network = generation.pipeline if switcher.one_step else generation.network
    assert await answers_of(triton, network, WARM_UP) == WARM_UP

    swap = await switcher.ensure(2, *second, ServingSettings())

    assert (swap.load_seconds, swap.warmup_seconds) == (0, 0)
    assert await answer(triton, switcher.line) == ("2", 2)
    assert switcher.prepared is None
    assert {g.version for g in switcher._repository.generations()} == {2}
    # Its counters went on: the same instance.
    assert await answers_of(triton, network, WARM_UP + 1) == WARM_UP + 1


async def test_a_released_version_is_gone_and_the_serving_one_stays(switcher, triton, models):
    await serve_each(switcher, models, 1)
    before = await line_states(triton, switcher.line)
    await switcher.prepare(2, *models.constant("v2", box(2)), ServingSettings())

    await switcher.release()
    await switcher.release()

    assert switcher.prepared is None
    assert await line_states(triton, switcher.line) == before
    assert {g.version for g in switcher._repository.generations()} == {1}


async def test_only_one_version_is_prepared_at_a_time(switcher, triton, models):
    await serve_each(switcher, models, 1)
    await switcher.prepare(2, *models.constant("v2", box(2)), ServingSettings())

    third = await switcher.prepare(3, *models.constant("v3", box(3)), ServingSettings())

    assert switcher.prepared == third
    assert {g.version for g in switcher._repository.generations()} == {1, 3}
    assert not [n for n in await line_states(triton, switcher.line) if "-2-" in n]


async def test_preparing_what_serves_changes_nothing(switcher, triton, models):
    await serve_each(switcher, models, 1)
    serving = (await switcher.serving()).generation

    generation = await switcher.prepare(1, *models.constant("v1", box(1)), ServingSettings())
    await switcher.release()

    assert generation == serving
    assert await answer(triton, switcher.line) == ("1", 1)


async def test_a_version_that_cannot_be_prepared_leaves_nothing(switcher, triton, models):
    await serve_each(switcher, models, 1)
    before = await line_states(triton, switcher.line)

    with pytest.raises(SwitchError, match="version 1 keeps serving"):
        await switcher.prepare(2, *models.broken("v2"), ServingSettings())

    assert switcher.prepared is None
    assert await line_states(triton, switcher.line) == before


async def test_a_restarted_agent_finds_what_was_prepared(switcher, triton, models):
    await serve_each(switcher, models, 1)
    second = models.constant("v2", box(2))
    generation = await switcher.prepare(2, *second, ServingSettings())

    other = switcher.restarted()
    recovered = await other.recover()

    assert not recovered.changed
    assert other.prepared == generation
    assert (await other.ensure(2, *second, ServingSettings())).load_seconds == 0


async def test_a_restarted_triton_loads_a_prepared_version_when_asked_again(
    own_server, own_switcher, own_triton, models
):
    switcher, triton = own_switcher, own_triton
    await serve_each(switcher, models, 1)
    second = models.constant("v2", box(2))
    generation = await switcher.prepare(2, *second, ServingSettings())
    await own_server.crash()
    await switcher.recover()

    assert await switcher.prepare(2, *second, ServingSettings()) == generation

    beside = await triton.infer_image(generation.name, PNG, prove=True)
    assert beside.outputs["labels"].tolist() == ["dog"]
    assert await answer(triton, switcher.line) == ("1", 1)
