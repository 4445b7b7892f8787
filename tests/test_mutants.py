"""The defects that `python -m tests.mutants` puts back still fit the code, and leave none out."""

import ast
import importlib
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.mutants import MUTANTS
from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parent.parent
FAILURE_MODES = [
    f"F{n}" for n in (*range(1, 22), *range(24, 31), *range(36, 39), *range(41, 48), *range(53, 60))
]

every_mutant = pytest.mark.parametrize(
    "mutant", MUTANTS, ids=lambda mutant: f"{mutant.failure_mode}: {mutant.what}"
)


@cache
def functions_of(file: str) -> frozenset[str]:
    """Return tests and classes of a module; what a class has, also from a kit, as `Class::test`."""
    body = ast.parse((ROOT / file).read_text("utf-8")).body
    module = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    classes = {node.name for node in body if isinstance(node, ast.ClassDef)}
    functions = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    methods = {f"{name}::{test}" for name in classes for test in dir(getattr(module, name))}
    return frozenset(functions | classes | methods)


def test_every_failure_mode_has_a_mutant() -> None:
    assert list(dict.fromkeys(mutant.failure_mode for mutant in MUTANTS)) == FAILURE_MODES


def test_no_mutant_is_there_twice() -> None:
    assert len({mutant.edits for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.failure_mode, mutant.what) for mutant in MUTANTS}) == len(MUTANTS)


@every_mutant
def test_the_text_that_a_mutant_replaces_is_there_once(mutant: Mutant) -> None:
    assert mutant.edits
    assert [edit for edit in mutant.edits if edit.is_stale(ROOT)] == []
    assert [edit for edit in mutant.edits if edit.old == edit.new] == []


@every_mutant
def test_the_tests_that_must_see_a_mutant_exist(mutant: Mutant) -> None:
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert not name or name.partition("[")[0].partition("::")[0] in functions_of(file), test


def test_what_a_mutant_makes_of_a_module_is_a_program(tmp_path: Path) -> None:
    for number, mutant in enumerate(MUTANTS):
        for edit in mutant.edits:
            if edit.path.endswith(".py"):
                changed = (ROOT / edit.path).read_text("utf-8").replace(edit.old, edit.new)
                (tmp_path / f"m{number}_{Path(edit.path).name}").write_text(changed, "utf-8")
    assert list(tmp_path.iterdir())
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821", "--quiet", str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, "")
