"""A program that trains, and may be killed: python program.py FOLDER SECONDS-BETWEEN-STEPS."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import talweg as tw
from talweg import nn, optim

EPOCHS, BATCHES = 3, 6


class Noisy(tw.data.Dataset[Any]):
    """Samples with noise of NumPy's generator."""

    def __len__(self) -> int:
        return 8 * BATCHES

    def __getitem__(self, index: int) -> Any:
        x = np.sin(np.arange(6) * (index + 1)) + np.random.standard_normal(6) * 0.01
        return x.astype("float32"), np.array([index % 3], "float32")


def main(folder: Path, pause: float = 0.0, dtype: Any = None) -> list[bytes]:
    """Train as far as there is to; return the parameters."""
    tw.manual_seed(3)
    model = nn.Sequential(
        *(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 1))
    )
    np.random.seed(5)
    data = tw.data.DataLoader(Noisy(), batch_size=8, shuffle=True)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    ema = optim.swa_utils.AveragedModel(
        model, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )

    def slow(output: Any, target: Any) -> float:
        time.sleep(pause)
        return float((output - target).abs().mean().item())

    tw.fit(
        *(model, data, nn.functional.mse_loss, optimizer),
        epochs=EPOCHS,
        metrics={"distance": slow},
        scheduler=optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS),
        clip=1.0,
        dtype=dtype,
        ema=ema,
        folder=folder,
        every=1,
        progress=False,
    )
    return [t.numpy().tobytes() for t in (*model.state_dict().values(), *ema.state_dict().values())]


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
