"""How a clean W&B run is made from a record, which is authoritative, in the place of what training mirrored."""

from pathlib import Path
from typing import Any

from bn_repro.config import WandbConfig
from bn_repro.experiments.tracking import Mirror
from bn_repro.experiments.wandb_names import wandb_id
from bn_repro.records import files
from bn_repro.records.record import Run
from bn_repro.records.soundness import check_finished


def export(run: Run, settings: WandbConfig, config: dict[str, Any]) -> bool:
    """Rebuild a clean W&B run from a record, in the place of all fragments that its training and exports before left.

    Returns whether W&B took all of it; if not, the fragments stay.

    Raises:
        Damaged: a file of the run is not what was written, or is missing; nothing is exported then.
    """
    if run.has_summary:
        check_finished(run.folder)
    rows, activations, summary = run.metrics, run.activations, run.summary if run.has_summary else None
    row_of_step = {int(step): row for row, step in enumerate(activations.get("step", ()))}
    mirror = Mirror(settings, run.address, config, is_export=True)
    made = Path(mirror.run.dir).resolve().parent if mirror.run is not None else None
    for row in rows:
        at = row_of_step.get(row["step"])
        arrays = {} if at is None else {name: array[at] for name, array in activations.items() if name != "step"}
        mirror.log(row, arrays)
    is_whole = mirror.run is not None
    mirror.finish(summary)
    for fragment in fragments_of(run.address, Path(settings.folder)) if is_whole else ():
        if fragment != made:
            files.delete(fragment)
    return is_whole


def fragments_of(address: str, folder: Path) -> list[Path]:
    """List the folders of offline W&B runs of an address."""
    return sorted(file.parent for file in folder.resolve().glob(f"wandb/offline-run-*/run-{wandb_id(address)}.wandb"))
