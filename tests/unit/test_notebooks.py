"""The notebook normaliser: the same bytes on every run, and faults that it must find."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from eslab.errors import InputError
from eslab.testing import notebooks

WIDGETS = """\
import sys
import ipywidgets
print("a"); print("b", flush=True); print("c")
ipywidgets.IntSlider(value=3, description="step")"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes cells as a notebook that was never run."""

    def write_cells(*sources: str, name: str = "made.ipynb") -> Path:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        path = tmp_path / name
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write_cells


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change a notebook's JSON and write it as the normaliser would."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def messages(path: Path) -> list[str]:
    return [str(problem).replace(str(path), "NB") for problem in notebooks.check([path])]


def test_two_runs_give_the_same_bytes(write: Write) -> None:
    path = write(WIDGETS, "import os; print(os.environ['TZ'], os.environ['ESLAB_RENDER'])")
    assert notebooks.update([path]) == [path]
    first = path.read_bytes()
    assert notebooks.update([path]) == []
    assert path.read_bytes() == first
    assert first.endswith(b"}\n")
    assert notebooks.check([path]) == []
    assert notebooks.in_normal_form(path)
    document = json.loads(first)
    assert document["metadata"] == {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
            "version": platform.python_version(),
        },
    }
    stream, slider = document["cells"][0]["outputs"]
    assert stream["text"] == ["a\n", "b\n", "c\n"]
    assert list(slider["data"]) == ["text/plain"]
    assert document["cells"][1]["outputs"][0]["text"] == ["UTC static\n"]


def test_the_committed_state_does_not_matter(write: Write) -> None:
    """What a person's JupyterLab leaves in a file is gone after an update."""
    path = write("1 + 1", "2 + 2")
    notebooks.update([path])
    clean = path.read_bytes()

    def disturb(document: Any) -> None:
        document["metadata"]["widgets"] = {"state": {"a": "b"}}
        document["metadata"]["language_info"]["mimetype"] = "text/plain"
        document["cells"][0]["metadata"]["execution"] = {"iopub.status.busy": "2026-01-01"}
        document["cells"][0]["id"] = "random01"
        document["cells"][1]["execution_count"] = 17
        empty = {"cell_type": "code", "execution_count": None, "id": "x", "outputs": []}
        document["cells"].append({**empty, "metadata": {}, "source": ""})

    edit(path, disturb)
    assert not notebooks.in_normal_form(path)
    assert messages(path) == ["NB: is not in the normal form; run `eslab nb update NB`"]
    notebooks.update([path])
    assert path.read_bytes() == clean


FIGURE = """\
from IPython.display import display
display({"application/vnd.plotly.v1+json": {"data": [{"y": [0.0, 1.5]}]}}, raw=True)"""


def draw(document: Any) -> None:
    """Do what plotly does to a figure that comes into sight."""
    document["cells"][0]["outputs"][0]["data"]["image/png"] = "aGVsbG8="


def test_a_figure_that_was_looked_at_is_the_same_figure(write: Write) -> None:
    path = write(FIGURE)
    notebooks.update([path])
    clean = path.read_bytes()
    edit(path, draw)
    assert path.read_bytes() != clean
    assert notebooks.in_normal_form(path)
    assert messages(path) == []
    assert notebooks.update([path]) == [path]
    assert path.read_bytes() == clean


def test_the_server_does_not_save_how_a_figure_was_drawn(write: Write) -> None:
    path = write(FIGURE)
    notebooks.update([path])
    document = json.loads(path.read_text(encoding="utf-8"))
    drawn = json.loads(path.read_text(encoding="utf-8"))
    draw(drawn)
    assert drawn != document
    notebooks.forget_drawings(model={"type": "notebook", "content": drawn}, path="any")
    assert drawn == document
    notebooks.forget_drawings(model={"type": "file", "content": "text"}, path="any")


def test_the_version_of_python_in_the_file_is_kept(write: Write) -> None:
    path = write("1 + 1")
    notebooks.update([path])
    edit(path, lambda document: document["metadata"]["language_info"].update(version="3.99.0"))
    assert notebooks.in_normal_form(path)
    assert messages(path) == []
    assert notebooks.update([path]) == []


@pytest.mark.parametrize(
    ("number", "saved"),
    [
        ("0.0", "0"),
        ("-0.0", "0"),
        ("2.0", "2"),
        ("0.1", "0.1"),
        ("1e-07", "1e-07"),
        ("1e20", "100000000000000000000"),
        ("1e21", "1e+21"),
        ("123456789012345678901", "123456789012345680000"),
        ("9007199254740993", "9007199254740992"),
        ("True", "true"),
    ],
)
def test_numbers_are_written_as_jupyterlab_saves_them(
    write: Write, number: str, saved: str
) -> None:
    output = nbformat.v4.new_output("display_data", {"application/json": {"x": [eval(number)]}})
    notebook = nbformat.read(write("x"), as_version=4)
    notebook.cells[0].outputs = [output]
    (normal,) = notebooks.normalise(notebook).cells[0].outputs
    assert json.dumps(normal.data["application/json"]["x"]) == f"[{saved}]"


def test_cell_ids_follow_the_source(write: Write) -> None:
    def ids(*sources: str) -> list[str]:
        notebook = notebooks.normalise(nbformat.read(write(*sources), as_version=4))
        return [cell.id for cell in notebook.cells]

    before = ids("a = 1", "b = 2", "a = 1")
    after = ids("a = 1", "inserted = 0", "b = 2", "a = 1")
    assert [after[0], *after[2:]] == before
    assert len(set(after)) == 4


def test_a_cell_never_run_is_found(write: Write) -> None:
    path = write("1 + 1", "2 + 2")
    notebooks.update([path])
    assert notebooks.unexecuted(path) == []
    edit(path, lambda document: document["cells"][1].update(execution_count=None, outputs=[]))
    assert notebooks.unexecuted(path) == [2]
    assert messages(path) == ["NB, cell [2]: was never run; run `eslab nb update NB`"]


def test_a_changed_output_is_found(write: Write) -> None:
    path = write("40 + 2", "print('as before')")
    notebooks.update([path])
    edit(
        path,
        lambda document: document["cells"][0]["outputs"][0]["data"].update({"text/plain": "43"}),
    )
    (message,) = messages(path)
    assert message.startswith("NB, cell [1]: its outputs are not the committed ones")
    assert "-43" in message
    assert "+42" in message


def test_outputs_that_depend_on_the_run_are_found(write: Write) -> None:
    path = write("print(object())", "import sys; print('oh', file=sys.stderr)")
    notebooks.update([path])
    address, stderr = messages(path)
    assert address.startswith("NB, cell [1]: its outputs are not the committed ones")
    assert stderr.startswith("NB, cell [2]: writes to standard error")


def test_a_cell_that_fails_is_named(write: Write) -> None:
    path = write("1", "raise ValueError('too bad')")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"made\.ipynb, cell \[2\]: ValueError: too bad"):
        notebooks.update([path])
    assert path.read_bytes() == before
    assert messages(path)[-1] == "NB, cell [2]: ValueError: too bad"


def test_a_cell_that_hangs_or_kills_its_kernel_is_named(write: Write) -> None:
    with pytest.raises(InputError, match=r"cell \[1\]: took longer than 1 s"):
        notebooks.update([write("while True: pass")], timeout=1)
    with pytest.raises(InputError, match=r"cell \[2\]: the kernel died"):
        notebooks.update([write("1", "import os; os._exit(3)")])


def test_an_expected_error_is_kept_without_its_traceback(write: Write) -> None:
    path = write("1 / 0")
    edit(path, lambda document: document["cells"][0]["metadata"].update(tags=["raises-exception"]))
    notebooks.update([path])
    (output,) = json.loads(path.read_text(encoding="utf-8"))["cells"][0]["outputs"]
    assert output["traceback"] == ["ZeroDivisionError: division by zero"]
    assert notebooks.check([path]) == []


def test_cells_can_be_run_twice(write: Write) -> None:
    once = write("total = 0", "assert total == 0; total += 1", name="once.ipynb")
    before = once.read_bytes()
    notebooks.run_twice(write("total = 0", "total += 1; assert total < 3"))
    with pytest.raises(InputError, match=r"cell \[2\]: when it is run again: AssertionError"):
        notebooks.run_twice(once)
    with pytest.raises(InputError, match=r"cell \[2\]: NameError"):
        notebooks.run_twice(write("a = 1", "b"))
    assert once.read_bytes() == before


def test_paths_are_found_in_order(write: Write, tmp_path: Path) -> None:
    second, first = write("1", name="b.ipynb"), write("1", name="a.ipynb")
    assert notebooks.find([tmp_path, second]) == [first, second]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no notebook or folder"),
        (b"{", "is no notebook"),
        (b"[]", "is no notebook"),
        (b'{"nbformat": 9}', "is no notebook"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_what_is_no_notebook_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "bad.ipynb"
    if content is not None:
        path.write_bytes(content)
    for use in (notebooks.update, notebooks.check):
        with pytest.raises(InputError, match=message) as caught:
            use([path])
        assert "bad.ipynb" in str(caught.value)


def test_other_files_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no notebook in the folder"):
        notebooks.find([tmp_path])
    (tmp_path / "plain.txt").touch()
    with pytest.raises(InputError, match=r"does not end in \.ipynb"):
        notebooks.find([tmp_path / "plain.txt"])


WRITE_SIDE = """\
from eslab import *
lab = Lab(seed=7)
---
class Counted(Event):
    by: int

class Count(Command):
    counter_id: str

class Counter(Aggregate, snapshot_every=2):
    total: int = 0

    @handles
    def count(self, command: Count) -> None:
        self.record(Counted(by=1))

    @applies
    def counted(self, event: Counted) -> None:
        self.total += event.by

class Total(ReadQuery):
    counter_id: str
---
lab.register(Counter)

@lab.handles
def total(query: Total) -> int:
    return lab.load(Counter, query.counter_id).total
---
import uuid
for number in range(3):
    await lab.execute_async(Count(counter_id="1"), command_id=uuid.UUID(int=number))
assert lab.store.head() == lab.query(Total(counter_id="1")) == 3
---
from eslab.testing import given
given(Counted(by=1), of=Counter).when(Count(counter_id="1")).then(Counted(by=1))
---
class Add(Command):
    tally_id: str

def decide(command: Add, total: int) -> Counted:
    return Counted(by=1)

def evolve(total: int, event: Counted) -> int:
    return total + event.by

tally = Decider(decide, evolve, 0, category="tally")
lab.register(tally)
before = lab.find(tally, "1").state
lab.execute(Add(tally_id="1"))
assert lab.load(tally, "1").state == before + 1
"""


def test_cells_of_the_write_side_can_be_run_twice(write: Write) -> None:
    notebooks.run_twice(write(*WRITE_SIDE.split("---\n")))
