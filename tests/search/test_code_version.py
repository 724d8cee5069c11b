"""Commits of real repositories, made for the test."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from energytune.search.code_version import code_tags, git_commit


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's repository with one commit, out of reach of any around it."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "space.yaml").write_text("tau: 1")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    git(folder, "tag", "v1")  # the commit is wanted, not the tag's name
    return folder


def test_the_commit_of_the_current_folder(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "src").mkdir()
    assert git_commit(repository) == git_commit(repository / "src") == commit
    (repository / "notes.txt").write_text("not tracked")
    assert git_commit(repository) == commit
    (repository / "space.yaml").write_text("tau: 2")
    assert git_commit(repository) == f"{commit}-dirty"


def test_no_repository_no_commit_and_no_git_are_no_tag(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere, empty = tmp_path / "nowhere", tmp_path / "empty"
    nowhere.mkdir()
    empty.mkdir()
    git(empty, "init", "--quiet")
    for folder in (nowhere, empty, tmp_path / "not there"):
        assert git_commit(folder) == ""
        assert "energytune.git_commit" not in code_tags(folder)
    monkeypatch.setenv("PATH", str(nowhere))
    assert git_commit(repository) == ""
    assert set(code_tags(repository)) == {"energytune.version"}


def test_a_git_that_hangs_is_no_tag(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("energytune.search.code_version._TIMEOUT_S", 0.2)
    assert git_commit(repository) == ""


def test_the_tags_tell_the_version_and_the_users_commit(repository: Path) -> None:
    told = code_tags(repository)
    assert told["energytune.version"].count(".") == 2
    assert told["energytune.git_commit"] == git(repository, "rev-parse", "HEAD")


def test_a_package_that_a_repository_ignores_is_not_of_that_repository(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = repository / ".venv" / "energytune"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    monkeypatch.setattr("energytune.search.code_version._PACKAGE", installed)
    assert "energytune.package_git_commit" not in code_tags(repository)
    git(repository, "add", "--force", ".venv")
    git(repository, "commit", "--quiet", "-m", "vendored")
    told = code_tags(repository)
    assert told["energytune.package_git_commit"] == told["energytune.git_commit"]
