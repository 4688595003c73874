"""A measurement goes from an evaluation's summary into the ledger."""

from __future__ import annotations

import json
import sys

import pytest

import add_record
from ledger import read_records


@pytest.fixture
def add(tmp_path, monkeypatch):
    for seed, value in ((0, 0.4), (1, 0.6)):
        document = {"section": "test", "datalist": {"name": "Simulated scans", "sha256": "a1" * 32}, "patients": 3}
        document |= {"images": 6, "dice_pooled": value, "weights_sha256": f"{seed}b" * 32}
        (tmp_path / f"{seed}.json").write_text(json.dumps(document))

    def run(*arguments: str) -> int:
        common = ["--id", "a_run", "--network", "unet", "--hours", "0.5", "--command", "x", "--commit", "0123456"]
        ledger = ["--ledger", str(tmp_path / "ledger")]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["add_record.py", *arguments, *common, *ledger])
        return add_record.main()

    return run


def test_two_seeds_become_one_record(add, tmp_path):
    row = "spect_msa_net_segmentation/table5_row1"
    more = ["--recipe", "bone_scan_200", "--epochs", "3", "--deviation", "narrow"]
    assert add("0.json", "1.json", "--seed", "0", "--seed", "1", "--row", row, *more) == 0
    (record,) = read_records(tmp_path / "ledger")
    assert record["metrics"]["dice_pooled"] == {"value": 0.5, "sd": 0.141421, "values": [0.4, 0.6]}
    assert record["rows"] == [row] and record["seeds"] == [0, 1] and record["epochs"] == 3
    assert record["data"]["kind"] == "simulated" and record["data"]["recipe"] == "bone_scan_200"
    assert record["status"] == "substitute-data" and record["deviations"] == ["narrow"]
    assert "bundle" not in record and record["hardware"]["cores"] >= 1


def test_mistakes_are_one_line(add, tmp_path, capsys):
    assert add("0.json", "1.json", "--seed", "0") == 2
    assert add("0.json", "--seed", "0", "--row", "table5_row1") == 2
    assert add("none.json", "--seed", "0") == 2
    messages = capsys.readouterr().err.splitlines()
    assert len(messages) == 3
    assert "2 summaries but 1 seeds" in messages[0] and "rows.0" in messages[1] and "none.json" in messages[2]
    assert not (tmp_path / "ledger").exists()
