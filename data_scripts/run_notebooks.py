"""Run notebooks from top to bottom, each in a fresh interpreter, without needing Jupyter.

In: paths of notebooks. Out: exit code 0 where every code cell ran; what the cells print is shown.

    python data_scripts/run_notebooks.py notebooks/*.ipynb
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def as_script(notebook: Path) -> str:
    """Return the notebook's code cells as one script; the last expression of a cell is printed."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lines = [
        "import ast",
        "scope = {'__name__': '__main__'}",
        f"for source in {sources!r}:",
        "    tree = ast.parse(source)",
        "    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None",
        "    exec(compile(tree, 'cell', 'exec'), scope)",
        "    if last is not None:",
        "        value = eval(compile(ast.Expression(last.value), 'cell', 'eval'), scope)",
        "        if value is not None:",
        "            print(value)",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the notebooks named on the command line."""
    failed = []
    for notebook in map(Path, sys.argv[1:]):
        started = time.monotonic()
        print(f"== {notebook}")
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "notebook.py"
            script.write_text(as_script(notebook), encoding="utf-8")
            if subprocess.run([sys.executable, str(script)], check=False).returncode:
                failed.append(str(notebook))
        print(f"== {time.monotonic() - started:.0f} s")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
