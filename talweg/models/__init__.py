"""Well-known networks, with the names of their published weights.

Every constructor builds the network untrained; `model.load_state_dict(tw.load(path))` gives it the
weights of a file, such as those that torchvision publishes.
"""

from __future__ import annotations

from talweg.models.alexnet import AlexNet, alexnet
from talweg.models.densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from talweg.models.efficientnet import (
    EfficientNet,
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from talweg.models.googlenet import GoogLeNet, GoogLeNetOutputs, googlenet
from talweg.models.gpt import GPT, GPTConfig, gpt2, gpt2_large, gpt2_medium, gpt2_xl
from talweg.models.inception import Inception3, InceptionOutputs, inception_v3
from talweg.models.lenet import LeNet, lenet
from talweg.models.mobilenet import (
    MobileNetV1,
    MobileNetV2,
    MobileNetV3,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
)
from talweg.models.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    resnext101_64x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from talweg.models.squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from talweg.models.tagger import LSTMTagger
from talweg.models.unet import UNet, unet
from talweg.models.vgg import (
    VGG,
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)
from talweg.models.vision_transformer import (
    VisionTransformer,
    vit_b_16,
    vit_b_32,
    vit_l_16,
    vit_l_32,
)

__all__ = [
    "LSTMTagger",
    "GPT",
    "GPTConfig",
    "gpt2",
    "gpt2_large",
    "gpt2_medium",
    "gpt2_xl",
    "VisionTransformer",
    "vit_b_16",
    "vit_b_32",
    "vit_l_16",
    "vit_l_32",
    "AlexNet",
    "alexnet",
    "DenseNet",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "EfficientNet",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "googlenet",
    "Inception3",
    "InceptionOutputs",
    "inception_v3",
    "LeNet",
    "lenet",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "ResNet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "SqueezeNet",
    "squeezenet1_0",
    "squeezenet1_1",
    "UNet",
    "unet",
    "VGG",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
]
