"""Runs the code blocks of one page, in order, in one folder and one Python namespace.

    python -m tests.docs.page_runner PAGE.md FOLDER

It ends with code 1 and says which line of the page failed, and how. ``energytune`` and ``python``
are those of this interpreter and checkout.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.docs.commands import why_wrong
from tests.docs.page_blocks import (
    SHELL,
    Block,
    Command,
    PageError,
    energytune_in,
    page_blocks,
    shell_commands,
)

ROOT = Path(__file__).parents[2]
_SERVER_STARTS_S = 180


def run_page(page: Path, folder: Path) -> None:
    """Runs a page.

    Raises:
        PageError: A block can't be read, fails, or prints something else than the page shows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = _environment(folder.with_name(f"{folder.name}-bin"))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    os.environ.update(environment)
    os.chdir(folder)
    for block in page_blocks(page.read_text(encoding="utf-8")):
        started = time.perf_counter()
        if block.skip:
            _check_skipped(block)
        elif block.language == "python":
            _run_python(block, namespace)
        elif block.language in SHELL:
            _run_shell(block, environment)
        else:
            continue
        print(f"line {block.line}: {time.perf_counter() - started:.1f} s", flush=True)


def _environment(binaries: Path) -> dict[str, str]:
    """Returns what commands run under; the commands themselves lie in ``binaries``."""
    binaries.mkdir(parents=True, exist_ok=True)
    python = shlex.quote(sys.executable)
    launch = "from energytune.cli.main import main; main()"
    for name, words in {
        "energytune": f"{python} -c {shlex.quote(launch)}",
        "python": python,
        "pip": f"{python} -m pip",
    }.items():
        script = binaries / name
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(0o755)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(paths),
        "ROOT": str(ROOT),
        "COLUMNS": "100",
        "MPLBACKEND": "agg",
        "PYTHONUNBUFFERED": "1",
    }


def _check_skipped(block: Block) -> None:
    """What can't be run is read at least: commands are parsed, Python is compiled."""
    if block.language == "python":
        try:
            compile(block.code, "page", "exec")
        except SyntaxError as error:
            raise PageError(f"line {block.line}: SyntaxError: {error}") from error
        return
    for command in shell_commands(block):
        line = energytune_in(command.words)
        if line and (wrong := why_wrong(line)):
            raise PageError(f"line {block.line}: {wrong}")


def _run_python(block: Block, namespace: dict[str, Any]) -> None:
    # blank lines first, so that a traceback names the line of the page
    code = "\n" * block.line + block.code
    try:
        exec(compile(code, "page", "exec"), namespace)
    except BaseException as error:
        told = "".join(traceback.format_exception(error))
        raise PageError(f"line {block.line}: the Python block raised\n{told}") from error


def _run_shell(block: Block, environment: dict[str, str]) -> None:
    for command in shell_commands(block):
        words = command.words
        if block.args and energytune_in(words):
            words = f"{words} {shlex.join(block.args)}"
        if block.serve:
            _serve(block, words, environment)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PageError(
                f"line {block.line}: {words!r} ended with code {done.returncode}:\n{done.stdout}"
            )
        _compare(block, command, done.stdout)


def _compare(block: Block, command: Command, output: str) -> None:
    """Raises PageError if the output isn't what the block says that it compares."""
    shown = "\n".join(command.shown)
    flat = " ".join(output.split())
    for text in block.shows:
        if text in shown and " ".join(text.split()) not in flat:
            raise PageError(f"line {block.line}: {text!r} is shown and was not printed:\n{output}")
    if block.same and not re.fullmatch(_pattern(command.shown), output.rstrip() + "\n", re.DOTALL):
        raise PageError(f"line {block.line}: printed was something else:\n{output}")


def _pattern(lines: list[str]) -> str:
    """Returns the pattern of shown lines, in which ``...`` is a gap, in a line or of lines."""
    found = ""
    for line in lines:
        if line.strip() == "...":
            found += r"(?:.*\n)??"
        else:
            found += r"[^\n]*".join(re.escape(part.rstrip()) for part in line.split("...")) + "\n"
    return found


def _serve(block: Block, words: str, environment: dict[str, str]) -> None:
    """Starts a server on a free port, asks it for a page, and ends it as Ctrl-C does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["bash", "-c", f"exec {words} --no-browser --port {port}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        answered = _answers(f"http://127.0.0.1:{port}/", server)
    finally:
        server.send_signal(signal.SIGINT)
        try:
            output = server.communicate(timeout=240)[0]
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            output = server.communicate()[0]
    if not answered or server.returncode not in (0, 130):
        raise PageError(
            f"line {block.line}: {words!r} served nothing, code {server.returncode}:\n{output}"
        )


def _answers(address: str, server: subprocess.Popen[str]) -> bool:
    for _ in range(_SERVER_STARTS_S * 2):
        if server.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    return False


if __name__ == "__main__":
    try:
        run_page(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
    except PageError as problem:
        print(f"{sys.argv[1]}: {problem}", file=sys.stderr)
        sys.exit(1)
