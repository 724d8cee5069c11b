"""What a search's result shows: figures, the page, and itself in a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from energytune.search.result import TuneResult

__all__ = ["ResultPages"]


class ResultPages:
    """The part of :class:`~energytune.search.result.TuneResult` that draws.

    Figures are matplotlib's and belong to no global state: show one by returning it from a
    notebook's cell, or write it with ``savefig``.
    """

    @property
    def _result(self) -> TuneResult:
        return cast("TuneResult", self)

    @property
    def report_path(self) -> Path:
        """The page of the search, ``report.html`` in its folder."""
        return self._result.out / "report.html"

    def write_report(self, path: str | Path | None = None) -> Path:
        """Writes the page of the search, one HTML file that loads nothing, and returns where.

        Args:
            path: Where; None is :attr:`report_path`.

        Raises:
            OutputError: The disk is full or the folder can't be written.
        """
        from energytune.search.report_write import write_report

        return write_report(self._result, self.report_path if path is None else Path(path))

    def plot_outcome(self) -> Figure:
        """Returns a figure of the test score of winner and baselines, with intervals.

        Raises:
            ConfigError: The winner was not tested.
        """
        from energytune.report.chart_figure import draw_chart
        from energytune.report.charts_outcome import outcome_chart

        result = self._result
        chart = outcome_chart(
            result.winner, result.baselines, result.confirmations, metric=result.metric
        )
        return draw_chart(chart, "a winner that was tested")

    def plot_tau(self) -> Figure:
        """Returns a figure of FT-valid-acc against tau."""
        from energytune.report.figures import plot_tau

        return plot_tau(self._result.records, score=self._result.score_name)

    def plot_energy(self) -> Figure:
        """Returns a figure of FT-valid-acc against the average initial energy, with its hump."""
        from energytune.report.figures import plot_energy

        return plot_energy(self._result.records, score=self._result.score_name)

    def plot_curves(self) -> Figure:
        """Returns a figure of the finetuning curves."""
        from energytune.report.figures import plot_curves

        return plot_curves(self._result.records, score=self._result.score_name)

    def plot_energy_map(self) -> Figure:
        """Returns a figure of HP-train-acc and AIE along the probing trajectories."""
        from energytune.report.figures import plot_energy_map

        short = "acc" if self._result.metric == "accuracy" else self._result.score_name
        return plot_energy_map(self._result.records, score=short)

    def plot_parallel(self) -> Figure:
        """Returns a figure of recipes, energy and score as parallel coordinates.

        Raises:
            ConfigError: No trial is complete.
        """
        from energytune.report.chart_figure import draw_chart
        from energytune.report.charts_space import parallel_chart

        result = self._result
        chart = parallel_chart(result.records, result.config.space, metric=result.metric)
        return draw_chart(chart, "a complete trial")

    def plot_adaptation(self) -> Figure:
        """Returns a figure of how far finetuning moved the features of winner and baselines.

        Raises:
            ConfigError: No trial is complete.
        """
        from energytune.report.chart_figure import draw_chart
        from energytune.report.charts_outcome import adaptation_chart

        result = self._result
        chart = adaptation_chart(result.winner, result.baselines, result.confirmations)
        return draw_chart(chart, "a complete trial with adaptation metrics")

    def plot_importance(self) -> Figure:
        """Returns a figure of each dimension's importance, by Optuna's PED-ANOVA.

        Raises:
            ConfigError: There are too few trials; the message says how many it takes.
        """
        from energytune.optimizer.importance import recipe_importances
        from energytune.report.bars import importance_bars
        from energytune.report.chart_figure import draw_bars

        seed = self._result.config.seed
        return draw_bars(
            importance_bars(
                recipe_importances(self._result.records, self._result.config.space, seed=seed)
            )
        )

    def plot_costs(self) -> Figure:
        """Returns a figure of wall-clock time by stage.

        Raises:
            ConfigError: The search has not ended.
        """
        from energytune.report.bars import stage_bars
        from energytune.report.chart_figure import draw_bars
        from energytune.report.costs import costs

        return draw_bars(
            stage_bars(
                costs(self._result.records, self._result.confirmations, self._result.seconds)
            )
        )

    def _repr_html_(self) -> str:
        from energytune.report.thumbnail import render_thumbnail
        from energytune.search.report_input import report_input

        path = self.report_path if self.report_path.is_file() else None
        return render_thumbnail(
            report_input(self._result, link=self._result.tracking.link or ""), path
        )
