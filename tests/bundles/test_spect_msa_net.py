from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from bundle_commands import ONE_STEP
from bundle_tester import BundleTester


class TestSpectMSANet(BundleTester):
    name = "spect_msa_net_segmentation"
    small = {
        "features": [2, 2, 4, 4, 4],
        "critic_features": [2, 2, 2, 2, 2, 2],
        "batch_size": 2,
        "epochs": 1,
        "seed": 0,
        "accumulation_steps": 2,
        "window_size": [96, 96],
        "windows_per_scan": 2,
    }
    overlays = ("compact", "whole_body", "augment")
    # Both networks step; the network keeps its four outputs of training, batch normalization is as in evaluation.
    one_step = {
        **ONE_STEP,
        "+initialize": [
            "$[layer.eval() for layer in @network_def.train().modules() if isinstance(layer, torch.nn.BatchNorm2d)]",
            "$setattr(@network_def, 'train', lambda on=True: setattr(@network_def, 'training', on) or @network_def)",
            "$setattr(@critic.eval(), 'train', lambda *mode: @critic)",
        ],
        "loss": {"_target_": "DeepSupervisionLoss", "weight_mode": "same", "loss": {"_target_": "torch.nn.MSELoss"}},
        "critic_optimizer": {"_target_": "torch.optim.SGD", "params": "$@critic.parameters()", "lr": 1.0},
    }

    def test_rows_of_tables_6_to_11(self) -> None:
        names = [path.stem for path in (self.folder / "configs" / "ablations").glob("*.yaml")]
        rows = {table: sum(name.startswith(f"table{table}_") for name in names) for table in range(6, 12)}
        assert rows == {6: 7, 7: 3, 8: 5, 9: 4, 10: 5, 11: 4}
        assert len(names) == 28

    def ablation(self, name: str, cohort: Path, out: Path, **override: Any) -> Any:
        return self.workflow("train", ("train", f"ablations/{name}"), cohort, out, fold=None, **override)

    def test_row_1_has_no_critic(self, cohort: Path, tmp_path: Path) -> None:
        workflow = self.ablation("table6_row1_rms", cohort, tmp_path, **{"train::trainer::epoch_length": 1})
        critic, network = (workflow.parser.get_parsed_content(name) for name in ("critic", "network"))
        before = [[parameter.detach().clone() for parameter in net.parameters()] for net in (critic, network)]
        workflow.run()
        same = [
            all(torch.equal(old, new) for old, new in zip(parameters, net.parameters(), strict=True))
            for parameters, net in zip(before, (critic, network), strict=True)
        ]
        assert same == [True, False]

    @pytest.mark.parametrize(
        ("name", "shares"), [("table9_row2_deep", [0.4, 0.4, 0.1, 0.1]), ("table9_row1_1111", [0.25] * 4)]
    )
    def test_both_losses_have_the_weights_of_table_9(
        self, name: str, shares: list[float], cohort: Path, tmp_path: Path
    ) -> None:
        parser = self.ablation(name, cohort, tmp_path).parser
        loss, adversarial_loss = (parser.get_parsed_content(key) for key in ("loss", "adversarial_loss"))
        assert loss.get_weights(4) == pytest.approx(shares)
        total = sum(adversarial_loss.weights)
        assert [weight / total for weight in adversarial_loss.weights] == pytest.approx(shares)

    @pytest.mark.parametrize(
        ("name", "dice", "cross_entropy"),
        [("table7_row1_dice", 1, 0), ("table7_row2_bce", 0, 1), ("table7_row3_dice_bce", 1, 1)],
    )
    def test_segmentation_loss_of_table_7(
        self, name: str, dice: int, cross_entropy: int, cohort: Path, tmp_path: Path
    ) -> None:
        loss = self.ablation(name, cohort, tmp_path).parser.get_parsed_content("loss")
        generator = torch.Generator().manual_seed(0)
        logits = [torch.randn(2, 1, 8, 8, generator=generator) for _ in range(4)]
        label = (torch.rand(2, 1, 8, 8, generator=generator) > 0.5).to(torch.uint8)
        wanted = torch.zeros(())
        for output in logits:
            p, truth = torch.sigmoid(output), label.float()
            overlap = 1 - (2 * (p * truth).sum() + 1e-5) / (p.sum() + truth.sum() + 1e-5)
            entropy = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
            wanted = wanted + (dice * overlap + cross_entropy * entropy) / 4
        torch.testing.assert_close(loss(logits, label), wanted)

    def test_the_tracked_run_has_both_losses_and_rates(self, trained: Path) -> None:
        client = mlflow.MlflowClient(f"sqlite:///{trained}/mlruns.db")
        run = self.runs(trained)["first"]
        names = ("train_segmentation_loss", "train_adversarial_loss", "train_critic_loss", "critic_learning_rate")
        for metric in ("train_loss", "learning_rate", *names):
            assert [point.step for point in client.get_metric_history(run.info.run_id, metric)] == [1, 2], metric
        assert run.data.metrics["critic_learning_rate"] == pytest.approx(1e-4)
        sum_of_losses = run.data.metrics["train_segmentation_loss"] + run.data.metrics["train_adversarial_loss"]
        assert run.data.metrics["train_loss"] == pytest.approx(sum_of_losses, abs=1e-5)

    def test_only_the_segmentation_network_is_shipped(self, trained: Path) -> None:
        shipped = torch.load(trained / "models" / "model.pt", weights_only=True)
        checkpoint = torch.load(trained / "checkpoint.pt", weights_only=True)
        assert shipped.keys() == checkpoint["network"].keys()
        assert {"critic", "critic_optimizer", "critic_lr_scheduler"} <= checkpoint.keys()
        largest = max(
            float(value.abs().max())
            for name, value in checkpoint["critic"].items()
            if "running" not in name and "num" not in name
        )
        assert largest <= 0.05 + 1e-7
