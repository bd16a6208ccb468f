"""examples/places.ipynb runs from its first cell to its last, and shows what it says."""

import os
import pathlib

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def shown(notebook):
    """The text that the cells print, and how many pictures they show."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    return "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout"), pictures


def test_is_stored_with_what_it_shows():
    nbformat = pytest.importorskip("nbformat")
    text, pictures = shown(nbformat.read(str(EXAMPLES / "places.ipynb"), as_version=4))
    assert pictures == 3 and "VLAD       k-means" in text


@pytest.mark.long
def test_runs(tmp_path, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(str(EXAMPLES / "places.ipynb"), as_version=4)
    sources = [cell.source for cell in notebook.cells]
    assert sum('parsed(["--quick"])' in source for source in sources) == 1
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parent)]))
    for cell in notebook.cells:
        cell.source = cell.source.replace('["--quick"]', '["--quick", "--epochs", "1", "--stride", "160"]')
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    text, pictures = shown(notebook)
    assert pictures == 3 and "VLAD       k-means" in text and "1 epochs" in text
