"""Runs that measured what a step costs."""

from made_up_records import ENVIRONMENT

from bn_repro.records.record import FINISHED
from bn_repro.records.writing import RunWriter


def write_costs(root, address, backward, both=1.0):
    writer = RunWriter(root / address)
    writer.begin({"train": {"steps": 3, "eval_every": 1}}, ENVIRONMENT)
    for step, noise in enumerate((0.9, 1.0, 30.0, None)):  # a median, which one row that was disturbed does not move
        row = {"step": step, "accuracy": 0.1}
        if noise is not None:
            row |= {f"step_cost/{name}": noise for name in ("forward", "memory")}
            row |= {"step_cost/backward": backward * noise, "step_cost/both": both * noise}
        writer.append(row)
    writer.finish({"status": FINISHED, "accuracy": 0.1, "steps": 3})
    writer.close()
