"""Which code a search was run with: versions and git commits, for the registered model's tags.

The commit that counts is that of the current folder's repository, where a user's own script,
search space or data set code lies. energytune's own is told too where it runs from a checkout.
"""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from energytune import __version__

__all__ = ["code_tags", "git_commit"]

_PACKAGE = Path(__file__).parents[1]
_TIMEOUT_S = 5.0


def code_tags(folder: Path | None = None) -> dict[str, str]:
    """Returns tags that tell the code; what is not known has no tag, and nothing is raised.

    ``energytune.version``; ``energytune.git_commit`` of the folder's repository; and
    ``energytune.package_git_commit`` where the package itself is under version control.

    Args:
        folder: A folder of the code that defines the search; None takes the current one.
    """
    try:
        number = version("energytune")
    except PackageNotFoundError:  # used from a source tree
        number = __version__
    told = {"energytune.version": number}
    # A package in a virtual environment inside a repository is not of that repository.
    tracked = _git(_PACKAGE, "ls-files", "--error-unmatch", "__init__.py")
    commits = {
        "energytune.git_commit": git_commit(folder or Path()),
        "energytune.package_git_commit": git_commit(_PACKAGE) if tracked else "",
    }
    return told | {key: commit for key, commit in commits.items() if commit}


def git_commit(folder: Path) -> str:
    """Returns the commit of a folder's repository, with ``-dirty`` if a tracked file was changed.

    Empty where there is no repository, no commit, or no git.
    """
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # looking changes nothing
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
