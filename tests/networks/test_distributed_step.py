"""Every network under DistributedDataParallel with two processes."""

from __future__ import annotations

import pytest
import torch
from test_every_network import TESTERS
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel


def _train(rank: int, address: str, names: list[str]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    for name in names:
        tester = TESTERS[name]()
        network = DistributedDataParallel(tester.build().train())
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
        start = [parameter.detach().clone() for parameter in network.parameters()]
        # Two steps: a parameter without a gradient stops the second one.
        for step in range(2):
            output = network(tester.images(seed=10 * step + rank))
            outputs = output if isinstance(output, list) else [output]
            loss = sum(nn.functional.softplus(logits).mean() for logits in outputs)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        moved = False
        for before, parameter in zip(start, network.parameters(), strict=True):
            both = [torch.empty_like(parameter) for _ in range(2)]
            distributed.all_gather(both, parameter.detach().contiguous())
            if not torch.equal(both[0], both[1]):
                raise AssertionError(f"{name}: the two processes' weights differ")
            moved = moved or not torch.equal(before, parameter)
        if not moved:
            raise AssertionError(f"{name}: nothing was learned")
    # Wait for the other. The group ends with the process: destroying it was seen to hang at exit (torch 2.13, gloo).
    distributed.barrier()


@pytest.mark.slow
def test_two_processes_stay_together(tmp_path):
    address = f"file://{tmp_path / 'rendezvous'}"
    multiprocessing.spawn(_train, args=(address, sorted(TESTERS)), nprocs=2, join=True)
