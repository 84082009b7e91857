"""Run notebooks from top to bottom, each in a fresh interpreter, without needing Jupyter.

In: paths of notebooks. Out: exit code 0 where every code cell ran; what the cells print is shown.

    python data_scripts/run_notebooks.py notebooks/*.ipynb
    python data_scripts/run_notebooks.py notebooks/03_reading_the_errors.ipynb --set minutes=20 \
        --set 'backbone="facebook/mms-1b-all"'
"""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PARAMETERS = "parameters"  # the tag of the cell whose values --set replaces
_HEAD = """import ast

scope = {"__name__": "__main__"}


def run(source):
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), scope)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), scope)
        if value is not None:
            getattr(value, "_repr_html_", str)()  # a picture is drawn as a notebook would
            print(value)


"""


def as_script(notebook: Path, values: Sequence[str] = ()) -> str:
    """Return the notebook's code cells as one script; the last expression of a cell is printed.

    Args:
        notebook: The notebook.
        values: Assignments that stand behind its cell of parameters, such as "minutes=20".

    Raises:
        ValueError: There is no such parameter.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = []
    for cell in cells:
        if cell["cell_type"] == "code":
            sources.append("".join(cell["source"]))
            if PARAMETERS in cell["metadata"].get("tags", []):
                sources += _replaced(sources[-1], values)
    if values and not any(PARAMETERS in cell["metadata"].get("tags", []) for cell in cells):
        raise ValueError(f"{notebook} has no cell tagged {PARAMETERS!r}, so nothing can be set")
    return _HEAD + "".join(f"run({source!r})\n" for source in sources)


def _replaced(parameters: str, values: Sequence[str]) -> list[str]:
    """Return the values as sources, where the cell of parameters has their names."""
    known = {
        node.id
        for node in ast.walk(ast.parse(parameters))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for value in values:
        name = value.partition("=")[0].strip()
        if name not in known:
            raise ValueError(f"--set {value}: there is no {name!r}; there are {', '.join(sorted(known))}")
    return list(values)


def main() -> int:
    """Run the notebooks named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="values")
    options = parser.parse_args()
    failed = []
    for notebook in options.notebooks:
        started = time.monotonic()
        print(f"== {notebook}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "notebook.py"
            script.write_text(as_script(notebook, options.values), encoding="utf-8")
            if subprocess.run([sys.executable, str(script)], check=False).returncode:
                failed.append(str(notebook))
        print(f"== {time.monotonic() - started:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
