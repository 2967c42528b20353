"""What the pages of docs/ ask for: the commands of a guide; a tutorial followed as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def commands_of(page: Path) -> list[str]:
    """The lines of a page's ```bash blocks that call s2robot, comments and line breaks removed."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.startswith("s2robot ")]


def run_tutorial(name: str, folder: Path) -> None:
    """Follows docs/tutorials/NAME.md in `folder`.

    A block whose first line is a comment with a file's name (`# own/reach.py`) is that file; other ```bash
    blocks are run by bash, with `s2robot` on the path, and must succeed.
    """
    page = (ROOT / "docs/tutorials" / f"{name}.md").read_text()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PATH": path, "PYTHONPATH": ours, "PYTHON": sys.executable}
    for kind, block in re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        file = re.match(r"# (\S+\.\w+)$", block.split("\n", 1)[0])
        if file is not None:
            target = folder / file[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block)
        elif kind == "bash":
            subprocess.run(["bash", "-euo", "pipefail", "-c", block], cwd=folder, env=environment, check=True)
