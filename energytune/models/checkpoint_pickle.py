"""Reading PyTorch's own format, in which weights lie beside settings of any class.

``torch.load(weights_only=True)`` makes no object of a class that was not let in. Training
scripts save their settings in the same file, so the classes that those are made of are let in by
name, and an inert placeholder stands for each: nothing is imported for it, its constructor and
its state are thrown away. A file can therefore run nothing through them, and the tensors beside
them can be read. Functions and all other classes are refused.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from energytune.errors import CheckpointError

__all__ = ["SAVE_HINT", "load_pickled"]

SAVE_HINT = (
    "Save the weights alone with torch.save(model.state_dict(), FILE) or as safetensors, "
    "on a machine where you trust the file."
)
_N_SHOWN = 3
_MODELS = ("torch.nn.modules.", "timm.layers.", "timm.models.", "torchvision.models.")
_LOSSES = "torch.nn.modules.loss."
_CALLS = ("builtins.", "importlib.", "nt.", "os.", "posix.", "runpy.", "subprocess.", "sys.")
"""What a file that is meant to do harm calls; enumerations alone need ``builtins.getattr``."""


class _Placeholder:
    """Stands for a setting; takes any arguments and any state, and keeps nothing."""

    def __new__(cls, *_: object) -> _Placeholder:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _PlaceholderDict:
    """Stands for a subclass of ``dict``: its items are kept, since weights may be among them."""

    def __new__(cls, *_: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()  # of all dicts the only one that PyTorch lets have attributes


_SETTINGS = (
    "argparse.Namespace",
    "builtins.bool", "builtins.dict", "builtins.float", "builtins.int", "builtins.list",
    "builtins.str", "builtins.tuple", "typing.Any",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
    "pathlib._local.Path", "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
    # a number of NumPy's, and the history of losses that mmengine keeps in arrays
    "numpy.dtype", "numpy.ndarray",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "mmengine.logging.history_buffer.HistoryBuffer",
    # solo-learn, lightly and VISSL keep hydra's settings
    "omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig",
    "omegaconf.base.Container", "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata",
    "omegaconf.nodes.AnyNode", "omegaconf.nodes.BooleanNode", "omegaconf.nodes.BytesNode",
    "omegaconf.nodes.FloatNode", "omegaconf.nodes.IntegerNode", "omegaconf.nodes.PathNode",
    "omegaconf.nodes.StringNode",
    # before 1.5, pytorch-lightning's callbacks were stored under their classes
    "pytorch_lightning.callbacks.early_stopping.EarlyStopping",
    "pytorch_lightning.callbacks.lr_monitor.LearningRateMonitor",
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
)  # fmt: skip
_SETTINGS_DICTS = (
    "collections.defaultdict",
    "addict.addict.Dict", "easydict.EasyDict",
    "mmcv.utils.config.ConfigDict", "mmengine.config.config.ConfigDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "vissl.config.attr_dict.AttrDict", "vissl.utils.hydra_config.AttrDict",
    "yacs.config.CfgNode",
)  # fmt: skip
_LET_IN: list[Any] = [
    *((_Placeholder, name) for name in _SETTINGS),
    *((_PlaceholderDict, name) for name in _SETTINGS_DICTS),
]


@contextmanager
def _letting_in() -> Iterator[None]:
    """Lets the stand-ins in, and no class that another library of this process has allowed."""
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(_LET_IN)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(others)


def load_pickled(path: Path) -> Any:
    """Returns what PyTorch's format holds, on the CPU.

    Args:
        path: An archive (zip) of PyTorch, or a file of its format before 1.6.

    Raises:
        CheckpointError: If it holds objects of other classes than settings, or is damaged.
    """
    try:
        with _letting_in():
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as failure:
        raise CheckpointError(_unpickling_text(path, str(failure))) from None
    except Exception as failure:  # a damaged pickle raises whatever its bytes happen to ask for
        reason = str(failure).splitlines()[0] if str(failure) else type(failure).__name__
        raise CheckpointError(
            f"The checkpoint {str(path)!r} is truncated or damaged: {reason}. Download it again."
        ) from None


def _unpickling_text(path: Path, failure: str) -> str:
    """Returns which classes were refused, or what else PyTorch's safe reader does not take."""
    start = f"The checkpoint {str(path)!r} "
    found = re.search(r"GLOBAL ([\w.]+\w)", failure)
    if found is None:
        reason = failure.partition("WeightsUnpickler error: ")[2].strip() or failure
        return (
            f"{start}is damaged, or holds what PyTorch's safe reader does not take: "
            f"{reason.splitlines()[0]}. Download it again. If it is whole: {SAVE_HINT}"
        )
    first = found[1] if "." in found[1] else f"builtins.{found[1]}"
    classes = _refused_classes(path) or [first]
    more = len(classes) - _N_SHOWN
    shown = ", ".join(classes[:_N_SHOWN]) + (f" and {more} more" if more > 0 else "")
    if any(_is_layer(name) for name in classes):
        return (
            f"{start}holds a whole pickled model ({shown}), not weights alone; reading it can "
            f"run any code. {SAVE_HINT}"
        )
    what = f"{start}holds pickled Python objects ({shown}) beside or instead of weights"
    if any(name.startswith(_CALLS) for name in classes):
        return (
            f"{what}; functions like these have no place in a checkpoint, and the file may be made "
            f"to do harm. Take the weights from a source you trust. {SAVE_HINT}"
        )
    return (
        f"{what}; reading them can run any code. Where you trust the file, save its weights alone: "
        "torch.save(torch.load(FILE, weights_only=False)['state_dict'], NEW_FILE), or whatever "
        "stands for 'state_dict' in it."
    )


def _is_layer(name: str) -> bool:
    return name.startswith(_MODELS) and not name.startswith(_LOSSES)


def _refused_classes(path: Path) -> list[str]:
    """Returns all classes and functions in an archive that are not let in; [] if unknown."""
    try:
        with _letting_in():
            found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # the format before 1.6, or an opcode it does not know: the first one must do
        return []
    return sorted(found, key=lambda name: (not name.startswith((*_CALLS, *_MODELS)), name))
