from __future__ import annotations

import copy

import pytest
import torch

from bonemets.engines.averaging import ExponentialAverage


@pytest.fixture
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))


def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    images = torch.randn(8, 2, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    network(images).square().mean().backward()
    optimizer.step()


def floats(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in network.state_dict().items() if value.is_floating_point()}


@pytest.mark.parametrize("decay", [0.2, 0.999])
def test_is_the_weighted_sum_of_all_weights(network, decay: float) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    average = ExponentialAverage(network, optimizer, decay)
    seen = []
    for seed in range(6):
        step(network, optimizer, seed)
        seen.append(floats(network))
    # The weight of the weights after step n is (1 - d_n) times every later d.
    decays = [0.0, *(min(decay, (1 + n) / (10 + n)) for n in range(1, 6))]
    shares = [(1 - decays[n]) * torch.tensor(decays[n + 1 :]).prod() for n in range(6)]
    assert sum(shares) == pytest.approx(1)
    for key, value in floats(average.module).items():
        torch.testing.assert_close(
            value, sum(share * weights[key] for share, weights in zip(shares, seen, strict=True))
        )
    assert average.module[1].num_batches_tracked == 6
    assert not torch.equal(average.module[0].weight, network[0].weight)


def test_the_state_continues_it(network) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    average = ExponentialAverage(network, optimizer)
    for seed in range(3):
        step(network, optimizer, seed)
    other = copy.deepcopy(network)
    again = torch.optim.SGD(other.parameters(), lr=0.5)
    resumed = ExponentialAverage(other, again)
    resumed.load_state_dict(average.state_dict())
    for net, rule in ((network, optimizer), (other, again)):
        step(net, rule, 9)
    assert average.n_averaged == resumed.n_averaged == 4
    assert all(
        torch.equal(a, b) for a, b in zip(average.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_only_steps_that_are_taken_count(network) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    average = ExponentialAverage(network, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
    for factor in (1e-20, 1e20):  # the second one's gradients overflow
        optimizer.zero_grad()
        scaler.scale(factor * network(torch.randn(4, 2)).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert average.n_averaged == 1


@pytest.mark.parametrize("decay", [0, 1, -0.5, 1.5])
def test_decay_lies_between_0_and_1(network, decay: float) -> None:
    with pytest.raises(ValueError, match="decay must lie between 0 and 1"):
        ExponentialAverage(network, torch.optim.SGD(network.parameters(), lr=0.1), decay)
