"""Do imports go only down or sideways to the left in the house, without circles, and is torch where it belongs?"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RECORDS = "files own damage archive packing extent cadence reading soundness lock record writing"
# From the ground up; within a floor from left to right. A name stands for the module and all that is in it.
FLOORS = (
    ("config", "config.text", "config.evolution", "config.schemas"),
    ("checks.values", "checks.architecture", "checks.examples", "checks.configs", "checks.arguments", "checks"),
    (*(f"records.{module}" for module in RECORDS.split()), "records", "norms", "data"),
    ("baselines", "networks", "probes", "training", "evolution", "verdicts", "measures", "figures"),
    ("experiments", "studies", "comparison", "plot"),
    ("report", "launcher"),
    ("dashboard", "benchmarks"),
    ("scripts", "__main__"),
)
RIGHT_TOWER = ("measures", "verdicts", "figures", "studies", "comparison", "plot", "report")
HEAVY = {"torch", "torchvision", "timm", "wandb", "scipy", "matplotlib"}


def module_files() -> dict[str, Path]:
    """Return every module of the package and every script by its name, the package's without `bn_repro.`."""
    package = ROOT / "bn_repro"
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        modules[".".join(parts).removesuffix("__init__").rstrip(".")] = path
    del modules[""]
    return modules | {f"scripts.{path.stem}": path for path in sorted((ROOT / "scripts").glob("*.py"))}


MODULES = module_files()


def import_statements(tree: ast.AST, is_top_level_only: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not (is_top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))):
            yield from import_statements(node, is_top_level_only)


def imported(module: str, is_top_level_only: bool = False) -> set[str]:
    """Return what a module imports: our modules without `bn_repro.`, foreign packages by their first name."""
    names = set()
    for node in import_statements(ast.parse(MODULES[module].read_text()), is_top_level_only):
        if isinstance(node, ast.Import):
            full_names = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{module} has a relative import"
            full_names = [f"{node.module}.{alias.name}" for alias in node.names]
        for full_name in full_names:
            if full_name.split(".")[0] != "bn_repro":
                names.add(full_name.split(".")[0])
            else:
                parts = full_name.split(".")[1:]
                while parts and ".".join(parts) not in MODULES:
                    parts.pop()  # a function of a module
                names.add(".".join(parts)) if parts else None
    return names


def place(module: str) -> tuple[int, int]:
    """Return (floor, position from the left) of the longest name that holds the module."""
    places = {name: (floor, position) for floor, rooms in enumerate(FLOORS) for position, name in enumerate(rooms)}
    parts = module.split(".")
    while parts:
        if ".".join(parts) in places:
            return places[".".join(parts)]
        parts.pop()
    raise AssertionError(f"{module} stands on no floor; add it to FLOORS and to the design")


def reachable(module: str, is_top_level_only: bool) -> set[str]:
    """Return all that importing a module brings in, our packages' __init__ included; foreign packages by name."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name in MODULES:
            parents = {".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)} & set(MODULES)
            waiting += imported(name, is_top_level_only) | parents
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_or_left(module):
    floor, position = place(module)
    for other in imported(module) & set(MODULES):
        other_floor, other_position = place(other)
        assert (other_floor, other_position) <= (floor, position) and other_floor <= floor, f"{module} imports {other}"


def test_no_circles():
    """Within a room too. A package's own __init__ only gathers what its modules hold, so it is not counted as theirs."""
    done = set()

    def visit(module, path):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(imported(module) & set(MODULES)):
                visit(other, [*path, module])
            done.add(module)

    for module in MODULES:
        visit(module, [])


@pytest.mark.parametrize("module", [name for name in MODULES if name.split(".")[0] in RIGHT_TOWER])
def test_right_tower_has_no_torch(module):
    """Not even late, inside a function: a report is made from records alone."""
    found = reachable(module, is_top_level_only=False)
    assert not found & {"torch", "torchvision", "timm", "wandb"}
    rooms = {name.split(".")[0] for name in found & set(MODULES)}
    assert rooms <= {"config", "checks", "records", *RIGHT_TOWER}


@pytest.mark.parametrize(
    "module",
    [
        "config",
        "launcher.grids",
        "launcher.command_line",
        "launcher.runs",
        "launcher.progress",
        "records.record",
        "scripts.train",
        "scripts.reproduce",
    ],
)
def test_start_is_light(module):
    """What runs before a mistake is answered, or before the first child starts, loads nothing heavy."""
    assert not reachable(module, is_top_level_only=True) & (HEAVY if module != "scripts.reproduce" else {"torch", "timm", "wandb"})


def test_records_know_neither_tower():
    own = {name for name in MODULES if name.split(".")[0] == "records"}
    for module in own:
        assert reachable(module, is_top_level_only=False) & set(MODULES) <= {"config", *own}


def test_every_file_name_of_a_run_is_spelled_in_the_records_package():
    from bn_repro.records import files

    names = [files.CONFIG, files.ENVIRONMENT, files.METRICS, files.ACTIVATIONS, files.CORRECT, files.WEIGHTS, files.SUMMARY]
    names += [files.PREDICTIONS, files.VOCABULARY, files.FEATURES]
    for module, path in MODULES.items():
        if module == "records.files":
            continue
        strings = {
            node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not strings & set(names), module


def test_the_walker_sees_late_and_early_imports(tmp_path, monkeypatch):
    """The test of the tests: an import inside a function counts as late, one under `if` or `try` as early."""
    path = tmp_path / "made_up.py"
    path.write_text(
        "import torch.nn\ntry:\n    from bn_repro.norms import build_norm\nfinally:\n    pass\ndef f():\n    import wandb, os.path\n"
    )
    monkeypatch.setitem(MODULES, "made_up", path)
    assert imported("made_up") == {"torch", "norms", "wandb", "os"}
    assert imported("made_up", is_top_level_only=True) == {"torch", "norms"}
    with pytest.raises(AssertionError, match="stands on no floor"):
        place("made_up")
    path.write_text("from bn_repro.experiments.supervised import run\n")
    monkeypatch.setitem(MODULES, "norms.made_up", path)
    with pytest.raises(AssertionError, match="imports experiments"):
        test_imports_go_down_or_left("norms.made_up")
