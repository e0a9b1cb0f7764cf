"""Runs that measured what a step costs."""

from made_up_records import ENVIRONMENT

from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter


def write_costs(root, address, forward=1.0, backward=1.0, step=1.0, memory=1.0, is_timed=True):
    """Write a run of three rows with costs, of which the median is as given: one row that was disturbed does not move it."""
    costs = {"forward": forward, "backward": backward, "step": step, "memory": memory}
    writer = RunWriter(root / address)
    writer.begin({"train": {"steps": 3, "eval_every": 1}}, ENVIRONMENT)
    for number, noise in enumerate((0.9, 1.0, 30.0, None)):
        measured = {f"step_cost/{name}": noise * value for name, value in costs.items()} if noise and is_timed else {}
        writer.append({"step": number, "accuracy": 0.1} | measured)
    writer.finish({"status": FINISHED, "accuracy": 0.1, "steps": 3})
    writer.close()
