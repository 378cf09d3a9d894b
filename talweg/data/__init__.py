"""Data sets, samplers and the loader, with the names of `torch.utils.data`; and file readers."""

from __future__ import annotations

from talweg.data import fetch, pictures, text, transforms
from talweg.data.cifar import CIFAR10, CIFAR100
from talweg.data.collate import default_collate, default_convert
from talweg.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from talweg.data.digits import digits
from talweg.data.grids import make_grid, save_image
from talweg.data.idx import MNIST, FashionMNIST, check_labels, read_idx
from talweg.data.images import ImageFolder, read_image, to_array
from talweg.data.loader import DataLoader
from talweg.data.records import CSVDataset, HDF5Dataset, LMDBDataset, NumPyDataset
from talweg.data.sampler import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from talweg.data.treebank import SentimentTreebank, Tree
from talweg.data.worker import WorkerInfo, get_worker_info

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "BatchSampler",
    "CSVDataset",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "FashionMNIST",
    "HDF5Dataset",
    "ImageFolder",
    "IterableDataset",
    "LMDBDataset",
    "NumPyDataset",
    "RandomSampler",
    "Sampler",
    "SentimentTreebank",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "Tree",
    "WorkerInfo",
    "check_labels",
    "default_collate",
    "default_convert",
    "digits",
    "fetch",
    "get_worker_info",
    "make_grid",
    "pictures",
    "random_split",
    "read_idx",
    "read_image",
    "save_image",
    "text",
    "to_array",
    "transforms",
]
