"""Writes the page of a search; whatever goes wrong with it, the search goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from energytune.config import SearchConfig
from energytune.errors import EnergyTuneError
from energytune.paths import atomic_file
from energytune.progress import Progress
from energytune.search.about import about_search, end_of, without_map, write_about
from energytune.search.command import SPACE_FILE
from energytune.search.folder import RunFolder
from energytune.search.report_input import State, report_input
from energytune.search.result import TuneResult
from energytune.trial.map_curve import MapCurve

if TYPE_CHECKING:
    from energytune.trial.bench import Bench

__all__ = ["SearchReport", "write_report"]

_ADVICE = "Name another file with --out."
_STUDY_ATTR = "energytune"


class _Study(Protocol):
    """What is kept in the study."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Keeps a value."""
        ...


class SearchReport:
    """What a running search tells of itself: at its begin, and as a page at its end.

    Nothing here raises: a page that can't be drawn, or a full disk, is told in a note.

    Args:
        folder: The search's folder.
        progress: Told of what went wrong.

    Attributes:
        about: What the search runs on, as JSON values; empty before :meth:`begin`.
        problem: What went wrong, for a person; empty if nothing.
    """

    def __init__(self, folder: RunFolder, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._study: _Study | None = None
        self.about: dict[str, Any] = {}
        self.problem = ""

    def begin(
        self,
        config: SearchConfig,
        bench: Bench,
        curves: Sequence[MapCurve],
        *,
        user_module: bool,
    ) -> None:
        """Writes what is known before the first trial; see :mod:`energytune.search.about`."""
        try:
            self.about = about_search(config, self._folder, bench, curves, user_module=user_module)
            write_about(self._folder.about, self.about)
        except Exception as error:
            self._tell("What this search runs on could not be written", error)

    def remember(self, study: _Study) -> None:
        """Keeps the same in the study, for whoever has that alone."""
        self._study = study
        self._keep()

    def end(self, result: TuneResult, *, state: State | None = None) -> None:
        """Writes the page, and how the search has ended; may be told again when more is known.

        Args:
            result: The search's result.
            state: None reads it from the result.
        """
        try:
            self.about["end"] = end_of(result)
            write_about(self._folder.about, self.about)
            self._keep()
            write_report(result, self._folder.report, state=state)
        except KeyboardInterrupt:
            self._tell("The report was not drawn", "interrupted")
        except Exception as error:
            self._tell("The report could not be drawn", error)

    def _keep(self) -> None:
        try:
            if self._study is not None and self.about:
                self._study.set_user_attr(_STUDY_ATTR, without_map(self.about))
        except Exception as error:
            self._tell("The study could not be told what it runs on", error)

    def _tell(self, what: str, error: BaseException | str) -> None:
        told = (
            error
            if isinstance(error, EnergyTuneError | str)
            else f"{type(error).__name__}: {error}"
        )
        again = f"`energytune report {self._folder.path}` draws it again"
        text = f"{what}: {str(told).rstrip('.')}; the search itself is kept, {again}"
        if text != self.problem:
            self.problem = text
            self._progress.note(text)


def write_report(
    result: TuneResult,
    path: Path,
    *,
    state: State | None = None,
    n_waiting: int = 0,
    notes: Sequence[str] = (),
) -> Path:
    """Writes the page of a search: one file that loads nothing, whole or not at all.

    Args:
        result: The search, as far as it has come.
        path: Where; its folder is made.
        state: None reads it from the result.
        n_waiting: Trials that are running or paused.
        notes: What is out of the ordinary.

    Returns:
        ``path``.

    Raises:
        OutputError: The disk is full or the folder can't be written.
    """
    from energytune.report.page import render_page

    told = result.about.get("end") or end_of(result)
    data = report_input(
        result,
        state=state,
        n_waiting=n_waiting,
        registered=told["registered"],
        link=told["link"],
        notes=notes,
    )
    page = render_page(data).encode()
    with atomic_file(path, _ADVICE) as file:
        file.write(page)
    if data.reproduction.space:
        with atomic_file(path.parent / SPACE_FILE, _ADVICE) as file:
            file.write(data.reproduction.space.encode())
    return path
