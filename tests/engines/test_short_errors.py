"""What MONAI's command line says about mistakes: real processes, forked from one that has imported MONAI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

DRIVER = """
import inspect, json, os, runpy, sys
import fire, monai.bundle
import bonemets.data, bonemets.networks.nets

inspect.stack()  # takes a second, once
assert "bonemets.bundle.short_errors" not in sys.modules
for case in json.load(sys.stdin):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(case["log"], os.O_WRONLY | os.O_CREAT), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.environ |= case["environment"]
        sys.argv = [case["module"], *case["arguments"]]
        runpy.run_module(case["module"], run_name="__main__", alter_sys=True)
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Case(NamedTuple):
    overlay: str = ""
    arguments: tuple[str, ...] = ()
    says: str = ""
    module: str = "monai.bundle"
    files: tuple[str, ...] = ()
    environment: dict[str, str] = {}


TRAIN = """
imports:
- $import json
- $import torch
- $from bonemets.data import load_datalist
- $import bonemets.bundle.short_errors
epochs: 2
dataset_dir: nowhere
network_def: {_target_: torch.nn.Linear, in_features: 1, out_features: '@epochs'}
network: $@network_def.eval()
train:
  handlers: []
  # Not named by anything, and not run here.
  trainer: {_target_: SupervisedEvaluator, device: cpu, val_data_loader: [], network: '@network'}
  metrics: {dice: 1}
initialize: ['$torch.manual_seed(0)']
training: &training ['$print(@network, @train::handlers, @train::metrics)']
run: *training
"""
LOAD = """
evaluator: {_target_: SupervisedEvaluator, device: cpu, val_data_loader: [], network: '@network'}
loader: {_target_: CheckpointLoader, load_path: weights.pt, load_dict: {model: '@network'}}
run: [$@loader(@evaluator)]
"""
INFERENCE = """
imports: [$import bonemets.bundle.short_errors, $from bonemets.bundle.scans import find_scans]
dataset_dir: nowhere
run: ["$print(find_scans(@dataset_dir, '*'))"]
"""
DATA = "run: [$print(@data)]\ndata: $load_datalist(@dataset_dir + '/datalist.json')"

CASES = {
    "setting": Case("", ("--epoch", "3"), "there is no setting --epoch; did you mean 'epochs'?"),
    "setting of an overlay": Case("", ("--patience", "9"), "stop.yaml has it: add that file to --config_file"),
    "key": Case("epoch: 3", (), "OVERLAY: nothing uses 'epoch'; did you mean 'epochs'?"),
    "list": Case("+train::handlrs: []", (), "OVERLAY: there is no 'train::handlrs' to add to; did you mean 'handlers"),
    "nested setting": Case("", ("--train::handlrs", "[]"), "nothing uses --train::handlrs; did you mean 'handlers'?"),
    "argument as a setting": Case(
        "", ("--train::trainer::epoch_lenght", "3"), "nothing uses --train::trainer::epoch_lenght; did you mean "
        "'epoch_length'?"
    ),
    "argument, as MONAI wrote it once": Case(
        "", ("--train#trainer#devise", "cpu"), "nothing uses --train#trainer#devise; did you mean 'device'?"
    ),
    "argument in an overlay": Case(
        "network_def::in_feature: 1", (), "OVERLAY: nothing uses 'network_def::in_feature'; did you mean 'in_features'?"
    ),
    "nested key": Case("train::handlrs: []", (), "OVERLAY: nothing uses 'train::handlrs'; did you mean 'handlers'?"),
    "run id": Case("", ("--run_id", "trainin"), "there is no run id 'trainin'; did you mean 'training'?"),
    "reference": Case(
        "network: $@network_deff.eval()", (), "network (in OVERLAY) refers to '@network_deff', which is not defined; "
        "did you mean 'network_def'?"
    ),
    "argument": Case(
        "network_def: {_target_: torch.nn.Linear, in_feature: 1, out_features: 2}", (), "network_def (in OVERLAY): "
        "torch.nn.Linear has no argument 'in_feature'; did you mean 'in_features'?"
    ),
    "value": Case(
        "", ("--epochs", "-1"), "network_def (in FOLDER/train.yaml): torch.nn.Linear: RuntimeError: Trying to create "
        "tensor with negative dimension"
    ),
    "target": Case(
        "network_def: {_target_: bonemets.networks.nets.UNets}", (),
        "network_def (in OVERLAY): there is no class or function 'bonemets.networks.nets.UNets'; did you mean 'UNet'?",
    ),
    "target of MONAI": Case("network: {_target_: DynUNett}", (), "'DynUNett'; did you mean 'DynUNet'?"),
    "expression": Case("network: $torch.nn.Flat()", (), "network (in OVERLAY): '$torch.nn.Flat()': AttributeError: "),
    "run": Case("run: ['$json.load_s(1)']", (), "run::0 (in OVERLAY): '$json.load_s(1)': AttributeError"),
    "datalist": Case(DATA, (), "nowhere/datalist.json: cannot be read (No such file"),
    "no weights": Case(LOAD, (), "weights.pt: there is no such weights file; train first, or name one"),
    "other weights": Case(LOAD + "loader::load_path: other.pt", (), "other.pt does not fit the network of this"),
    "scans": Case("", (), "nowhere: there is no such folder; set", files=("inference",)),
    "setting of inference": Case("", ("--datset_dir", "."), "no setting --datset_dir; did", files=("inference",)),
    # What MONAI stumbles over before it reads the bundle's imports.
    "no file": Case("", (), "trian.yaml: there is no such file; did you mean 'train.yaml'?",
                    "bonemets.bundle", ("train", "trian")),
    "not YAML": Case("network: [1, 2", (), "OVERLAY, line 2, column 1: expected ',' or ']'", "bonemets.bundle"),
    "section": Case("trian::epochs: 1", (), "OVERLAY: cannot set 'trian::epochs': there is no 'trian'",
                    "bonemets.bundle"),
    "section of a setting": Case("", ("--trian::epochs", "1"), "the command line: cannot set 'trian::epochs'",
                              "bonemets.bundle"),
    "end of an id": Case("", ("--trainer::device", "cpu"), "the command line: cannot set 'trainer::device': there is no"
                         " 'trainer'; did you mean 'train::trainer::device'?", "bonemets.bundle"),
    "setting, our command": Case("", ("--epoch", "3"), "there is no setting --epoch; did you mean", "bonemets.bundle"),
}  # fmt: skip

TRACEBACKS = {
    "asked for": Case("", ("--epoch", "3", "--epochs", "-1"), environment={"BONEMETS_TRACEBACK": "1"}),
    # A defect while the bundle runs is not a mistake in its configuration.
    "of a defect": Case("run: ['$json.loads(chr(123))']"),
}
# A setting of an overlay, an argument that is left out, part of what is used as a whole, a new id with a use.
SOUND = Case(
    "run: [$print(@epochs + @mine + @train::more)]\nmine: 3\ntrain::more: 1\ntrain::metrics::recall: 2",
    ("--epochs", "@mine", "--network_def::bias", "False", "--train::trainer::epoch_length", "1"),
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, tuple[int, str]]:
    """Case → exit status and standard error."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, text in {"train": TRAIN, "inference": INFERENCE, "stop": "patience: 3"}.items():
        (folder / f"{name}.yaml").write_text(text)
    (folder / "metadata.json").write_text("{}")
    torch.save(torch.nn.Linear(3, 4).state_dict(), folder / "other.pt")
    cases = {**CASES, **TRACEBACKS, "sound": SOUND}
    jobs = []
    for number, case in enumerate(cases.values()):
        files = [str(folder / f"{name}.yaml") for name in case.files or ("train",)]
        if case.overlay:
            files.append(str(folder / f"overlay_{number}.yaml"))
            Path(files[-1]).write_text(case.overlay + "\n")
        arguments = ["run", "--config_file", str(files), *case.arguments]
        log = str(folder / f"{number}.log")
        jobs.append({"module": case.module, "arguments": arguments, "environment": case.environment, "log": log})
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER], input=json.dumps(jobs), cwd=folder, text=True, timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    statuses = map(int, done.stdout.split())
    texts = []
    for number, job in enumerate(jobs):
        text = Path(job["log"]).read_text().replace(str(folder / f"overlay_{number}.yaml"), "OVERLAY")
        texts.append(text.replace(str(folder), "FOLDER"))
    return dict(zip(cases, zip(statuses, texts, strict=True), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_mistake_takes_a_line(name: str, outcomes) -> None:
    status, text = outcomes[name]
    assert status == 1
    assert len(text.splitlines()) == 2, text
    first, second = text.splitlines()
    assert first.startswith("bonemets: ")
    assert CASES[name].says in first
    assert "BONEMETS_TRACEBACK=1" in second


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACEBACKS)
def test_whole_tracebacks(name: str, outcomes) -> None:
    status, text = outcomes[name]
    assert status == 1
    assert text.count("Traceback (most recent call last)") == 2  # cause and consequence
    assert "bonemets: " not in text


@pytest.mark.slow
def test_a_sound_configuration_runs(outcomes) -> None:
    assert outcomes["sound"] == (0, "")


def test_python_callers_see_their_exceptions(tmp_path: Path) -> None:
    from monai.bundle import ConfigWorkflow

    (tmp_path / "train.yaml").write_text(TRAIN)
    (tmp_path / "metadata.json").write_text("{}")
    before = sys.excepthook
    workflow = ConfigWorkflow(str(tmp_path / "train.yaml"), logging_file=False, epoch=3, network="$@network_deff")
    workflow.initialize()
    assert "bonemets.bundle.short_errors" in sys.modules
    assert sys.excepthook is before
    with pytest.raises(ValueError, match="network_deff"):
        workflow.run()
