"""Two trainings with one seed."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.contract.result import TrainResult
from modelyard.contract.run import StoreLocation
from modelyard.store import Store

from .conftest import Digits

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]


def numbers(runner: Digits, digest: str) -> dict[str, Any]:
    """The tensors of a weights file."""
    import torch

    path = runner.folder / f"{digest[-12:]}.pt"
    Store.open(StoreLocation(**runner.store)).get_file(digest, path)
    state: dict[str, Any] = torch.load(path, "cpu", weights_only=False)["model"].state_dict()
    return state


def test_equal_seeds_give_equal_weights_and_another_seed_does_not(
    runner: Digits, figure: Any
) -> None:
    found = []
    for key, seed in (("first", 3), ("second", 3), ("other", 4)):
        settings = {"epochs": 2, "seed": seed, "fraction": 0.5}
        result = runner.run("train", runner.training(key, hyperparameters=settings)).of(TrainResult)
        assert result is not None
        found.append((numbers(runner, result.weights_digest), [e.losses for e in runner.epochs()]))
    (first, one), (second, two), (third, other) = found
    differing = [name for name in first if not first[name].equal(second[name])]
    figure(losses=[one, two, other], tensors=len(first), differing=len(differing))
    assert one == two
    assert not differing
    assert one != other
    assert any(not first[name].equal(third[name]) for name in first)
