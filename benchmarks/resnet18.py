"""ResNet-18 at 224 x 224: a training step of a batch of 8; inference of 1 and of 8 images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.alone import main
from benchmarks.case import Arrays, Case, Inference, Network, Sgd, Training, is_buffer

STAGES = 4


@dataclass(frozen=True, kw_only=True)
class ResNet18(Network):
    """He et al., "Deep residual learning for image recognition" (2016), names as in torchvision.

    Args:
        rows: images of the batch.
        side: of an image.
        width: channels of the first stage.
        classes: that are told apart.
    """

    rows: int
    side: int = 224
    width: int = 64
    classes: int = 1000

    def blocks(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield (name, channels in, channels out, stride) of the eight blocks."""
        for stage in range(STAGES):
            outputs = self.width << stage
            inputs = outputs // 2 if stage else outputs
            yield f"layer{stage + 1}.0", inputs, outputs, 2 if stage else 1
            yield f"layer{stage + 1}.1", outputs, outputs, 1

    def shapes(self) -> dict[str, tuple[int, ...]]:
        made: dict[str, tuple[int, ...]] = {}

        def convolution(conv: str, norm: str, inputs: int, outputs: int, size: int) -> None:
            made[f"{conv}.weight"] = (outputs, inputs, size, size)
            for name in ("weight", "bias", "running_mean", "running_var"):
                made[f"{norm}.{name}"] = (outputs,)
            made[f"{norm}.num_batches_tracked"] = ()

        convolution("conv1", "bn1", 3, self.width, 7)
        for name, inputs, outputs, _ in self.blocks():
            convolution(f"{name}.conv1", f"{name}.bn1", inputs, outputs, 3)
            convolution(f"{name}.conv2", f"{name}.bn2", outputs, outputs, 3)
            if inputs != outputs:
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", inputs, outputs, 1)
        made["fc.weight"] = (self.classes, self.width << (STAGES - 1))
        made["fc.bias"] = (self.classes,)
        return made

    def images(self) -> np.ndarray:
        """Return the images of the batch."""
        shape = (self.rows, 3, self.side, self.side)
        return self.rng().standard_normal(shape, np.float32)

    def network(self, tw: Any) -> Any:
        return network(tw, self)

    def pure(self, f: Any, state: Any, x: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        """Return the logits and the new running statistics."""
        changed: dict[str, Any] = {}

        def norm(x: Any, name: str) -> Any:
            y, moved = f.batch_norm(x, name, state, training)
            changed.update(moved)
            return y

        x = norm(f.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1")
        x = f.max_pool2d(f.relu(x), 3, 2, 1)
        for name, inputs, outputs, stride in self.blocks():
            y = f.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = f.relu(norm(y, f"{name}.bn1"))
            y = norm(f.conv2d(y, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if inputs != outputs:
                x = f.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
                x = norm(x, f"{name}.downsample.1")
            x = f.relu(x + y)
        return f.linear(f.image_mean(x), state["fc.weight"], state["fc.bias"]), changed

    def forward_flops(self) -> float:
        """Return the floating-point operations of convolutions and of the last layer."""
        side = -(-self.side // 2)
        total = side**2 * self.width * 3 * 49
        side = -(-side // 2)
        for _, inputs, outputs, stride in self.blocks():
            side = -(-side // stride)
            total += side**2 * outputs * 9 * (inputs + outputs)
            total += side**2 * outputs * inputs * (inputs != outputs)
        return 2.0 * self.rows * (total + self.classes * (self.width << (STAGES - 1)))


def network(tw: Any, case: ResNet18) -> Any:
    """Return the network as a Module."""
    nn = tw.nn
    relu = nn.functional.relu

    def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> Any:
        return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = convolution(inputs, outputs, 3, stride)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.conv2 = convolution(outputs, outputs, 3)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample = nn.Identity()
            if inputs != outputs:
                self.downsample = nn.Sequential(
                    convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Any) -> Any:
            y = relu(self.bn1(self.conv1(x)))
            return relu(self.bn2(self.conv2(y)) + self.downsample(x))

    class ResNet(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = convolution(3, case.width, 7, 2)
            self.bn1 = nn.BatchNorm2d(case.width)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
            blocks = [Block(*sizes) for _, *sizes in case.blocks()]
            for stage in range(STAGES):
                self.add_module(
                    f"layer{stage + 1}", nn.Sequential(*blocks[2 * stage : 2 * stage + 2])
                )
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(case.width << (STAGES - 1), case.classes)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    return ResNet()


@dataclass(frozen=True, kw_only=True)
class ResNet18Training(ResNet18, Training):
    """A training step with cross-entropy; batch norm by the statistics of the batch."""

    def batch(self) -> tuple[np.ndarray, ...]:
        return self.images(), self.rng().integers(0, self.classes, self.rows)

    def loss(self, f: Any, state: Any, *batch: Any) -> tuple[Any, dict[str, Any]]:
        x, labels = batch
        logits, changed = self.pure(f, state, x, training=True)
        return f.cross_entropy(logits, labels), changed

    def flops(self) -> float:
        first = 2.0 * self.rows * (-(-self.side // 2)) ** 2 * self.width * 3 * 49
        return 3 * self.forward_flops() - first


@dataclass(frozen=True, kw_only=True)
class ResNet18Inference(ResNet18, Inference):
    """A forward pass; batch norm by running statistics, which are not 0 and 1 here."""

    def batch(self) -> tuple[np.ndarray, ...]:
        return (self.images(),)

    def state(self) -> Arrays:
        rng = self.rng()
        state = super().state()
        for name, array in state.items():
            if is_buffer(name) and array.dtype.kind == "f":
                spread = 0.1 * rng.standard_normal(array.shape)
                state[name] = (array + np.abs(spread)).astype(np.float32)
        return state

    def output(self, f: Any, state: Any, *batch: Any) -> Any:
        return self.pure(f, state, batch[0], training=False)[0]

    def graph(self, g: Any, state: Arrays, *inputs: str) -> str:
        (x,) = inputs

        def convolution(x: str, name: str, norm: str, stride: int = 1, size: int = 3) -> str:
            y = g.conv(x, state[f"{name}.weight"], stride=stride, padding=size // 2)
            return str(g.batch_norm(y, norm, state))

        x = g.relu(convolution(x, "conv1", "bn1", 2, 7))
        x = g.max_pool(x, 3, 2, 1)
        for name, inputs_, outputs, stride in self.blocks():
            y = g.relu(convolution(x, f"{name}.conv1", f"{name}.bn1", stride))
            y = convolution(y, f"{name}.conv2", f"{name}.bn2")
            if inputs_ != outputs:
                shortcut = f"{name}.downsample"
                x = convolution(x, f"{shortcut}.0", f"{shortcut}.1", stride, 1)
            x = g.relu(g.add(x, y))
        x = g.node("Flatten", g.node("GlobalAveragePool", x))
        return str(g.linear(x, state["fc.weight"], state["fc.bias"]))

    def flops(self) -> float:
        return self.forward_flops()


def training(sizes: str) -> ResNet18Training:
    """Return the training step in sizes `full` or `tiny`."""
    full = sizes == "full"
    small: dict[str, Any] = {} if full else {"side": 64, "width": 4, "classes": 5}
    rows = 8 if full else 3
    optimizer = Sgd(lr=1e-3 if full else 1e-5, momentum=0.9)
    name = "ResNet-18, batch 8, training step"
    # One ReLU that rounds to the other side of zero moves a gradient by 1.6e-3 of its norm.
    return ResNet18Training(name=name, rows=rows, optimizer=optimizer, tolerance=1e-2, **small)


def cases(sizes: str) -> Sequence[Case]:
    """Return the cases in sizes `full` or `tiny`."""
    small: dict[str, Any] = {} if sizes == "full" else {"side": 32, "width": 4, "classes": 5}
    inference = [
        ResNet18Inference(name=f"ResNet-18, batch {rows}, inference", rows=rows, onnx=True, **small)
        for rows in (1, 8)
    ]
    return [training(sizes), *inference]


if __name__ == "__main__":
    main("resnet18")
