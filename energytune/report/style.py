"""How all figures look: colours, markers, axes, and how one is written to a file.

Colours are those of [Okabe2008]_, which stay apart for colour-blind readers; markers and lines
tell the same as the colours, so that the figures also work in black and white.

References:
    .. [Okabe2008] M. Okabe, K. Ito. Color universal design (2008).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter, SymmetricalLogLocator

from energytune.errors import ConfigError
from energytune.paths import atomic_file

__all__ = [
    "COLOURS",
    "LINES",
    "MARKERS",
    "line_style",
    "percent_axis",
    "save_figure",
    "tau_axis",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")

_FORMATS = (".png", ".svg", ".pdf")


def line_style(index: int) -> dict[str, Any]:
    """Returns colour, marker and dashes of line ``index`` >= 0; the first 28 differ."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": LINES[(index // len(COLOURS)) % len(LINES)],
        "markersize": 3.5,
    }


def tau_axis(axes: Axes) -> None:
    """Makes x a log axis that shows tau = 0 as well (linear up to 1)."""
    axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.5)
    axes.set_xlim(left=-0.3)
    axes.xaxis.set_major_locator(SymmetricalLogLocator(base=4, linthresh=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tau, _: f"{tau:g}"))
    axes.set_xlabel("tau (head-probing epochs)")


def percent_axis(axes: Axes, label: str) -> None:
    """Makes y an axis of shares in [0, 1] that reads in percent."""
    axes.set_ylabel(label)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure, whole or not at all; its title is kept in the file for screen readers.

    Args:
        figure: What to write.
        path: Where; its suffix is the format: ``.png``, ``.svg`` or ``.pdf``.

    Raises:
        ConfigError: The suffix is no known format.
        OutputError: The disk is full or the folder can't be written.
    """
    kind = path.suffix.lower()
    if kind not in _FORMATS:
        raise ConfigError(
            f"A figure's file must end in {', '.join(_FORMATS)}, got {path}. "
            f"Try {path.with_suffix('.png')}."
        )
    metadata = {"Title": figure.get_suptitle() or figure.axes[0].get_title()}
    if kind == ".svg":
        # The same figure gives the same bytes.
        metadata["Date"] = None  # type: ignore[assignment]
    with atomic_file(path, "Choose another file.") as file:
        figure.savefig(file, format=kind[1:], dpi=150, metadata=metadata)
