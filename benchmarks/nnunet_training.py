"""nnU-Net v2 within a budget of processor time: its own planning, augmentation, loss and optimizer, our stopping rule.

Imported by nnunet.py only in nnU-Net's own environment (``make nnunet``).
"""

from __future__ import annotations

import csv
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, preprocess_dataset
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from numpy.typing import NDArray

from bonemets.data.files import write_bytes
from bonemets.handlers.training_state import save_whole

CONFIGURATION, PLANS = "2d", "nnUNetPlans"
EXPONENT = 0.9  # of nnU-Net's polynomial rate
CHECKPOINT_SECONDS = 60.0


def plan(dataset_id: int, features: int, memory_gb: float) -> None:
    """Fingerprint, plan and preprocessing, with nnU-Net's own classes.

    Args:
        dataset_id: nnU-Net's number of the data set.
        features: width of the first stage; nnU-Net's is 32, and widths double down to 16 times it.
        memory_gb: what the planner fits patch and batch into; nnU-Net's is 8.
    """
    os.environ |= {"nnUNet_n_proc_DA": "1"}  # the planner's threads
    extract_fingerprint_dataset(dataset_id, num_processes=1, verbose=False, show_progress_bar=False)
    planner = ExperimentPlanner(dataset_id, gpu_memory_target_in_gb=memory_gb, plans_name=PLANS)
    planner.UNet_base_num_features = features
    planner.UNet_max_features_2d = 16 * features
    planner.plan_experiment()
    preprocess_dataset(dataset_id, PLANS, (CONFIGURATION,), (1,), show_progress_bar=False)


def train(plans: Path, dataset: Path, fold: int, seed: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Train for a time, or what is left of it; nnU-Net's polynomial rate ends when the time does.

    The time is this process's processor time on a CPU, so that a busy machine changes nothing, and the clock's on a
    GPU; it counts training steps with their augmentation. The last weights are used: nnU-Net, too, chooses no epoch.

    Args:
        plans: nnU-Net's plans.
        dataset: nnU-Net's ``dataset.json``.
        fold: fold that is held out.
        seed: seed of weights, patches and augmentation.
        seconds: the budget.
        folder: for ``checkpoint.pth``, ``training.csv`` and, when the time is up, ``model.pt``.

    Returns:
        ``iterations``, ``seconds``, ``pixels`` seen, and of the plan ``patch_size``, ``batch_size`` and ``features``.
    """
    # Augmentation in this process: its time is part of the budget, and the seed decides it.
    os.environ |= {"nnUNet_n_proc_DA": "0"}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clock: Callable[[], float] = time.perf_counter if device.type == "cuda" else time.process_time
    progress, checkpoint = folder / "progress.json", folder / "checkpoint.pth"
    state: dict[str, Any] = (
        json.loads(progress.read_text("utf-8")) if progress.is_file() else {"seconds": 0.0, "iterations": 0}
    )
    for set_seed in (random.seed, np.random.seed, torch.manual_seed):
        # Another stretch after a break must not see the same patches again.
        set_seed(1000 * seed + state["iterations"])
    trainer = nnUNetTrainer(
        {**json.loads(plans.read_text("utf-8")), "continue_training": False},
        CONFIGURATION,
        fold,
        json.loads(dataset.read_text("utf-8")),
        device,
    )
    trainer.on_train_start()
    if state["iterations"]:
        trainer.load_checkpoint(str(folder / state["checkpoint"]))
    trainer.network.train()
    losses, saved = [], clock()
    while state["seconds"] < seconds:
        start = clock()
        rate = trainer.initial_lr * (1 - state["seconds"] / seconds) ** EXPONENT
        for group in trainer.optimizer.param_groups:
            group["lr"] = rate
        loss = float(trainer.train_step(next(trainer.dataloader_train))["loss"])
        state = {**state, "seconds": state["seconds"] + clock() - start, "iterations": state["iterations"] + 1}
        losses.append((state["iterations"], round(state["seconds"], 2), rate, loss))
        if clock() - saved > CHECKPOINT_SECONDS or state["seconds"] >= seconds:
            # Two files in turn: the one that progress.json names is whole, whenever the process is killed.
            name = checkpoint.name if state.get("checkpoint") != checkpoint.name else f"{checkpoint.stem}_b.pth"
            trainer.save_checkpoint(str(folder / name))
            _append(folder / "training.csv", losses)
            losses, saved, state = [], clock(), {**state, "checkpoint": name}
            write_bytes(progress, json.dumps(state).encode())
    save_whole({key: tensor.cpu() for key, tensor in trainer.network.state_dict().items()}, folder / "model.pt")
    manager = trainer.configuration_manager
    pixels = state["iterations"] * int(manager.batch_size) * int(np.prod(manager.patch_size))
    return {
        "iterations": state["iterations"],
        "seconds": round(state["seconds"], 1),
        "pixels": pixels,
        "patch_size": [int(size) for size in manager.patch_size],
        "batch_size": int(manager.batch_size),
        "features": [int(width) for width in manager.network_arch_init_kwargs["features_per_stage"]],
    }


def predict(
    plans: Path, dataset: Path, weights: Path, images: dict[str, Path]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Lesion probability of each image, (H, W), as nnU-Net predicts: sliding window, mirrored four ways.

    Args:
        plans: nnU-Net's plans.
        dataset: nnU-Net's ``dataset.json``.
        weights: ``model.pt`` of `train`.
        images: case → its file in nnU-Net's raw format.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    document = json.loads(dataset.read_text("utf-8"))
    manager = PlansManager(json.loads(plans.read_text("utf-8")))
    configuration = manager.get_configuration(CONFIGURATION)
    heads = manager.get_label_manager(document).num_segmentation_heads
    channels = len(document["channel_names"])
    network = nnUNetTrainer.build_network_architecture(manager, configuration, channels, heads, False).to(device)
    state = torch.load(weights, map_location=device, weights_only=True)
    predictor = nnUNetPredictor(device=device, allow_tqdm=False)
    predictor.manual_initialization(network, manager, configuration, [state], document, "nnUNetTrainer", (0, 1))
    reader = manager.image_reader_writer_class()
    for case, path in images.items():
        pixels, properties = reader.read_images([str(path)])
        _, probability = predictor.predict_single_npy_array(pixels, properties, save_or_return_probabilities=True)
        yield case, np.asarray(probability[1], dtype=np.float32).reshape(pixels.shape[-2:])


def _append(path: Path, rows: list[tuple]) -> None:
    fresh = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(("iteration", "seconds", "rate", "loss"))
        writer.writerows(rows)
