from __future__ import annotations

import logging

import pytest
from monai.handlers import ValidationHandler

from bonemets.handlers import EpochLog


def test_one_line_per_epoch(trainer, evaluator, network, caplog: pytest.LogCaptureFixture) -> None:
    log = EpochLog()
    engine = trainer(network, 3, [ValidationHandler(2, evaluator(network, [log])), log])
    with caplog.at_level(logging.INFO, logger="bonemets"):
        engine.run()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("bonemets")]
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    # Validation takes place every second epoch; an old value is not repeated.
    assert ["error" in line for line in lines] == [False, True, False]
    assert all("left)" in line for line in lines)
