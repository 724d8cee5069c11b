"""A backbone and a head put together for one trial."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from energytune.errors import CheckpointError, ConfigError
from energytune.models.backbone import Backbone, create_backbone
from energytune.models.cut import Cut
from energytune.models.dense import DenseLayer, dense_chain
from energytune.models.heads import MapSizes, create_head
from energytune.models.reinit import reinitialise
from energytune.seeds import derive_seed

__all__ = ["TaskModel", "build_model", "rebuild_model"]


class TaskModel(nn.Module):
    """A backbone with a task head; its last blocks may belong to the head side.

    The head side is what head probing trains: the head, and the reinitialised tail if
    ``reinit_depth > 0``. The rest is the prefix.

    Attributes:
        backbone: The whole network, (N, ...) -> (N, D), or (N, D, h, w) for pixels.
        head: (N, D) -> (N, K), or (N, D, h, w) -> (N, K, H, W).
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        *,
        cut: Cut,
        spec: dict[str, Any],
        shares_prefix: bool = False,
    ) -> None:
        super().__init__()
        self._shares_prefix = shares_prefix
        self.backbone = backbone
        self.head = head
        self._cut = cut
        self._spec = spec

    def forward(self, x: Tensor) -> Tensor:
        """Returns logits (N, K, ...) of inputs (N, ...) by one forward of the whole net."""
        logits: Tensor = self.head(self.backbone(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Returns what flows through the cut, (N, ...); pooled features (N, D) at depth 0.

        The caller sets evaluation mode and ``torch.no_grad``.
        """
        return self._cut.prefix(x)

    def from_features(self, z: Tensor) -> Tensor:
        """Returns logits (N, K) from the output of :meth:`features`; runs the head side only.

        ``z`` is never changed in place, so cached features can be passed as they are.
        """
        logits: Tensor = self.head(self._cut.resume(z))
        return logits

    def feature_values(self, z: Tensor) -> Tensor:
        """Returns the part of :meth:`features`'s output that is features, (N, ...).

        All of it, but for graphs, whose neighbours travel with the features through a cut.
        """
        return self._cut.values(z)

    def head_side_state(self) -> dict[str, Tensor]:
        """Returns parameters and buffers of the head side by name: references, no copies."""
        names = self._cut.tail_state_names
        return {
            name: tensor
            for name, tensor in self.state_dict().items()
            if name.startswith("head.") or name.removeprefix("backbone.") in names
        }

    def load_head_side_state(self, state: dict[str, Tensor]) -> None:
        """Copies a :meth:`head_side_state` into this model, in place.

        Raises:
            CheckpointError: If names or shapes are not those of this model's head side.
        """
        own = self.head_side_state()
        wrong = sorted(
            {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
            | (own.keys() ^ state.keys())
        )
        if wrong:
            raise CheckpointError(
                f"The head-side state does not belong to this model ({self._spec}): "
                f"{len(wrong)} tensors are missing, unknown or of another shape: {wrong[:4]}"
            )
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def head_side_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of the tail (none at depth 0), then of the head."""
        names = self._cut.tail_state_names
        tail = [p for name, p in self.backbone.named_parameters() if name in names]
        return tail + list(self.head.parameters())

    def dense_head_side(self) -> list[DenseLayer] | None:
        """Returns the head side as dense layers, first to last; None if it is something else."""
        tail = self._cut.tail_modules
        return None if tail is None else dense_chain((*tail, self.head))

    def train(self, mode: bool = True) -> TaskModel:
        """Sets the mode of all parts; of the head side only if others share this prefix."""
        if self._shares_prefix:
            self.set_probe_mode(mode)
            return self
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Loads a ``state_dict`` of the whole model.

        Raises:
            ConfigError: If others share this prefix, whose weights would change with it.
        """
        if self._shares_prefix:
            raise ConfigError(
                "This model was built with share_prefix = True, so its prefix belongs to others as "
                "well and can't be loaded. Use load_head_side_state, or build it without sharing."
            )
        return super().load_state_dict(*args, **kwargs)

    def set_probe_mode(self, train: bool) -> None:
        """Puts the prefix into evaluation mode, and the head side into training mode or not."""
        self.training = train
        self._cut.train_tail(train)
        self.head.train(train)

    @torch.no_grad()
    def head_norm(self) -> float:
        """Returns the L2 norm of all head-side parameters together, >= 0."""
        norms = torch._foreach_norm(list[Tensor](self.head_side_parameters()))
        return float(torch.linalg.vector_norm(torch.stack(list(norms))))

    def spec(self) -> dict[str, Any]:
        """Returns JSON values from which :func:`rebuild_model` builds the same architecture."""
        return copy.deepcopy(self._spec)


def build_model(
    backbone: Backbone,
    *,
    head_arch: str,
    n_outputs: int,
    reinit_depth: int,
    seed: int,
    output_size: tuple[int, int] | None = None,
    share_prefix: bool = False,
) -> TaskModel:
    """Builds the model of one trial; the backbone itself is copied, never changed.

    The same arguments give bit-equal weights, shared prefix or not.

    Args:
        backbone: From :func:`~energytune.models.create_backbone`.
        head_arch: ``"linear"`` or ``"mlp"``; also ``"aspp"`` for a backbone that gives maps.
        n_outputs: Width K of the logits, >= 2.
        reinit_depth: Number of last blocks that are reinitialised with the architecture's own
            initialisers and join the head side, in [0, backbone.max_reinit_depth].
        seed: Seed of head and tail; the head's weights do not depend on ``reinit_depth``.
        output_size: (H, W) of the logits, for a backbone that gives maps and only for it.
        share_prefix: Whether only the tail is copied, and the prefix refers to the backbone's own
            weights, frozen: for probing many tails on one prefix. Such a model can't be finetuned.

    Raises:
        CutError: If the backbone can't be cut there.
        UnknownNameError: If there is no such head.
        ConfigError: If the head does not go with the backbone.
    """
    head = create_head(
        head_arch,
        backbone.n_features,
        n_outputs,
        seed=derive_seed(seed, "head"),
        maps=_map_sizes(backbone, output_size),
    )
    memo = _shared_prefix(backbone, reinit_depth) if share_prefix else {}
    module = copy.deepcopy(backbone.module, memo)
    cut = backbone.cut(module, reinit_depth)
    if reinit_depth:
        tail_seed = derive_seed(seed, "tail")
        reinitialise(module, cut.tail_state_names, seed=tail_seed, fresh=backbone.fresh)
    spec = {
        "backbone": backbone.name,
        "input_shape": list(backbone.input_shape),
        "head_arch": head_arch,
        "n_outputs": n_outputs,
        "reinit_depth": reinit_depth,
    }
    if output_size is not None:
        spec["output_size"] = list(output_size)
    model = TaskModel(module, head, cut=cut, spec=spec, shares_prefix=share_prefix)
    model.eval()
    return model


def _map_sizes(backbone: Backbone, output_size: tuple[int, int] | None) -> MapSizes | None:
    """Returns the sizes of maps; None for a backbone that gives vectors."""
    if (backbone.map_size is None) != (output_size is None):
        raise ConfigError(
            f"output_size must be given with a backbone that gives maps and only with one: "
            f"{backbone.name!r} has map_size = {backbone.map_size}, got {output_size}. Create it "
            "with spatial=True for one target a pixel."
        )
    if backbone.map_size is None or output_size is None:
        return None
    return MapSizes(backbone.map_size, output_size)


def _shared_prefix(backbone: Backbone, depth: int) -> dict[int, Any]:
    """Returns a memo for ``deepcopy`` by which the prefix keeps the backbone's memory.

    Parameters become new ones without gradient over the same memory, so that no optimiser changes
    them and moving a model to another device leaves the backbone where it is.
    """
    tail = backbone.cut(backbone.module, depth).tail_state_names
    return {
        id(tensor): nn.Parameter(tensor.detach(), requires_grad=False)
        if isinstance(tensor, nn.Parameter)
        else tensor.detach()
        for name, tensor in backbone.module.state_dict(keep_vars=True).items()
        if name not in tail
    }


def rebuild_model(spec: dict[str, Any]) -> TaskModel:
    """Builds the architecture that a :meth:`TaskModel.spec` describes, with random weights.

    Load the weights with ``load_state_dict``.

    Args:
        spec: As returned by :meth:`TaskModel.spec`.

    Raises:
        ConfigError: If the spec is not complete, or the backbone was a user's own module,
            which only the user's code can build.
    """
    wanted = {"backbone", "input_shape", "head_arch", "n_outputs", "reinit_depth"}
    if missing := sorted(wanted - spec.keys()):
        raise ConfigError(f"The model's description lacks {missing}; it has {sorted(spec)}.")
    if str(spec["backbone"]).startswith("custom:"):
        raise ConfigError(
            f"Backbone {spec['backbone']!r} is your own module, which a description can't "
            "rebuild. Build it in your code, pass it to create_backbone and build_model, and "
            "load the weights with load_state_dict."
        )
    output_size = spec.get("output_size")
    backbone = create_backbone(
        spec["backbone"],
        weights="none",
        input_shape=tuple(spec["input_shape"]),
        spatial=output_size is not None,
    )
    return build_model(
        backbone,
        head_arch=spec["head_arch"],
        n_outputs=spec["n_outputs"],
        reinit_depth=spec["reinit_depth"],
        seed=0,
        output_size=None if output_size is None else (output_size[0], output_size[1]),
    )
