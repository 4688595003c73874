"""The whole path, once, for real: simulate, segment with the shipped weights, evaluate, fine-tune (`make demo`).

Every step is a command that a user would type, printed before it runs. What is done with the same parameters and the
same code is not done again; a training that was stopped goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BUNDLE, SEGMENTING = "spect_dual_pooling_segmentation", "spect_msa_net_segmentation"
"""The one that is fine-tuned, since its epochs are shortest, and the one that `bonemets segment` uses by default."""
PATIENTS, SEED, TEST_SHARE = 12, 3, 0.5
"""Not the seed of the cohort that the weights were trained on (results/cohorts). Of the first 60 without a superscan it
is one whose 12 patients include 9 with metastases, so that there is something to find."""
EPOCHS = 6
FINE_TUNING = {"batch_size": 4, "learning_rate": 0.0003}
"""From the shipped weights, since a minute of training from random weights finds no lesion yet."""


@dataclass(frozen=True)
class Step:
    """One command.

    Args:
        name: short name, also of its log.
        title: what it does, for people.
        command: program and arguments, with paths relative to the repository.
        outputs: what must be there for the step to count as done.
        sources: files and folders, relative to the repository, that change its outcome.
        show: lines of its output that people see; all of them go to the log.
        restart: removes what an earlier run with other parameters left.
    """

    name: str
    title: str
    command: Sequence[str]
    outputs: Sequence[Path]
    sources: Sequence[str] = ()
    show: str = r"."
    restart: Sequence[Path] = field(default_factory=tuple)


class Steps:
    """Run steps in order and remember which are done.

    Args:
        folder: the demo's folder; logs and the record of what is done lie in its ``logs``.
    """

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.record_file = self.logs / "steps.json"
        self.record: dict[str, dict[str, Any]] = {}
        if self.record_file.is_file():
            self.record = json.loads(self.record_file.read_text("utf-8"))
        self.fingerprint = ""
        self.count = 0

    def run(self, step: Step, total: int) -> None:
        """Run a step unless it is done; end the program with its last lines if it fails."""
        self.count += 1
        # Each fingerprint includes the one before: what a step is made from counts as its parameter.
        self.fingerprint = _fingerprint(self.fingerprint, step)
        known = self.record.get(step.name, {})
        same = known.get("fingerprint") == self.fingerprint
        heading = f"[{self.count}/{total}] {step.title}"
        if same and "seconds" in known and all(path.exists() for path in step.outputs):
            print(f"{heading}: done before, in {known['seconds']:.0f} s", flush=True)
            return
        if not same:
            for path in step.restart:
                shutil.rmtree(path, ignore_errors=True)
        print(f"{heading}\n    $ {_typed(step.command)}", flush=True)
        self._remember(step.name, {"fingerprint": self.fingerprint})
        start = time.monotonic()
        status = self._stream(step)
        if status != 0:
            log = self.logs / f"{step.name}.log"
            tail = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-15:])
            sys.exit(
                f"{tail}\n\nThis step failed (status {status}); the whole output is in {log}. Run make demo again."
            )
        self._remember(step.name, {"fingerprint": self.fingerprint, "seconds": time.monotonic() - start})

    def _stream(self, step: Step) -> int:
        self.logs.mkdir(parents=True, exist_ok=True)
        with (
            (self.logs / f"{step.name}.log").open("w", encoding="utf-8") as log,
            subprocess.Popen(
                step.command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
            ) as process,
        ):
            try:
                for line in process.stdout or ():
                    log.write(line)
                    log.flush()
                    if re.search(step.show, line):
                        print(f"    {line.rstrip()}", flush=True)
            except BaseException:
                # Stopped by a signal that reached this process alone: the command must not run on unseen.
                process.terminate()
                raise
        return process.returncode

    def _remember(self, name: str, entry: dict[str, Any]) -> None:
        self.record[name] = entry
        self.logs.mkdir(parents=True, exist_ok=True)
        temporary = self.record_file.with_suffix(".part")
        temporary.write_text(json.dumps(self.record, indent=2), "utf-8")
        temporary.replace(self.record_file)


def _fingerprint(previous: str, step: Step) -> str:
    digest = hashlib.sha256(json.dumps([previous, step.name, list(step.command)]).encode())
    for source in step.sources:
        path = ROOT / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in {".py", ".yaml", ".json", ".html"}:
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _typed(command: Sequence[str]) -> str:
    """The command as a user would type it."""
    # A list of files is full of single quotes: in double ones it stays readable.
    text = " ".join(f'"{part}"' if "'" in part else shlex.quote(part) for part in command)
    python = shlex.quote(sys.executable)
    return text.replace(f"{python} -m bonemets.cli.main", "bonemets").replace(python, "python")


def make_steps(demo: Path, patients: int, epochs: int) -> list[Step]:
    """The steps, in order.

    Args:
        demo: folder for everything that the demo makes.
        patients: number of simulated patients.
        epochs: epochs of fine-tuning.
    """
    bonemets = [sys.executable, "-m", "bonemets.cli.main"]
    bundle, training = ROOT / "bundles" / BUNDLE, demo / "training"
    overrides = {"bundle_root": bundle, "dataset_dir": demo / "cohort", "output_dir": training, "ckpt_dir": training}
    recipe = {**FINE_TUNING, "epochs": epochs, "val_interval": min(2, epochs)}

    def run(run_id: str, configs: Sequence[str], options: dict[str, Any]) -> list[str]:
        files = ",".join(f"'{_short(bundle / 'configs' / f'{name}.yaml')}'" for name in configs)
        words = [word for key, value in options.items() for word in (f"--{key}", _short(value))]
        return [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", f"[{files}]", *words]

    evaluation = {
        "bundle_root": bundle, "dataset_dir": demo / "cohort", "section": "validation", "track": False,
        "threshold": json.loads((bundle / "models" / "model.json").read_text("utf-8"))["threshold"],
    }  # fmt: skip
    package = [f"bonemets/{room}" for room in ("data", "transforms", "networks", "losses")]
    segmenting = [f"bundles/{SEGMENTING}/{folder}" for folder in ("models", "configs")]
    return [
        Step(
            "simulate",
            f"Simulate {patients} patients, with a seed of their own",
            [*bonemets, "simulate", _short(demo / "cohort"), "--patients", str(patients), "--seed", str(SEED),
             "--test-share", str(TEST_SHARE), "--workers", "2"],
            [demo / "cohort" / "datalist.json"],
            ["bonemets/simulation", "bonemets/dicom"],
            restart=[demo / "cohort"],
        ),
        Step(
            "collect",
            "Lay the held-out DICOM scans and the real NEMA scan apart",
            [sys.executable, "scripts/demo/demo_page.py", "collect", _short(demo)],
            [demo / "held_out", demo / "real_scan"],
            ["scripts/demo/demo_page.py"],
            restart=[demo / "held_out", demo / "real_scan"],
        ),
        Step(
            "segment_simulated",
            "Segment the held-out DICOM studies with the shipped weights",
            [*bonemets, "segment", _short(demo / "held_out"), "-o", _short(demo / "results"), "--device", "cpu"],
            [demo / "results"],
            ["bonemets/engines", "bonemets/reporting", "bonemets/cli/segment.py", *segmenting, *package],
            restart=[demo / "results"],
        ),
        Step(
            "evaluate",
            "Evaluate what it marked",
            [*bonemets, "evaluate", _short(demo / "results"), "--datalist", _short(demo / "cohort" / "datalist.json"),
             "-o", _short(demo / "evaluation")],
            [demo / "evaluation" / "summary.json"],
            ["bonemets/metrics"],
            restart=[demo / "evaluation"],
        ),
        Step(
            "segment_real",
            "Segment the real scan",
            [*bonemets, "segment", _short(demo / "real_scan"), "-o", _short(demo / "results_real"), "--device", "cpu"],
            [demo / "results_real"],
            restart=[demo / "results_real"],
        ),
        Step(
            "before",
            "Evaluate the weights that fine-tuning starts from, on its validation patients",
            run("evaluating", ("train", "evaluate"), {**evaluation, "output_dir": demo / "before"}),
            [demo / "before" / "evaluation_validation" / "summary.json"],
            [f"bundles/{BUNDLE}/configs", f"bundles/{BUNDLE}/models"],
            show=r"Dice",
            restart=[demo / "before"],
        ),
        Step(
            "train",
            f"Fine-tune them on the other patients for {epochs} epochs: what training is like",
            run("training", ("train", "compact", "domain_randomization", "fine_tune"),
                {**overrides, **recipe, "resume": True}),
            [training / "model.pt", training / "model.json"],
            show=r"epoch 1/|epoch .*val_",
            restart=[training],
        ),
        Step(
            "after",
            "Evaluate the fine-tuned weights on the same patients",
            run("evaluating", ("train", "evaluate"),
                {**evaluation, "output_dir": demo / "after", "ckpt_dir": training}),
            [demo / "after" / "evaluation_validation" / "summary.json"],
            show=r"Dice",
            restart=[demo / "after"],
        ),
        Step(
            "page",
            "Write the page",
            [sys.executable, "scripts/demo/demo_page.py", "page", _short(demo)],
            [demo / "index.html"],
        ),
    ]  # fmt: skip


def _short(value: Any) -> str:
    """Paths relative to the repository, where commands run; everything else as text."""
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        return str(value.relative_to(ROOT))
    return str(value)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="folder for all it makes")
    parser.add_argument("--patients", type=int, default=PATIENTS, help="simulated patients, at least 5")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of fine-tuning")
    arguments = parser.parse_args()
    demo = arguments.output.resolve()
    start = time.monotonic()
    steps, plan = Steps(demo), make_steps(demo, arguments.patients, arguments.epochs)
    try:
        for step in plan:
            steps.run(step, len(plan))
    except KeyboardInterrupt:
        sys.exit("\nStopped. Run make demo again to go on where it stopped.")
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    say_goodbye(demo, f"{minutes} min {seconds:02d} s", print)


def say_goodbye(demo: Path, took: str, say: Callable[[str], None]) -> None:
    """What to open, and what to try next."""
    store = demo / "training" / "mlruns.db"
    say(f"\nDone in {took}.\n")
    say(f"Open             {_short(demo / 'index.html')}")
    say("Try next")
    say("  your own scan  bonemets segment SCAN -o results")
    say(f"  the training   mlflow ui --backend-store-uri sqlite:///{_short(store)}")
    say("                 then http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning")
    say("  more patients  bonemets simulate cohort --patients 200 --workers 2")
    say(f"  the paper's    see bundles/{BUNDLE}/docs/README.md")
    say(f"\nCommands are in {_short(Path(sys.executable).parent)}/. Research use only, not for diagnosis.")


if __name__ == "__main__":
    main()
