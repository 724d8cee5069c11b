"""Features that stay in their file: mapped where they fit the memory, else read row by row."""

from __future__ import annotations

import mmap
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from energytune.errors import DataError
from energytune.training.feature_entry import StoredFeatures
from energytune.training.features import check_view

__all__ = ["MappedFeatures"]

_LONGEST_READ = 1 << 30


class MappedFeatures:
    """Features in a file that is never loaded whole; an implementation of ``Features``.

    A file of at most ``resident_bytes`` is mapped, which is the fastest way to random rows. The
    pages of a mapped file count as this process's memory, and the kernel maps up to 2 MiB around
    each row that is touched, so giving pages back in time costs more than not mapping them: of a
    larger file just the wanted rows are read. Either way the kernel caches the file while there
    is room.

    Args:
        stored: A whole entry of the feature store.
        resident_bytes: Most bytes of the file that may be resident in this process.
        device: Where batches are given out.
    """

    def __init__(
        self, stored: StoredFeatures, *, resident_bytes: int, device: torch.device
    ) -> None:
        n_views, n_samples, *item = stored.shape
        self._n_slots, self._n_samples = n_views, n_samples
        self._shape = torch.Size((n_samples, *item))
        self._device = device
        self._dtype = torch.float16 if stored.dtype == np.float16 else torch.float32
        self._row_bytes = stored.n_bytes // (n_views * n_samples)
        self._offset = stored.offset
        self._file = stored.path.open("rb", buffering=0)
        self._rows: np.ndarray[Any, Any] | None = None
        if stored.n_bytes <= resident_bytes:
            # Shared and only for reading: a private mapping would count as memory to be promised.
            whole = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            flat = np.frombuffer(whole, stored.dtype, stored.n_elements, stored.offset)
            self._rows = flat.reshape(n_views, n_samples, -1)
            self._view_0 = _read_only_tensor(self._rows[0])

    @property
    def shape(self) -> torch.Size:
        """(N, ...): one view."""
        return self._shape

    @property
    def n_views(self) -> int:
        """1, or the number of augmented views."""
        return max(1, self._n_slots - 1)

    @property
    def device(self) -> torch.device:
        """Where batches are given out."""
        return self._device

    @property
    def is_mapped(self) -> bool:
        """Whether the file is mapped, not read row by row."""
        return self._rows is not None

    def take(self, indices: Tensor, view: int = 0) -> Tensor:
        """Returns the features of some samples; see ``Features.take``.

        Raises:
            DataError: If the file was cut short while it was in use.
        """
        check_view(view, self.n_views)
        wanted = indices.cpu().numpy()
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < self._n_samples:
            raise IndexError(
                f"indices must be in 0..{self._n_samples - 1}, got {wanted.min()} to "
                f"{wanted.max()}."
            )
        gathered = self._buffer(len(wanted))
        if self._rows is not None:
            # With mode "raise" numpy would buffer the output; the range is checked above.
            np.take(self._rows[view], wanted, axis=0, out=gathered.numpy(), mode="clip")
        else:
            target = _bytes(gathered)
            for i, index in enumerate(wanted.tolist()):
                self._read(target[i * self._row_bytes : (i + 1) * self._row_bytes], index, view)
        return self._give_out(gathered)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yields all samples in order, (B, ...) float32.

        Raises:
            DataError: If the file was cut short while it was in use.
        """
        for start in range(0, self._n_samples, batch_size):
            gathered = self._buffer(min(batch_size, self._n_samples - start))
            if self._rows is None:
                self._read(_bytes(gathered), start, 0)
            elif self._device.type == "cpu" and self._dtype == torch.float16:
                gathered = self._view_0[start : start + batch_size]  # widened when it is given out
            else:
                gathered.copy_(self._view_0[start : start + batch_size])
            yield self._give_out(gathered)

    def _read(self, target: memoryview, index: int, view: int) -> None:
        """Fills ``target`` with what begins at a sample of a view."""
        position = self._offset + (view * self._n_samples + index) * self._row_bytes
        done = 0
        while done < len(target):
            part = target[done : done + _LONGEST_READ]
            n_read = os.preadv(self._file.fileno(), [part], position + done)
            if n_read == 0:
                raise DataError(
                    f"The cached features {self._file.name} were cut short while they were in use. "
                    "Run again: they are built anew."
                )
            done += n_read

    def _buffer(self, n_rows: int) -> Tensor:
        # Pinned memory comes from torch's own pool, which knows when a copy to the GPU is over.
        return torch.empty(
            (n_rows, self._shape[1:].numel()),
            dtype=self._dtype,
            pin_memory=self._device.type == "cuda",
        )

    def _give_out(self, gathered: Tensor) -> Tensor:
        shaped = gathered.view(len(gathered), *self._shape[1:])
        return shaped.to(self._device, non_blocking=True).to(torch.float32)


def _read_only_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Returns a tensor over memory that must not be written to, without torch's warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.numpy().data.cast("B") if tensor.numel() else memoryview(b"")
