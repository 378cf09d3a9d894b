"""Train, and keep an exponential mean of the weights: it is better than the weights themselves.

    python examples/averages.py

Small noisy batches and a high rate leave the weights trembling around a good place; their mean lies
nearer to it. Its statistics for batch normalization are taken over the data at the end.
"""

from __future__ import annotations

import talweg as tw
from talweg import nn, optim
from talweg.optim import swa_utils


def main(steps: int = 300) -> tuple[float, float]:
    """Train; return the losses of the weights and of their mean, without the noise."""
    tw.manual_seed(0)
    x = tw.randn(512, 8)
    truth = (x * tw.arange(8)).sum(1, keepdim=True) / 8
    noisy = truth + tw.randn(512, 1)
    model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1))
    mean = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.98))
    optimizer = optim.Adam(model.parameters(), lr=0.02)

    for _ in range(steps):
        rows = tw.randint(0, len(x), (16,))
        loss = nn.functional.mse_loss(model(x[rows]), noisy[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean.update_parameters(model)

    swa_utils.update_bn(x.split(64), mean)
    found = []
    for name, trained in (("the weights", model), ("their mean", mean)):
        trained.eval()
        with tw.no_grad():
            found.append(nn.functional.mse_loss(trained(x), truth).item())
        print(f"{name}: loss {found[-1]:.4f}")
    return found[0], found[1]


if __name__ == "__main__":
    main()
