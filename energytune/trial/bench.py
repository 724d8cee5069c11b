"""What all trials of a search share: data, backbone, cached features, settings.

A :class:`BenchSpec` is a small picklable description; every process builds its own
:class:`Bench` from it, once. The driver builds it first, so that data and weights are checked,
pretrained and cached before a worker starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import torch

from energytune.config import (
    ProbeConfig,
    Recipe,
    SearchSpace,
)
from energytune.data import Split, Splits
from energytune.errors import ConfigError
from energytune.models import Backbone, TaskModel, build_model
from energytune.models.heads import MapSizes
from energytune.progress import NO_PROGRESS, Progress
from energytune.training.feature_store import FeatureStore
from energytune.training.features import Features, content_key
from energytune.training.features_budget import cache_budget
from energytune.training.features_extract import FeatureSource
from energytune.training.features_load import load_features
from energytune.training.probe_data import ProbeData
from energytune.training.snapshots import SnapshotStore
from energytune.trial.bench_data import UserData
from energytune.trial.bench_spec import BenchSpec
from energytune.trial.checkpoints import Checkpoints
from energytune.trial.model_files import ModelFiles

__all__ = ["Bench", "BenchSpec", "UserData"]

_FEATURE_BATCH = {"cpu": 64, "cuda": 256}
"""Samples a forward pass: a CPU's caches hold the activations of few."""
_EVAL_BATCH, _EVAL_BATCH_OF_MAPS = 256, 16


class Bench:
    """Data, backbone and caches of one process.

    Args:
        spec: What it was built from.
        splits: The downstream dataset.
        backbone: The pretrained backbone, never changed.
    """

    def __init__(self, spec: BenchSpec, splits: Splits, backbone: Backbone) -> None:
        self.spec, self.splits, self.backbone = spec, splits, backbone
        self.device = torch.device("cuda" if spec.use_gpu else "cpu")
        self.snapshots = SnapshotStore(spec.cache / "trajectories", spec.sharing)
        # of an energy map there are thousands, and no other node asks for them
        self.map_snapshots = SnapshotStore(spec.cache / "trajectories")
        self.models = ModelFiles.of_search(
            spec.model_dir, spec.storage_path, spec.search_id, cache=spec.cache
        )
        self.checkpoints = Checkpoints(self.models, spec.max_state_bytes)
        root = spec.cache / "features"
        self._store = FeatureStore(root, shared=spec.sharing.storage)
        self._budget = cache_budget(root, self._store.used_bytes(), spec.cache_budget)
        if spec.max_feature_bytes is not None:
            self._budget = self._budget.at_most(spec.max_feature_bytes, "left by --max-disk")
        self._data: dict[int, ProbeData] = {}
        if self.maps is not None and spec.probe.n_views > 1:
            raise ConfigError(
                f"probe.n_views must be 1 where targets are pixels, got {spec.probe.n_views}: an "
                "augmented view moves its targets as well. Finetuning augments by itself."
            )

    @property
    def output_size(self) -> tuple[int, int] | None:
        """(H, W) of the logits; None but for one target a pixel."""
        if self.backbone.map_size is None:
            return None
        height, width = self.backbone.input_shape[-2:]
        return height, width

    @property
    def maps(self) -> MapSizes | None:
        """Sizes of the maps of features and logits; None but for one target a pixel."""
        if self.backbone.map_size is None or self.output_size is None:
            return None
        return MapSizes(self.backbone.map_size, self.output_size)

    @property
    def eval_batch(self) -> int:
        """Samples a forward pass where nothing is trained: fewer where logits are maps."""
        return _EVAL_BATCH if self.maps is None else _EVAL_BATCH_OF_MAPS

    def fit_space(self, space: SearchSpace, *, narrow: bool) -> SearchSpace:
        """Returns the space with ``reinit_depth`` no deeper than the backbone can be cut.

        Args:
            space: What is to be searched.
            narrow: Whether a deeper range is narrowed; else it is refused.

        Raises:
            ConfigError: If the space asks for more and is not to be narrowed.
        """
        wanted, possible = space.reinit_depth.high, self.backbone.max_reinit_depth
        if wanted > possible:
            if narrow and space.reinit_depth.low <= possible:
                depths = space.reinit_depth.model_copy(update={"high": possible})
                return space.model_copy(update={"reinit_depth": depths})
            why = f" ({self.backbone.cut_problem})" if self.backbone.cut_problem else ""
            raise ConfigError(
                f"reinit_depth must be at most {possible} for the backbone "
                f"{self.backbone.name!r}{why}, got high = {wanted}. Use --fix reinit_depth=0 or a "
                "space with a smaller range."
            )
        return space

    def weights_bytes(self, space: SearchSpace) -> int:
        """Returns the bytes of a trained model's weights, that of the space's baselines."""
        model = self.model(space.baseline(space.tau.low), seed=0)
        return sum(value.nbytes for value in model.state_dict().values())

    @property
    def cached_feature_bytes(self) -> int:
        """Bytes of all cached features on disk, those of other searches included."""
        return self._store.used_bytes()

    def prepare(self, depths: Iterable[int], progress: Progress = NO_PROGRESS) -> None:
        """Caches the features at every cut of ``depths``."""
        for depth in depths:
            self.probe_data(depth, progress)

    def model(self, recipe: Recipe, seed: int) -> TaskModel:
        """Returns a fresh model of the recipe on this bench's device; same seed, same weights."""
        return build_model(
            self.backbone,
            head_arch=recipe.head_arch,
            n_outputs=self.splits.task.n_outputs,
            reinit_depth=recipe.reinit_depth,
            seed=seed,
            output_size=self.output_size,
        ).to(self.device)

    def probe_data(self, depth: int, progress: Progress = NO_PROGRESS) -> ProbeData:
        """Returns the features of train and valid at the cut of ``depth``, on the device."""
        if depth not in self._data:
            splits, n_views = self.splits, self.spec.probe.n_views
            recipe = Recipe(tau=0, reinit_depth=depth, ft_lr=1.0)
            model = cache(lambda: self.model(recipe, seed=0))  # built once, and only if needed
            self._data[depth] = ProbeData(
                self._features(model, depth, "train", splits.train, n_views, progress),
                splits.train.targets.to(self.device),
                self._features(model, depth, "valid", splits.valid, 1, progress),
                splits.valid.targets.to(self.device),
            )
        return self._data[depth]

    def trajectory(self, recipe: Recipe, seed: int) -> str:
        """Returns the content address of the recipe's probing trajectory; ``tau`` is no part."""
        return self.trajectory_of(
            head_arch=recipe.head_arch,
            label_smoothing=recipe.label_smoothing,
            reinit_depth=recipe.reinit_depth,
            config=self.spec.probe,
            seed=seed,
            order_seed=seed,
        )

    def trajectory_of(
        self,
        *,
        head_arch: str,
        label_smoothing: float,
        reinit_depth: int,
        config: ProbeConfig,
        seed: int,
        order_seed: int,
        n_threads: int | None = None,
        together: Sequence[Mapping[str, Any]] = (),
    ) -> str:
        """Returns the content address of one head's probing trajectory.

        Args:
            head_arch: ``"linear"``, ``"mlp"`` or ``"aspp"``.
            label_smoothing: eps in [0, 1).
            reinit_depth: Number of reinitialised last blocks.
            config: Optimiser and views.
            seed: Of the initialisation.
            order_seed: Of the batch order.
            n_threads: CPU threads it is computed with; None is the bench's.
            together: All heads that are trained in one product with this one, which decides how
                it is rounded; empty if it is alone.
        """
        return content_key(
            kind="trajectory",
            head_arch=head_arch,
            label_smoothing=label_smoothing,
            probe=config.model_dump(),
            seed=seed,
            order_seed=order_seed,
            together=[dict(head) for head in together],
            n_threads=self.spec.n_threads if n_threads is None else n_threads,
            torch=torch.__version__,
            **self._cut_parts(reinit_depth),
        )

    def _cut_parts(self, depth: int) -> dict[str, Any]:
        return {
            "backbone": self.backbone.name,
            "weights": self.backbone.weights_sha256,
            "reinit_depth": depth,
            "data": self.splits.fingerprint,
            "device": self.device.type,
            **self.spec.engine.cache_parts(),
        }

    def _features(
        self,
        make_model: Callable[[], TaskModel],
        depth: int,
        name: str,
        split: Split,
        n_views: int,
        progress: Progress,
    ) -> Features:
        source = FeatureSource(
            make_model,
            split,
            name=name,
            depth=depth,
            n_views=n_views,
            batch_size=_FEATURE_BATCH[self.device.type],
            device=self.device,
            engine=self.spec.engine,
        )
        parts = {
            "kind": "features",
            "split": name,
            "n_views": n_views,
            "dtype": "float16",
            **self._cut_parts(depth),
        }
        return load_features(
            self._store,
            content_key(**parts),
            source,
            budget=self._budget,
            parts={"dataset": self.splits.name, **parts},
            progress=progress,
        )
