"""``energytune export``: a registered model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from energytune.cli.champion_options import Runs, TrackingUri, Version, find_model

__all__ = ["export"]


def export(
    dataset: Annotated[
        str, typer.Option(help="Dataset whose champion is exported: digits, stl10, ...")
    ],
    file_format: Annotated[str, typer.Option("--format", help="onnx, torch or safetensors.")],
    out: Annotated[
        Path, typer.Option(help="The file to write: FILE.onnx, FILE.pt2 or FILE.safetensors.")
    ],
    version: Version = None,
    tracking_uri: TrackingUri = None,
    runs: Runs = None,
) -> None:
    """Write the champion of a dataset as a file, with preprocessing inside.

    The file is checked on generated examples: its probabilities must agree with the champion's to
    1e-4, or nothing is written.
    """
    from energytune.errors import unknown_name
    from energytune.serving import EXPORT_FORMATS, export_model

    if file_format not in EXPORT_FORMATS:
        raise unknown_name("export format", file_format, EXPORT_FORMATS)
    predictor = find_model(
        dataset, version=version, tracking_uri=tracking_uri, runs=runs, device="cpu"
    )
    done = export_model(predictor, file_format, out)
    typer.echo(f"{predictor.name} v{predictor.version} -> {done.path} ({done.n_bytes:,} bytes)")
    typer.echo(f"  {done.takes}")
    typer.echo(
        f"  checked on {done.n_examples} generated examples: largest difference of a probability "
        f"{done.max_difference:.1e}"
    )
