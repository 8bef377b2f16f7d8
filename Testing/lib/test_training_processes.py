"""Training in several processes: the gradients of two are those of one that saw both patches."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import QUICK, a_datalist, settings_for  # noqa: F401

from VISTA3DLib.devices import Runtime
from VISTA3DLib.training.datalist import read_datalist
from VISTA3DLib.training.distributed import World, wrapped
from VISTA3DLib.training.patches import PatchSource
from VISTA3DLib.training.run import start_network
from VISTA3DLib.training.steps import PatchTrainer
from VISTA3DLib.training.trainer import freeze_branches

DDP_SCRIPT = """
import sys, json
from pathlib import Path
import numpy as np, torch
sys.path.insert(0, {folder!r})
from test_training_processes import ddp_gradients
from VISTA3DLib.training.distributed import joined_world
with joined_world() as world:
    gradients = ddp_gradients(Path({data!r}), world)
    if world.leads:
        torch.save(gradients, {output!r})
"""


def ddp_gradients(datalist: Path, world: World) -> dict[str, torch.Tensor]:
    """Gradients after one patch in each process of the world (or, alone, after the patch of one rank)."""
    torch.set_num_threads(1)
    data = read_datalist(datalist)
    settings = settings_for(datalist, datalist.parent, replace(QUICK, iterations=1))
    network, network_settings = start_network(settings, data)
    freeze_branches(network, settings.stages[0])
    source = PatchSource(data.training[:2], data, network_settings, patches_per_case=1, augment=False)
    patch = source.patches(world.rank, 0)[0]

    class KeepGradients(torch.optim.SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            """Keep them: the test looks at them."""

    optimiser = KeepGradients(network.parameters(), lr=0.0)
    trainer = PatchTrainer(
        wrapped(network, world),
        optimiser,
        network_settings.catalogue,
        settings.stages[0],
        Runtime(device=torch.device("cpu")),
        world,
        clip_norm=1e9,
    )
    trainer.train_on(patch, np.random.default_rng((5, world.rank)), np.random.default_rng(5))
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_two_processes_average_the_gradients_of_their_patches(
    a_datalist: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    output = tmp_path / "gradients.pt"
    script = tmp_path / "ddp.py"
    script.write_text(DDP_SCRIPT.format(folder=str(Path(__file__).parent), data=str(a_datalist), output=str(output)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    launcher += ["--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, str(script)], check=True, env=environment, timeout=300)
    together = torch.load(output, weights_only=True)
    alone = [ddp_gradients(a_datalist, World(rank=rank)) for rank in (0, 1)]
    compared = 0
    for name, gradient in together.items():
        mean = sum(a.get(name, torch.zeros_like(gradient)) for a in alone) / 2
        assert torch.allclose(gradient, mean, rtol=1e-3, atol=1e-6), name
        compared += bool(gradient.abs().max() > 0)
    assert compared > 20
