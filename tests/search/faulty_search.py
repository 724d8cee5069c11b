"""A search in a process of its own, which is killed at planned moments, each of them once.

    python faulty_search.py OUT MOMENT...

Moments in the worker: ``hp:N`` (probing epoch N of a trial), ``ft:N`` (finetuning epoch N, before
it is trained). In the driver: ``told:N`` (trial N is in the study, and in no other book), ``run:N``
(some event of trial N), ``confirm``, ``test``, ``register``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import chaos


def die_once(out: Path, moment: str) -> None:
    """Kills this process, as nothing but the kernel can, unless it was done before."""
    mark = out.with_name(f"died-{moment}")
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def in_worker(spec: Any) -> Any:
    """Makes the worker die at its moments."""
    from energytune.training import probe
    from energytune.training.finetune import Finetuner

    out, moments = Path(os.environ["FAULTY_OUT"]), os.environ["FAULTY_MOMENTS"].split()
    run_job = chaos.audited_run_job(spec)
    train, probed = Finetuner._train_one_epoch, probe._Pass._train_epoch

    def ft(self: Any) -> Any:
        if f"ft:{self.epoch}" in moments:
            die_once(out, f"ft:{self.epoch}")
        return train(self)

    def hp(self: Any, epoch: int) -> None:
        if f"hp:{epoch}" in moments:
            die_once(out, f"hp:{epoch}")
        probed(self, epoch)

    Finetuner._train_one_epoch = ft  # type: ignore[method-assign]
    probe._Pass._train_epoch = hp  # type: ignore[method-assign]
    return run_job


def in_driver(out: Path, moments: list[str]) -> None:
    """Makes the driver die at its moments."""
    from energytune.search import tracked
    from energytune.search.records_log import RecordsLog

    def before(owner: Any, name: str, moment_of: Callable[..., str]) -> None:
        inner = getattr(owner, name)

        def outer(self: Any, *args: Any, **more: Any) -> Any:
            if (moment := moment_of(*args)) in moments:
                die_once(out, moment)
            return inner(self, *args, **more)

        setattr(owner, name, outer)

    before(RecordsLog, "job_ended", lambda record: f"told:{record.job.number}:{record.job.role}")
    before(
        RecordsLog,
        "job_progress",
        lambda job, events: f"run:{job.number}" if job.is_trial else job.role,
    )
    before(tracked.TrackedSearch, "_register", lambda *_: "register")


def main() -> None:
    out, moments = Path(sys.argv[1]), sys.argv[2:]
    os.environ["FAULTY_OUT"], os.environ["FAULTY_MOMENTS"] = str(out), " ".join(moments)
    import energytune.search.run as run
    from energytune.cli.options import SearchOptions
    from energytune.search.resume import resumed_config

    address = os.environ.get("FAULTY_RAY_ADDRESS")
    if (out / "about.json").exists():
        config = resumed_config(out).model_copy(update={"ray_address": address})
    else:
        config = SearchOptions(
            trials=5,
            finetune_epochs=30,
            sampler="tpe",
            concurrency=1,
            checkpoint_every="0s",
            confirm_seeds=2,
            confirm_recipes=1,
            fix=("head_arch=linear", "reinit_depth=0"),
            ray_address=address,
            out=out,
        ).to_config("default")
    in_driver(out, moments)
    run.make_run_job = in_worker
    run.run_search(config)


if __name__ == "__main__":
    main()
