"""What the site needs beside its theme: formulas without a script, and pages from outside docs/.

MkDocs loads this file by ``hooks:`` in ``mkdocs.yml``. Formulas are written as ``$...$`` and
``$$...$$``, found by pymdownx.arithmatex, and become MathML here, when the site is built: a
browser draws them by itself, without a font or script from anywhere.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

MOUNTED = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "benchmarks/paper/README.md",
    "benchmarks/paper/printed/README.md",
    "mlflow/README.md",
    "search_spaces/README.md",
)
"""Pages that lie beside the code they describe and are shown in the site too."""

MOUNTED_FILES = ("mlflow/compose.yaml", "mlflow/env.example", "search_spaces/*.yaml")
"""Files that the pages link to; they are copied as they are."""

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages and files from outside docs/, at the path they have in the repository."""
    root = _root(config)
    for pattern in (*MOUNTED, *MOUNTED_FILES):
        found = sorted(root.glob(pattern))
        if not found:
            raise PluginError(f"{pattern} of docs/tools/site_hooks.py is not in the repository.")
        for path in found:
            name = path.relative_to(root).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links that are right in the repository into links that are right in the site."""
    uri = page.file.src_uri
    here = uri if uri in MOUNTED else posixpath.join("docs", uri)

    def in_site(match: re.Match[str]) -> str:
        return _in_site(match, here, uri, files)

    pieces, last = [], 0
    for fence in _FENCE.finditer(markdown):
        pieces += [_LINK.sub(in_site, markdown[last : fence.start()]), fence.group()]
        last = fence.end()
    return "".join([*pieces, _LINK.sub(in_site, markdown[last:])])


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Draws the formulas of a page as MathML."""

    def drawn(match: re.Match[str]) -> str:
        display = "inline" if match.group(1) == "span" else "block"
        latex = html.unescape(match.group(2)).strip()
        try:
            return str(convert(latex, display=display))
        except Exception as error:  # whatever the converter raises, it is this formula's fault
            raise PluginError(f"{page.file.src_uri}: the formula {latex!r}: {error}") from error

    return _FORMULA.sub(drawn, content)


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent


def _in_site(match: re.Match[str], here: str, uri: str, files: Files) -> str:
    """Returns a link for the site.

    A link to a file of the repository that the site does not hold becomes its text and its path:
    there is no public address of the repository to lead to.

    Args:
        match: A link or image of :data:`_LINK`.
        here: Path of the page in the repository.
        uri: Path of the page in the site's sources.
        files: All files of the site.
    """
    image, text, target = match.groups()
    path, hash_sign, anchor = target.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return match.group()
    in_repository = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
    source = in_repository.removeprefix("docs/")
    if files.get_file_from_path(source) is not None:
        relative = posixpath.relpath(source, posixpath.dirname(uri) or ".")
        return f"{image}[{text}]({relative}{hash_sign}{anchor})"
    if in_repository.startswith("docs/") or here == in_repository:
        return match.group()  # MkDocs says what is wrong with it
    return text if text.strip("`") == in_repository else f"{text} (`{in_repository}`)"
