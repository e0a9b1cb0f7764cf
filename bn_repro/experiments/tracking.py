"""How Weights & Biases mirrors a run while it goes on: same rows as the record, own step axis; never in the run's way."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bn_repro.config import WandbConfig
from bn_repro.experiments.wandb_names import KEPT, LONGEST_TAG, as_wandb_row, as_wandb_summary, fitting, wandb_id
from bn_repro.records import files
from bn_repro.records.own import is_own

SECONDS_TO_CONNECT = 20
OWN = " (own)"  # ends the group and the tag of a user's own ablations, which are no runs of the paper's comparison
NOT_LOGGED_IN = "not logged in to Weights & Biases; `wandb login` does it, or set WANDB_API_KEY"


class Mirror:
    """Copy a run to W&B. The first failure is told in one line, and the run goes on without it.

    Args:
        address: `<experiment>/<tier>/<name>` of the run; the W&B id is made of it, so a resumed run goes on.
        config: the resolved config, nested.
        is_export: the record is there already, so that without a server there is nothing to keep offline.
    """

    def __init__(self, settings: WandbConfig, address: str, config: dict[str, Any], is_export: bool = False):
        self.config = config
        self.without = "it was not exported" if is_export else "the run goes on without it"
        self.run: Any = None
        modes = {"disabled": (), "offline": ("offline",), "online": ("online",) if is_export else ("online", "offline")}[settings.mode]
        first_error = None
        for mode in modes:
            try:
                self.run = start_wandb(settings, mode, address, config, is_anew=is_export)
                break
            except Exception as error:
                first_error = first_error or error
        if first_error:
            tell(first_error, "it goes on offline; `wandb sync` sends it later" if self.run else self.without)

    def log(self, row: dict[str, Any], activations: dict[str, np.ndarray] | None = None) -> None:
        """Log one row of metrics and, if there is one, the activation record of the same step."""
        if self.run is not None:
            self._safely(lambda: self.run.log(as_wandb_row(row, activations or {}, self.config)))

    def finish(self, summary: dict[str, Any] | None) -> None:
        """Close the run; a summary of None says that it was interrupted."""
        if self.run is not None and summary is not None:
            self._safely(lambda: self.run.summary.update(as_wandb_summary(summary)))
        if self.run is not None:
            self._safely(lambda: self.run.finish(exit_code=0 if summary is not None else 1))
        self.run = None

    def _safely(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except Exception as error:
            self.run = None
            tell(error, self.without)


def tell(error: Exception, what_follows: str) -> None:
    print(f"warning: W&B failed ({reason_of(error)}); {what_follows}", file=sys.stderr)


def reason_of(error: Exception) -> str:
    """Say in one line what an error is; of one that begins with a count of errors, the first of them."""
    lines = [line.strip() for line in str(error).strip().split("\n")]
    return f"{type(error).__name__}: {': '.join(lines[1:3]) if 'validation error' in lines[0] else lines[0]}"


def start_wandb(
    settings: WandbConfig, mode: str, address: str, config: dict[str, Any], job_type: str = "train", is_anew: bool = False
) -> Any:
    """Start a W&B run; of an attempt that fails nothing is left.

    Args:
        is_anew: replace what W&B has under the address's id, instead of going on with it.
    """
    import wandb

    experiment, tier, name = address.split("/")
    mark = OWN if job_type == "train" and is_own(address) else ""
    folder = Path(settings.folder)
    folder.mkdir(parents=True, exist_ok=True)
    fragments = set((folder / "wandb").glob("*"))
    wandb.teardown()  # an attempt that failed would still hold the id
    try:
        with quiet_environment(folder, mode):
            run = wandb.init(
                project=settings.project,
                entity=settings.entity,
                mode=mode,  # type: ignore[arg-type]
                dir=settings.folder,
                id=wandb_id(address),
                resume="allow" if mode == "online" and not is_anew else None,
                group=fitting(experiment + mark),
                job_type=job_type,
                name=fitting(name),
                tags=[fitting(tier + mark, LONGEST_TAG)],
                config=config,
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    init_timeout=SECONDS_TO_CONNECT,
                    x_disable_stats=True,
                    x_save_requirements=False,  # a record's environment.json has them; to list them takes 0.2 s a run
                ),
            )
    except Exception:
        wandb.teardown()
        for path in set((folder / "wandb").glob("*")) - fragments:
            files.delete(path)
        raise
    if job_type == "train":
        run.define_metric("step", hidden=True)
        run.define_metric("*", step_metric="step")
        for name, kept in KEPT.items():
            run.define_metric(name, step_metric="step", summary=kept)
    return run


@contextmanager
def quiet_environment(folder: Path, mode: str) -> Iterator[None]:
    """Let W&B say nothing of its own, send nothing where it is offline, and keep its cache under `folder` if there is no home for it."""
    added = {"WANDB_SILENT": "true", "WANDB_MODE": mode} | ({} if has_cache() else {"XDG_CACHE_HOME": str(folder.resolve() / "cache")})
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def has_cache() -> bool:
    """Say whether W&B's own program finds a folder for its cache."""
    root, home = os.environ.get("XDG_CACHE_HOME"), os.environ.get("HOME")
    if not root and not home:
        return False
    cache = Path(root or f"{home}/.cache") / "wandb"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(cache, os.W_OK)


def is_logged_in() -> bool:
    """Say whether this machine has a W&B login; nothing is asked of the server."""
    import wandb

    return wandb.login(prompt=False, verify=False)
