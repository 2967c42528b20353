"""The notebook of the tutorials: committed with its outputs, and it runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs/tutorials/5_python.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def said(cell: Any) -> str:
    """What a cell printed and returned, as text."""
    return "".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)


def check(notebook: Any) -> None:
    """The trained policy succeeds where the untrained one does not."""
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert not [o for cell in code for o in cell.outputs if o.output_type == "error"]
    assert re.match(r"own v untrained: separated: difference \+", said(code[-1]))


def test_it_is_committed_with_its_outputs() -> None:
    assert NOTEBOOK.stat().st_size <= 300_000
    check(read())


@pytest.mark.slow
def test_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = read()
    NotebookClient(notebook, timeout=3600, kernel_name="python3").execute()
    check(notebook)
