"""Networks: the names, shapes and numbers of parameters of the published weights.

Numbers of parameters are those that torchvision 0.28 states with its weights (`num_params`), and
the digests are of its networks' state dicts, one line "name shape" for each entry. GoogLeNet has
two side branches more than the stated 6,624,904.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import talweg as tw
from talweg import models
from talweg.base.errors import InvalidValue
from talweg.models import mobilenet, parts, resnet

PUBLISHED = {
    "alexnet": (61_100_840, "9c198ebdae1863e4"),
    "densenet121": (7_978_856, "aa0fd9923b0003b8"),
    "densenet161": (28_681_000, "82d337d48f910d3a"),
    "densenet169": (14_149_480, "e2d0f02d9c0ce650"),
    "densenet201": (20_013_928, "0d234ad7e9a31b95"),
    "efficientnet_b0": (5_288_548, "a04d0792ee390a49"),
    "efficientnet_b1": (7_794_184, "9aaba0741e04badf"),
    "efficientnet_b2": (9_109_994, "a6d3677e95ef315b"),
    "efficientnet_b3": (12_233_232, "495111442d67e56d"),
    "efficientnet_b4": (19_341_616, "2974b9d3c0556036"),
    "efficientnet_b5": (30_389_784, "281af15aa41414bf"),
    "efficientnet_b6": (43_040_704, "c32e05b40510b08d"),
    "efficientnet_b7": (66_347_960, "3d2a7737a3d81e53"),
    "googlenet": (13_004_888, "7f541ca29410efb1"),
    "inception_v3": (27_161_264, "aab0ac2cbaf84aa2"),
    "mobilenet_v2": (3_504_872, "37bbbce8932fd0c4"),
    "mobilenet_v3_large": (5_483_032, "efe98e40831bae95"),
    "mobilenet_v3_small": (2_542_856, "5f0efaf3ff4ac979"),
    "resnet18": (11_689_512, "84fb10d9c6905a1c"),
    "resnet34": (21_797_672, "28f9096d51307499"),
    "resnet50": (25_557_032, "d7e4f8bb0a536344"),
    "resnet101": (44_549_160, "02c0f34f4842751f"),
    "resnet152": (60_192_808, "685c66205bc823aa"),
    "resnext50_32x4d": (25_028_904, "e3bad165c034e60f"),
    "resnext101_32x8d": (88_791_336, "da7dd7525807e2ee"),
    "resnext101_64x4d": (83_455_272, "90caac80ae24c51d"),
    "wide_resnet50_2": (68_883_240, "41203d1d536c02ed"),
    "wide_resnet101_2": (126_886_696, "4f088c0a152b8f5c"),
    "squeezenet1_0": (1_248_424, "4654d26ad581241f"),
    "squeezenet1_1": (1_235_496, "1d365589393f9c1e"),
    "vit_b_16": (86_567_656, "b124b34d9346c58c"),
    "vit_b_32": (88_224_232, "f8bc3a1f2fd0c4c4"),
    "vit_l_16": (304_326_632, "0fd5127fe79be5b3"),
    "vit_l_32": (306_535_400, "8b7397ee7b872a2b"),
    "vgg11": (132_863_336, "cb3dc23f2a13e182"),
    "vgg11_bn": (132_868_840, "8b6717e727c0ecf9"),
    "vgg13": (133_047_848, "67c1dc8b57fde74b"),
    "vgg13_bn": (133_053_736, "f6b0597d18a7e4d2"),
    "vgg16": (138_357_544, "35c4623e0cd4a39d"),
    "vgg16_bn": (138_365_992, "347371586a8ea365"),
    "vgg19": (143_667_240, "4723255af8f6c485"),
    "vgg19_bn": (143_678_248, "fc3ff6fab2b5cc09"),
}
# Counted by hand: layers of the papers' tables, with biases and normalisation.
OWN = {
    "lenet": 156 + 2416 + 48120 + 10164 + 850,
    "mobilenet_v1": 4_231_976,
    "unet": 31_037_698,
}


def parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_names_shapes_and_counts_are_the_published_ones(name: str) -> None:
    make = getattr(models, name)
    model = make()
    count, digest = PUBLISHED[name]
    lines = [f"{k} {v.shape}" for k, v in model.state_dict().items()]
    assert parameters(model) == count
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest
    stated = f"{count if name != 'googlenet' else 6_624_904:,}"
    assert f"{stated} parameters" in make.__doc__


@pytest.mark.parametrize("name", OWN)
def test_counts_of_networks_without_published_weights(name: str) -> None:
    make = getattr(models, name)
    assert parameters(make()) == OWN[name]
    assert f"{OWN[name]:,} parameters" in make.__doc__


ROWS = [
    mobilenet.Block(16, 3, 48, 16, True, "HS", 1),
    mobilenet.Block(16, 5, 16, 8, False, "RE", 2),
]
SMALL: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "lenet": (lambda: models.lenet(num_classes=7), (1, 28, 28)),
    "alexnet": (lambda: models.alexnet(num_classes=7), (3, 64, 64)),
    "squeezenet": (lambda: models.squeezenet1_1(num_classes=7), (3, 32, 32)),
    "densenet": (lambda: models.DenseNet(4, (2, 1), 8, num_classes=7, drop_rate=0.1), (3, 16, 16)),
    "resnet": (
        lambda: models.ResNet(
            resnet.Bottleneck, (1, 1, 1, 2), 7, groups=2, width_per_group=4, zero_init_residual=True
        ),
        (3, 32, 32),
    ),
    "mobilenet_v2": (
        lambda: models.MobileNetV2(7, 0.25, [(1, 16, 1, 1), (6, 24, 2, 2)]),
        (3, 32, 32),
    ),
    "mobilenet_v3": (lambda: models.MobileNetV3(ROWS, 24, 7), (3, 32, 32)),
    "vit": (
        lambda: models.VisionTransformer(16, 8, 2, 2, 8, 16, 0.1, 0.1, 7, representation_size=5),
        (3, 16, 16),
    ),
    "efficientnet": (lambda: models.EfficientNet(0.25, 0.25, num_classes=7), (3, 32, 32)),
}


@pytest.mark.parametrize("name", SMALL)
def test_an_image_gives_scores_and_scores_give_gradients(name: str) -> None:
    make, size = SMALL[name]
    model = make()
    images = tw.randn(2, *size)
    scores = model(images)
    assert scores.shape == (2, 7)
    tw.nn.functional.cross_entropy(scores, tw.tensor([1, 5])).backward()
    assert [k for k, p in model.named_parameters() if p.grad is None] == []
    assert all(np.isfinite(p.grad.numpy()).all() for p in list(model.parameters())[:3])
    with tw.no_grad():
        assert model.eval()(images[:1]).shape == (1, 7)


@pytest.mark.slow
def test_googlenet_trains_its_side_branches() -> None:
    model = models.googlenet(num_classes=7)
    out = model(tw.randn(2, 3, 32, 32))
    assert out._fields == ("logits", "aux_logits2", "aux_logits1")
    sum(t.square().mean() for t in out).backward()  # type: ignore[attr-defined]
    assert [k for k, p in model.named_parameters() if p.grad is None] == []
    with tw.no_grad():
        assert model.eval()(tw.zeros(1, 3, 32, 32)).shape == (1, 7)


@pytest.mark.slow
def test_inception_without_its_side_branch() -> None:
    model = models.inception_v3(num_classes=3, aux_logits=False).eval()
    assert model.AuxLogits is None
    assert not [k for k in model.state_dict() if k.startswith("AuxLogits")]
    with tw.no_grad():
        assert model(tw.zeros(1, 3, 75, 75)).shape == (1, 3)


def test_u_nets_give_scores_for_every_place() -> None:
    for bilinear in (False, True):
        model = models.UNet(1, 4, bilinear, width=4)
        assert model(tw.randn(1, 1, 19, 33)).shape == (1, 4, 19, 33)


def test_a_tagger_learns_tags_that_depend_on_the_next_word() -> None:
    tw.manual_seed(0)
    model = models.LSTMTagger(6, 2, 8, 16)
    words = tw.randint(0, 6, (16, 8))
    tags = (words > words.roll(-1, 1)).to(tw.int64)[:, :-1]
    optimizer = tw.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(40):
        optimizer.zero_grad()
        scores = model(words)[:, :-1]
        loss = tw.nn.functional.cross_entropy(scores.reshape(-1, 2), tags.reshape(-1))
        loss.backward()
        optimizer.step()
    assert (scores.argmax(-1) == tags).float().mean().item() > 0.95
    with pytest.raises(InvalidValue, match="must be even"):
        models.LSTMTagger(6, 2, 8, 15)


def test_dilation_keeps_the_size() -> None:
    block = models.resnet50(replace_stride_with_dilation=(False, True, True)).eval()
    with tw.no_grad():
        assert block.layer1(tw.zeros(1, 64, 8, 8)).shape == (1, 256, 8, 8)
        assert block.layer4[0](tw.zeros(1, 1024, 4, 4)).shape == (1, 2048, 4, 4)
    assert block.layer4[1].conv2.dilation == (4, 4)
    with pytest.raises(InvalidValue, match="needs 3 bools"):
        models.resnet50(replace_stride_with_dilation=(True,))
    with pytest.raises(InvalidValue, match="only groups=1"):
        models.resnet18(groups=2)


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "densenet121", "efficientnet_b0", "unet"])
def test_weights_are_not_fetched(name: str) -> None:
    with pytest.raises(InvalidValue, match=rf"{name}\(\); model.load_state_dict\(tw.load"):
        getattr(models, name)(weights="IMAGENET1K_V1", progress=False)


def test_old_names_of_densenet_are_known() -> None:
    model = models.DenseNet(4, (2, 1), 8, num_classes=3)
    old = {
        k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in k else k: v
        for k, v in model.state_dict().items()
    }
    assert "features.denseblock1.denselayer2.norm.1.weight" in old
    assert models.DenseNet(4, (2, 1), 8, num_classes=3).load_state_dict(old).missing_keys == []


def test_stochastic_depth_leaves_out_whole_examples() -> None:
    layer = parts.StochasticDepth(0.25)
    tw.manual_seed(0)
    out = layer(tw.ones(64, 2, 3, 3)).numpy()
    assert (out == out[:, :1, :1, :1]).all()
    assert set(np.unique(out)) == {0.0, np.float32(1 / 0.75)}
    assert (layer.eval()(tw.ones(4, 1)).numpy() == 1).all()
    with pytest.raises(InvalidValue, match="'row' or 'batch'"):
        parts.StochasticDepth(0.5, "column")
