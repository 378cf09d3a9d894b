"""U-Net (Ronneberger, Fischer and Brox, 2015, "Convolutional networks for biomedical image
segmentation"), padded so that the scores have the image's size, with batch normalisation."""

from __future__ import annotations

from typing import Any

from talweg import nn
from talweg.engine.tensor import Tensor
from talweg.models.parts import cat, untrained
from talweg.nn import functional as F


class DoubleConv(nn.Module):
    """Two 3 x 3 convolutions, each with its normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, between: int | None = None) -> None:
        super().__init__()
        between = between or outputs
        self.double_conv = nn.Sequential(
            nn.Conv2d(inputs, between, 3, padding=1, bias=False),
            nn.BatchNorm2d(between),
            nn.ReLU(inplace=True),
            nn.Conv2d(between, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.double_conv(x)
        return out


class Down(nn.Module):
    """Half the size, then two convolutions."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.maxpool_conv(x)
        return out


class Up(nn.Module):
    """Twice the size, beside what the way down had at that size, then two convolutions.

    Args:
        inputs: channels of both together.
        outputs: channels behind.
        bilinear: enlarge by interpolation instead of a transposed convolution.
    """

    def __init__(self, inputs: int, outputs: int, bilinear: bool) -> None:
        super().__init__()
        self.up: nn.Module
        if bilinear:
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            self.conv = DoubleConv(inputs, outputs, inputs // 2)
        else:
            self.up = nn.ConvTranspose2d(inputs, inputs // 2, 2, stride=2)
            self.conv = DoubleConv(inputs, outputs)

    def forward(self, x: Tensor, beside: Tensor) -> Tensor:
        x = self.up(x)
        rows, columns = (beside.shape[i] - x.shape[i] for i in (2, 3))
        if rows or columns:
            x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        out: Tensor = self.conv(cat([beside, x], 1))
        return out


class OutConv(nn.Module):
    """A 1 x 1 convolution that gives the classes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class UNet(nn.Module):
    """Four times down, four times up, with a shortcut at each size.

    Args:
        n_channels: of the image.
        n_classes: scores at each place.
        bilinear: enlarge by interpolation instead of transposed convolutions.
        width: channels at the image's own size; the paper's are 64.

    Shape: [N, n_channels, H, W] of 16 x 16 or more to [N, n_classes, H, W].
    """

    def __init__(
        self, n_channels: int = 3, n_classes: int = 2, bilinear: bool = False, width: int = 64
    ) -> None:
        super().__init__()
        self.n_channels, self.n_classes, self.bilinear = n_channels, n_classes, bilinear
        a, b, c, d, e = (width * 2**i for i in range(5))
        half = 2 if bilinear else 1
        self.inc = DoubleConv(n_channels, a)
        self.down1 = Down(a, b)
        self.down2 = Down(b, c)
        self.down3 = Down(c, d)
        self.down4 = Down(d, e // half)
        self.up1 = Up(e, d // half, bilinear)
        self.up2 = Up(d, c // half, bilinear)
        self.up3 = Up(c, b // half, bilinear)
        self.up4 = Up(b, a, bilinear)
        self.outc = OutConv(a, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x = self.up2(self.up1(self.down4(x4), x4), x3)
        out: Tensor = self.outc(self.up4(self.up3(x, x2), x1))
        return out


def unet(*, weights: object = None, progress: bool = True, **options: Any) -> UNet:
    """Return a U-Net for colour images and two classes: 31,037,698 parameters.

    Example:
        >>> from talweg import models
        >>> models.unet(width=4)(tw.zeros(1, 3, 40, 32)).shape
        (1, 2, 40, 32)
    """
    untrained("unet", weights)
    return UNet(**options)
