"""Hands a command to a cluster through Ray's Jobs API, with this package and nothing else."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from energytune.cluster.resources import knock
from energytune.errors import ConfigError, ResourceError

__all__ = ["SubmittedJob", "jobs_address", "package_copy", "submit"]

_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_POLL_S, _POLL_S_PER_BYTE = 1.0, 1e-6
_SILENCE_S = 60.0
_TALKATIVE = ("ray", "ray.dashboard.modules.dashboard_sdk")
"""Loggers that tell of each upload."""


@dataclass(frozen=True)
class SubmittedJob:
    """A job that runs in a cluster, whoever watches it.

    Attributes:
        id: Ray's name of it.
        address: Of the Jobs API.
        client: Ray's.
    """

    id: str
    address: str
    client: Any

    def follow(self, write: Callable[[str], object]) -> int:
        """Writes the job's output as it comes, until the job ends.

        Args:
            write: Takes text as it is, with line ends.

        Returns:
            The job's exit code; 1 if it was stopped or lost.

        Raises:
            ResourceError: The cluster does not answer for a minute.
        """
        n_written, answered = 0, time.monotonic()
        while True:
            try:
                info = self.client.get_job_info(self.id)
                log = self.client.get_job_logs(self.id)
                answered = time.monotonic()
            except Exception as error:  # whatever the network or the head makes of it
                if time.monotonic() - answered > _SILENCE_S:
                    raise ResourceError(
                        f"The cluster at {self.address} no longer answers: {error}. The job may "
                        f"go on; look at it with `{self.look_command}`."
                    ) from error
                time.sleep(_POLL_S)
                continue
            if len(log) > n_written:
                write(log[n_written:])
                n_written = len(log)
            if info.status.is_terminal():
                if info.status.value == "SUCCEEDED":
                    return 0
                if not info.driver_exit_code:  # it never ran, or was ended from outside
                    write(f"\nThe job has ended as {info.status.value}: {info.message}\n")
                return int(info.driver_exit_code or 1)
            time.sleep(_POLL_S + _POLL_S_PER_BYTE * len(log))

    @property
    def look_command(self) -> str:
        """The command that shows the job's output."""
        return shlex.join(["ray", "job", "logs", "--address", self.address, "--follow", self.id])

    @property
    def stop_command(self) -> str:
        """The command that ends the job."""
        return shlex.join(["ray", "job", "stop", "--address", self.address, self.id])


def jobs_address(address: str | None) -> str:
    """Returns the address of a Jobs API.

    Args:
        address: As given; None takes ``$RAY_API_SERVER_ADDRESS``, else ``$RAY_ADDRESS``.

    Raises:
        ConfigError: There is none, or it is not that of a Jobs API.
    """
    known = (os.environ.get(name) for name in _ADDRESS_VARIABLES)
    found = address or next(filter(None, known), None)
    if found is None or not found.startswith(("http://", "https://")):
        given = "nothing" if found is None else repr(found)
        raise ConfigError(
            "--submit needs the address of the head's Jobs API, which is that of its dashboard, "
            f"such as --ray-address http://10.0.0.1:8265; got {given}."
        )
    return found.rstrip("/")


def submit(address: str, words: Sequence[str], metadata: dict[str, str]) -> SubmittedJob:
    """Starts a command of this package on the head of a cluster.

    The runtime environment is a copy of this package, so that all nodes run the same code; its
    dependencies, Python and Ray must be there.

    Args:
        address: Of the Jobs API, see :func:`jobs_address`.
        words: What stands behind ``energytune``.
        metadata: Shown with the job.

    Raises:
        ResourceError: Nobody answers there, or the cluster does not take the job.
    """
    from ray.job_submission import JobSubmissionClient

    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    knock(f"{parts.hostname}:{port}", _unreachable)
    entrypoint = shlex.join(["python", "-u", "-m", "energytune.cli.main", *words])
    try:
        client = JobSubmissionClient(address)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.ERROR)
        with package_copy() as package:
            job_id = client.submit_job(
                entrypoint=entrypoint,
                runtime_env={"py_modules": [str(package)]},
                metadata=metadata,
            )
    except Exception as error:  # Ray raises what its server answers
        raise _unreachable(address, error) from error
    return SubmittedJob(str(job_id), address, client)


@contextmanager
def package_copy() -> Iterator[Path]:
    """Gives a folder with this package's own files: no caches, no tests, no data of a user."""
    package = Path(str(resources.files("energytune")))
    with tempfile.TemporaryDirectory(prefix="energytune-job-") as folder:
        copy = Path(folder) / "energytune"
        ignore = shutil.ignore_patterns("__pycache__", "*.py[co]", ".*")
        shutil.copytree(package, copy, ignore=ignore)
        # An installed package carries the spaces; a checkout has them beside the package.
        if not (copy / "search_spaces").exists():
            spaces = copy / "search_spaces"
            spaces.mkdir()
            for path in sorted((package.parent / "search_spaces").glob("*.yaml")):
                shutil.copy2(path, spaces)
        yield copy


def _unreachable(address: str, why: Exception) -> ResourceError:
    return ResourceError(
        f"No job could be handed to {address}: {why}. Check the address of the head's dashboard, "
        "that `pip install 'energytune[cluster]'` was done there (without it a head has no Jobs "
        "API), and that RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH are those of the cluster."
    )
