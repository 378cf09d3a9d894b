"""Where the names of PyTorch's modules come from."""

from __future__ import annotations

_LAYERS = {
    "activation": "activation",
    "adaptive": "adaptive",
    "batchnorm": "normalization",
    "channelshuffle": "pixel",
    "container": "container",
    "conv": "conv",
    "distance": "distance",
    "dropout": "dropout",
    "flatten": "flatten",
    "fold": "pixel",
    "instancenorm": "normalization",
    "lazy": "lazy",
    "linear": "linear",
    "loss": "loss",
    "module": "module",
    "normalization": "normalization",
    "padding": "padding",
    "pixelshuffle": "pixel",
    "pooling": "pooling",
    "rnn": "",
    "sparse": "embedding",
    "transformer": "",
    "upsampling": "pixel",
}
_OPTIMIZERS = {
    "adadelta": "adaptive",
    "adagrad": "adaptive",
    "adam": "adam",
    "adamax": "adam_variants",
    "adamw": "adam",
    "asgd": "sgd",
    "lbfgs": "lbfgs",
    "nadam": "adam_variants",
    "optimizer": "optimizer",
    "radam": "adam_variants",
    "rmsprop": "adaptive",
    "rprop": "adaptive",
    "sgd": "sgd",
}
_DISTRIBUTIONS = (
    *("bernoulli", "beta", "binomial", "categorical", "dirichlet", "distribution"),
    *("exponential", "gamma", "geometric", "gumbel", "independent", "laplace"),
    *("log_normal", "mixture_same_family", "multinomial", "multivariate_normal", "normal"),
    *("one_hot_categorical", "poisson", "relaxed_bernoulli", "relaxed_categorical", "studentT"),
    *("constraint_registry", "kumaraswamy", "lkj_cholesky", "lowrank_multivariate_normal"),
    *("transformed_distribution", "uniform", "wishart"),
)
_DATA = ("dataloader", "dataset", "distributed", "sampler")
_AUTOGRAD = ("function", "grad_mode", "gradcheck", "variable")
_NN_UTILS = ("clip_grad", "convert_parameters", "parametrizations", "stateless")


def _below(package: str, names: dict[str, str], parent: str) -> dict[str, tuple[str, ...]]:
    return {
        f"{parent}.{name}": (*([f"{package}.{file}"] if file else []), package)
        for name, file in names.items()
    }


TREE: dict[str, tuple[str, ...]] = {
    "": ("talweg",),
    "amp": ("talweg.amp",),
    "amp.autocast_mode": ("talweg.amp",),
    "amp.grad_scaler": ("talweg.amp",),
    "autograd": ("talweg.autograd",),
    **{f"autograd.{name}": ("talweg.autograd",) for name in _AUTOGRAD},
    "autograd.forward_ad": ("talweg.engine.forward_ad",),
    "autograd.functional": ("talweg.engine.functional",),
    "cpu": ("talweg.cpu",),
    "cpu.amp": ("talweg.cpu.amp",),
    "cpu.amp.autocast_mode": ("talweg.cpu.amp",),
    "cuda": ("talweg.cuda",),
    "func": ("talweg.func",),
    "functional": ("talweg",),
    "distributions": ("talweg.distributions",),
    **{f"distributions.{name}": ("talweg.distributions",) for name in _DISTRIBUTIONS},
    "distributions.constraints": ("talweg.distributions.constraints",),
    "distributions.kl": ("talweg.distributions.kl",),
    "distributions.transforms": ("talweg.distributions.transforms",),
    "fft": ("talweg.fft",),
    "linalg": ("talweg.linalg",),
    "nested": ("talweg.nested",),
    "nn": ("talweg.nn",),
    "nn.functional": ("talweg.nn.functional",),
    "nn.init": ("talweg.nn.init",),
    "nn.modules": ("talweg.nn",),
    **_below("talweg.nn", _LAYERS, "nn.modules"),
    "nn.parallel": ("talweg.nn.parallel",),
    "nn.parallel.data_parallel": ("talweg.nn.parallel",),
    "nn.parallel.distributed": ("talweg.nn.parallel",),
    "nn.parameter": ("talweg.nn.parameter",),
    "nn.utils": ("talweg.nn.utils",),
    **{f"nn.utils.{name}": ("talweg.nn.utils",) for name in _NN_UTILS},
    "nn.utils.parametrize": ("talweg.nn.utils.parametrize",),
    "nn.utils.prune": ("talweg.nn.utils.prune",),
    "nn.utils.rnn": ("talweg.nn.utils.rnn",),
    "optim": ("talweg.optim",),
    "optim.lr_scheduler": ("talweg.optim.lr_scheduler",),
    **_below("talweg.optim", _OPTIMIZERS, "optim"),
    "optim.swa_utils": ("talweg.optim.swa_utils",),
    "random": ("talweg.engine.random",),
    "serialization": ("talweg.nn.state",),
    "special": ("talweg.special",),
    "utils.checkpoint": ("talweg.utils.checkpoint",),
    "utils.data": ("talweg.data",),
    **{f"utils.data.{name}": ("talweg.data",) for name in _DATA},
    "utils.data._utils": (),
    "utils.data._utils.collate": ("talweg.data",),
    "utils.dlpack": ("talweg.utils.dlpack",),
    "utils.tensorboard": ("tensorboard:tensorboardX",),
}
