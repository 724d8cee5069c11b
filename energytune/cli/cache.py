"""``energytune cache list`` and ``cache clear``: what is kept to save time, and its removal."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from energytune.cache_listing import CacheItem

__all__ = ["cache_app"]

cache_app = typer.Typer(
    no_args_is_help=True,
    help="List or clear what is kept to save time. All of it is made again when it is needed.",
)


@cache_app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List what lies in the cache, with sizes, and the budget of the features."""
    from energytune.cache_listing import CACHE_KINDS, list_cache
    from energytune.config.sizes import format_bytes
    from energytune.paths import cache_dir
    from energytune.training.features_budget import cache_budget

    root = cache_dir()
    items = list_cache(root)
    by_kind = {kind: sum(i.n_bytes for i in items if i.kind == kind) for kind in CACHE_KINDS}
    budget = cache_budget(root / "features", by_kind["features"])
    total = sum(by_kind.values())
    if as_json:
        document = {
            "folder": str(root),
            "n_bytes": total,
            "features_budget_bytes": budget.disk_bytes,
            "items": [item.to_dict() for item in items],
        }
        typer.echo(json.dumps(document, indent=2))
        return
    for kind, meaning in CACHE_KINDS.items():
        of_kind = [item for item in items if item.kind == kind]
        if of_kind:
            typer.echo(f"{kind}: {meaning}, {format_bytes(by_kind[kind])}")
            for item in of_kind:
                typer.echo(f"  {_line(item)}")
    typer.echo(f"{format_bytes(total)} in {root}")
    typer.echo(f"features may take {format_bytes(budget.disk_bytes)} ({budget.rule})")


@cache_app.command("clear")
def clear_command(
    kind: Annotated[
        list[str] | None,
        typer.Option(help="Only this kind, as `cache list` names it; may be given again."),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Only what was not used for so long, for example 7d.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Remove what lies in the cache; what is being built stays."""
    from energytune.cache_listing import CACHE_KINDS, clear_cache, list_cache
    from energytune.config.sizes import format_bytes
    from energytune.errors import ConfigError, unknown_name
    from energytune.paths import cache_dir

    for name in kind or ():
        if name not in CACHE_KINDS:
            raise unknown_name("kind of cache", name, CACHE_KINDS)
    kinds, seconds, root = kind or list(CACHE_KINDS), _seconds(older_than), cache_dir()
    now = time.time()
    concerned = [item for item in list_cache(root, kinds) if item.unused_for_s(now) >= seconds]
    if not concerned:
        typer.echo(f"There is nothing to remove in {root}.")
        return
    size = format_bytes(sum(item.n_bytes for item in concerned))
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError(
                f"cache clear would remove {len(concerned)} things ({size}) from {root}, and there "
                "is no terminal to ask on. Add --yes."
            )
        typer.confirm(f"Remove {len(concerned)} things ({size}) from {root}?", abort=True)
    cleared = clear_cache(root, kinds, unused_for_s=seconds, now=now)
    for item in cleared.building:
        typer.echo(f"left, since it is being built: {item.path}")
    typer.echo(f"removed {len(cleared.removed)} things, {format_bytes(cleared.n_bytes)}")


def _line(item: CacheItem) -> str:
    from energytune.config.sizes import format_bytes

    building = ", being built" if item.building else ""
    age = _age(item.unused_for_s(time.time()))
    return f"{format_bytes(item.n_bytes):>9}  {age:>10}  {item.what}{building}"


def _age(seconds: float) -> str:
    """Returns ``"5 min ago"``, ``"3 h ago"`` or ``"12 d ago"``."""
    for unit, length in (("d", 86400), ("h", 3600)):
        if seconds >= length:
            return f"{int(seconds / length)} {unit} ago"
    return f"{int(seconds / 60)} min ago"


def _seconds(older_than: str | None) -> float:
    from energytune.cli.duration import parse_duration
    from energytune.errors import ConfigError

    if older_than is None:
        return 0.0
    try:
        return parse_duration(older_than)
    except ConfigError as error:  # its words are those of another option
        raise ConfigError(str(error).replace("--time-budget", "--older-than")) from None
