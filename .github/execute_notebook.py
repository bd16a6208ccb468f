"""Runs examples/places.ipynb and stores it with its outputs: python .github/execute_notebook.py

This takes half a minute. It needs nbclient and nbformat, which the extra "test" installs. Run it after each change that
affects the outputs. If a cell fails, the stored notebook stays as it was.
"""

import os
import pathlib
import tempfile

import nbformat
from nbclient import NotebookClient

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / "examples"
NOTEBOOK = EXAMPLES / "places.ipynb"


def main():
    notebook = nbformat.read(str(NOTEBOOK), as_version=4)
    execute(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, str(NOTEBOOK))
    print(NOTEBOOK)


def execute(notebook):
    """Runs all cells in a new directory, with examples/ and loupe.py on the path, and removes stderr and times."""
    paths = [str(EXAMPLES), str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with tempfile.TemporaryDirectory() as directory:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": directory}}).execute()
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # The time of day.
        if cell.cell_type == "code":
            cell.outputs = merged(cell.outputs)


def merged(outputs):
    """The outputs without stderr, and with neighbouring pieces of stdout joined."""
    kept = []
    for output in outputs:
        if output.output_type != "stream":
            kept.append(output)
        elif output.name == "stdout":
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
    return kept


if __name__ == "__main__":
    main()
