"""Puts known defects back, one at a time, and demands that tests fail: `python -m tests.mutants [F5 F10]`.

Each defect goes into a copy of the tree of its own; the checkout is not touched. Before that the tests named
must pass. Ends with 0 only if every defect was seen.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.mutants import MUTANTS
from tests.mutants.mutant import Edit, Mutant
from tests.postgres import server

ROOT: Final = Path(__file__).parent.parent.parent
TREE: Final = ("jtd_worker", "sql", "tests", "docs", "pyproject.toml", "README.md")
SECONDS: Final = 120
"""For the tests of one mutant; each has deadlines of its own, so more than this is a hang."""
CONTROL_SECONDS: Final = 600
AT_ONCE: Final = 2

NO_DEFECT: Final = re.compile(r"Undefined(Column|Table|Function|Object)|SyntaxError|NameError|ImportError")
"""What a patch that is not a program raises: it says nothing about the tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a run of pytest said, by node id."""

    exit_code: int | None
    """None when it had to be ended."""
    passed: frozenset[str]
    failed: dict[str, str]
    """With the first line that says why."""
    broken: frozenset[str]
    """Not even run: a fixture, an import or the collection failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one mutant."""

    mutant: Mutant
    state: str
    seconds: float
    why: str


def run_tests(tree: Path, tests: Sequence[str], seconds: float) -> Report:
    """Run `tests` in `tree`, with its package and no other, and end all of it after `seconds`."""
    results = tree / "results.xml"
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={results}",
        *tests,
    ]
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that what hangs is ended with the daemons that it started
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Report(exit_code=None, passed=frozenset(), failed={}, broken=frozenset())
    passed, failed, broken = set(), {}, set()
    for case in ET.parse(results).iter("testcase") if results.exists() else ():
        name = node_id(case.get("classname", ""), case.get("name", ""))
        failure = case.find("failure")
        if failure is not None:
            failed[name] = failure.get("message", "")
        elif case.find("error") is not None:
            broken.add(name)
        else:
            passed.add(name)
    broken -= failed.keys()  # what a test left behind when it failed
    return Report(
        exit_code=process.returncode, passed=frozenset(passed), failed=failed, broken=frozenset(broken)
    )


def node_id(where: str, test: str) -> str:
    """Return what pytest calls a test that its report has as `tests.test_x` or `tests.test_x.TestClass`."""
    module, dot, name = where.rpartition(".")
    if not name.startswith("Test"):
        module, dot, name = where, "", ""
    return f"{module.replace('.', '/')}.py::{name}{dot and '::'}{test}"


def copy_tree(to: Path) -> None:
    """Copy what the tests need."""
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, to / name)


def regenerate(tree: Path) -> None:
    """Make anew what is made from the migrations."""
    subprocess.run(
        [sys.executable, "-m", "tests.generated"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        check=True,
        timeout=SECONDS,
    )


def is_of(test: str, case: str) -> bool:
    """Whether `case` is the test of this node id, one of its cases, or in this class or file."""
    return case == test or case.startswith((f"{test}[", f"{test}::"))


def judge(mutant: Mutant) -> Verdict:
    """Put `mutant` into a copy of the tree and look whether its tests see it."""
    begun = time.monotonic()

    def verdict(state: str, why: str) -> Verdict:
        return Verdict(mutant=mutant, state=state, seconds=time.monotonic() - begun, why=why)

    stale = [edit.path for edit in mutant.edits if edit.is_stale(ROOT)]
    if stale:
        return verdict("STALE", f"the text to be replaced is not there once: {', '.join(stale)}")
    with TemporaryDirectory(prefix="jtd-mutant-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        for edit in mutant.edits:
            edit.apply(tree)
        if any(map(is_migration, mutant.edits)):
            regenerate(tree)
        report = run_tests(tree, mutant.tests, SECONDS)
    if report.exit_code is None:
        return verdict("HUNG", f"the tests did not end within {SECONDS} s")
    unseen = [test for test in mutant.tests if not any(is_of(test, case) for case in report.failed)]
    reasons = [first_line(message) for message in report.failed.values()]
    nonsense = [message for message in report.failed.values() if NO_DEFECT.search(message)]
    if report.broken or nonsense or report.exit_code not in (0, 1):
        what = [f"exit code {report.exit_code}", *sorted(report.broken), *map(first_line, nonsense)]
        return verdict("BROKEN", "; ".join(what[:5]))
    if unseen:
        return verdict("SURVIVED", f"passed: {', '.join(unseen)}")
    return verdict("killed", reasons[0])


def is_migration(edit: Edit) -> bool:
    """Whether the file is a numbered migration, from which others are made."""
    return re.match(r"sql/\d", edit.path) is not None


def first_line(message: str) -> str:
    """Shorten what a test said."""
    return next((line for line in message.splitlines() if line.strip()), "")[:100]


def control(mutants: Sequence[Mutant]) -> Report:
    """Run the tests of all mutants where nothing is wrong."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with TemporaryDirectory(prefix="jtd-mutant-") as folder:
        copy_tree(Path(folder))
        return run_tests(Path(folder), tests, CONTROL_SECONDS)


def main() -> int:
    """Judge the mutants of the failure modes named, or all; say how each ended."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("failure_modes", nargs="*", metavar="F5", help="only these")
    wanted = {name.upper() for name in parser.parse_args().failure_modes}
    unknown = wanted - {mutant.failure_mode for mutant in MUTANTS}
    if unknown:
        parser.error(f"no mutant of {', '.join(sorted(unknown))}")
    mutants = [mutant for mutant in MUTANTS if not wanted or mutant.failure_mode in wanted]
    begun = time.monotonic()
    with server() as dsn:
        os.environ["JTD_TEST_DATABASE_URL"] = dsn  # one server for all, each test in a database of its own
        report = control(mutants)
        if report.exit_code != 0:
            print(f"control: exit code {report.exit_code}, nothing is proved while these fail:")
            for name, message in report.failed.items():
                print(f"  {name}\n    {first_line(message)}")
            print(*(f"  {name}" for name in sorted(report.broken)), sep="\n")
            return 1
        print(f"control: {len(report.passed)} passed in {time.monotonic() - begun:.0f} s", flush=True)
        verdicts = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for verdict in pool.map(judge, mutants):
                verdicts.append(verdict)
                mutant = verdict.mutant
                print(f"{mutant.failure_mode:<4} {verdict.state:<8} {verdict.seconds:5.1f} s  {mutant.what}")
                print(f"{'':<23}{verdict.why}", flush=True)
    killed = sum(verdict.state == "killed" for verdict in verdicts)
    print(f"{killed} of {len(verdicts)} killed in {time.monotonic() - begun:.0f} s")
    return 0 if killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
