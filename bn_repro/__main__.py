"""The installed command: `bn-repro train ...` is `scripts/train.py ...`, and so for every other script, in any folder."""

import ast
import runpy
import sys

from bn_repro.checks.values import nearest
from bn_repro.records.files import SHIPPED

SCRIPTS = SHIPPED / "scripts"
OF_THE_CHECKOUT = ("publish", "rules")  # write what is committed


def main() -> int:
    scripts = {path.stem.replace("_", "-"): path for path in sorted(SCRIPTS.glob("*.py")) if path.stem not in OF_THE_CHECKOUT}
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        width = max(map(len, scripts))
        print("usage: bn-repro COMMAND ...\n")
        print("\n".join(f"  {each:{width}}  {meaning_of(path.read_text())}" for each, path in scripts.items()))
        print("\nbn-repro COMMAND --help tells more. Records, reports and data go to results/ and data/ of the working folder.")
        return 0
    if name == "--version":
        from bn_repro import __version__

        print(__version__)
        return 0
    if name not in scripts:
        print(f"error: {name}: no such command{nearest(name, scripts)}; choices: {', '.join(scripts)}", file=sys.stderr)
        return 2
    sys.argv = [f"bn-repro {name}", *arguments]
    runpy.run_path(str(scripts[name]), run_name="__main__")
    return 0


def meaning_of(source: str) -> str:
    """Return what a script says that it does: its first line up to the example."""
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0].split(":")[0]


if __name__ == "__main__":
    sys.exit(main())
