"""Reads the package's docstrings as the Markdown that mkdocstrings expects.

They are plain text with reStructuredText's roles and citations, and formulas in ASCII. Left as they
are, Markdown would take ``(N, *T)`` for emphasis and ``<B_T, B_0>`` for an HTML tag.
"""

from __future__ import annotations

import html
import re

from griffe import Extension, GriffeLoader, Object

_ROLE = re.compile(r":(?:func|class|mod|data|attr|meth|exc):`(~?)([\w.]+)`")
_CITED = re.compile(r"\[((?:Ren|Novak|Fisher)\d{4})\]_")
_REFERENCE = re.compile(r"^(\s*)\.\. \[(\w+)\] ")
_CODE = re.compile(r"(``[^`]+``|`[^`]+`)")
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|References|Note|Example)s?:$")
_SPECIAL = re.compile(r"([*_\\\[\]$|])")
_BULLET = re.compile(r"^(\s*)\* ")
_ITEM = re.compile(r"^    [\w*]+: ")


class PlainDocstrings(Extension):
    """Rewrites every docstring once, before it is parsed into sections."""

    def on_package(self, *, pkg: Object, loader: GriffeLoader, **_: object) -> None:
        """Visits the package with all that is in it."""
        _visit(pkg)


def _visit(thing: Object) -> None:
    if thing.docstring is not None:
        thing.docstring.value = to_markdown(thing.docstring.value, thing)
    for member in thing.members.values():
        if not member.is_alias and isinstance(member, Object):
            _visit(member)


def to_markdown(text: str, scope: Object) -> str:
    """Returns a docstring as Markdown: roles and citations as links, all else to the letter.

    Args:
        text: The docstring, without its indentation.
        scope: The object whose docstring it is; names in roles are looked up from there.
    """
    lines: list[str] = []
    in_section = literal = returned = False
    for line in text.splitlines():
        indented = line.startswith("    ")
        if line and not indented:
            in_section = literal = False
        if _SECTION.match(line):
            in_section, returned = True, line in ("Returns:", "Yields:")
            lines.append(line)
            continue
        # An indented block outside of a section is code, and so is what follows ``::``.
        if literal or (indented and not in_section):
            lines.append(line)
            continue
        if line.endswith("::"):
            literal, line = True, line[:-1]
        item = (
            _ITEM.match(line) if in_section and not returned else None
        )  # a parameter's name is no text
        start = item.end() if item else 0
        written = line[:start] + _line(line[start:], scope)
        # What is returned is described in words; a colon in them ends no type.
        lines.append(written.replace(": ", "&#58; ") if in_section and returned else written)
    return "\n".join(lines)


def _line(line: str, scope: Object) -> str:
    bullet = _BULLET.match(line)
    head = bullet.group() if bullet else ""
    reference = _REFERENCE.match(line)
    if reference:
        head = f"{reference[1]}**{reference[2]}** "
        line = line[reference.end() :]
    elif bullet:
        line = line[bullet.end() :]
    held: list[str] = []

    def hold(piece: str) -> str:
        held.append(piece)
        return f"\x00{len(held) - 1}\x00"

    line = _ROLE.sub(lambda match: hold(_link(match, scope)), line)
    line = _CITED.sub(lambda match: hold(_citation(match)), line)
    line = _CODE.sub(lambda match: hold(match.group()), line)
    line = _SPECIAL.sub(r"\\\1", html.escape(line, quote=False))
    return head + re.sub(r"\x00(\d+)\x00", lambda match: held[int(match[1])], line)


def _link(match: re.Match[str], scope: Object) -> str:
    short, name = match.groups()
    shown = name.rpartition(".")[2] if short else name
    # Optional: what the reference does not show stays plain code.
    return (
        f'<autoref optional identifier="{_full_name(name, scope)}"><code>{shown}</code></autoref>'
    )


def _full_name(name: str, scope: Object) -> str:
    if name.startswith("energytune."):
        return name
    try:
        return scope.resolve(name)
    except Exception:  # a name that nobody knows leads nowhere, and is shown as it is
        return name


def _citation(match: re.Match[str]) -> str:
    return _reference(match[1].lower(), f"[{match[1]}]")


def _reference(identifier: str, shown: str) -> str:
    """Returns a link within the site; what the site does not have stays plain text."""
    return f'<autoref optional identifier="{identifier}">{shown}</autoref>'
