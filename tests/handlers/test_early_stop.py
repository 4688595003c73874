from __future__ import annotations

from types import SimpleNamespace

import pytest

from bonemets.handlers import EarlyStop


@pytest.mark.parametrize(("best", "last"), [(1, 4), (3, 6), (6, 8)])
def test_stops_after_patience(trainer, network, best: int, last: int) -> None:
    engine = trainer(network, 8, [EarlyStop(SimpleNamespace(epoch=best), patience=3)])
    engine.run()
    assert engine.state.epoch == last


def test_stays_stopped_when_resumed(trainer, network) -> None:
    engine = trainer(network, 8, [EarlyStop(SimpleNamespace(epoch=1), patience=3)])
    engine.state.epoch, engine.state.iteration = 4, 12
    engine.run()
    assert engine.state.epoch == 4


def test_patience_is_checked() -> None:
    with pytest.raises(ValueError, match="patience"):
        EarlyStop(SimpleNamespace(epoch=0), patience=0)
