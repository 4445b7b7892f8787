"""`migrate` brings any database to this release or says, in full, why not."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from pgmq.install import get_embedded_install_sql, get_embedded_sql_version
from psycopg import sql

from jtd_worker import migrate as module
from jtd_worker.errors import MigrationError
from jtd_worker.migrate import MIGRATE_LOCK, Report, migrate
from jtd_worker.migrations import load, print_sql, sql_directory
from jtd_worker.structure import describe
from tests.generated import install, structure
from tests.postgres import install_pgmq, psql

SQL = sql_directory()
NAMES = tuple(script.name for script in load().scripts)
MIGRATIONS = tuple(script.name for script in load().migrations)
FIRST = SQL / f"{MIGRATIONS[0]}.sql"
UNCHANGED = Report(applied=(), adopted=(), unchanged=NAMES)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the SQL files, to be altered."""
    return Path(shutil.copytree(SQL, tmp_path / "sql"))


@contextmanager
def refused(*lines: str) -> Iterator[None]:
    """Expect a MigrationError that lists exactly these lines as what stands in the way."""
    with pytest.raises(MigrationError) as caught:
        yield
    listed = [line[4:] for line in str(caught.value).splitlines() if line.startswith("  - ")]
    assert listed == list(lines), str(caught.value)


def execute(dsn: str, *statements: str | bytes) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def ledger(dsn: str) -> dict[str, tuple[str | None, str | None]]:
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT name, checksum, fingerprint FROM jtd.migrations").fetchall()
    return {name: (checksum, fingerprint) for name, checksum, fingerprint in rows}


# What the release ships


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [name[:3] for name in MIGRATIONS] == [f"{n:03}" for n in range(1, len(MIGRATIONS) + 1)]


def test_no_file_opens_a_transaction_or_speaks_psql() -> None:
    for script in load().scripts:
        for line in script.text.splitlines():
            assert not line.startswith("\\"), script.name
            assert line.strip().upper() not in ("BEGIN;", "COMMIT;", "ROLLBACK;"), script.name


def test_each_migration_records_itself_when_run_by_hand() -> None:
    for script in load().migrations:
        assert (
            f"INSERT INTO jtd.migrations (name) VALUES ('{script.name}') ON CONFLICT DO NOTHING;"
            in script.text
        )


def test_each_function_file_holds_the_one_function_of_its_name() -> None:
    for script in load().scripts:
        if script.function:
            created = [line for line in script.text.splitlines() if line.startswith("CREATE ")]
            assert len(created) == 1, script.name
            assert created[0].startswith(f"CREATE OR REPLACE FUNCTION jtd.{script.function}("), script.name


def test_every_function_body_can_be_checked_once_all_are_there(db: psycopg.Connection) -> None:
    db.execute("SET check_function_bodies = on")
    rows = db.execute(
        "SELECT p.oid, p.oid::regprocedure::text, l.lanvalidator::regproc::text"
        " FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang"
        " WHERE p.pronamespace = 'jtd'::regnamespace"
    ).fetchall()
    assert rows
    for oid, signature, validator in rows:
        try:
            db.execute(f"SELECT {validator}(%s)", (oid,))
        except psycopg.Error as error:
            pytest.fail(f"{signature}: {error}")


def test_install_sql_lists_exactly_the_shipped_files_in_order() -> None:
    assert (SQL / "install.sql").read_text("utf-8") == install(SQL), "run: python -m tests.generated"


def test_structure_txt_is_what_the_migrations_make(empty_dsn: str) -> None:
    assert (SQL / "structure.txt").read_text("utf-8") == structure(empty_dsn, SQL), (
        "run: python -m tests.generated"
    )


def test_an_installed_package_brings_its_sql(tmp_path: Path) -> None:
    package = Path(shutil.copytree(Path(module.__file__).parent, tmp_path / "jtd_worker"))
    shutil.copytree(SQL, package / "sql")  # where the wheel puts it
    code = "from jtd_worker.migrations import load, sql_directory; load(); print(sql_directory())"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert ran.stdout.strip() == str(package / "sql")


# Bringing a database up


def test_an_empty_database_gets_everything_and_the_second_run_changes_nothing(empty_dsn: str) -> None:
    assert migrate(empty_dsn) == Report(applied=NAMES, adopted=(), unchanged=())
    assert migrate(empty_dsn) == UNCHANGED
    assert {name: checksum for name, (checksum, _) in ledger(empty_dsn).items()} == {
        script.name: script.checksum for script in load().scripts
    }


def settle(dsn: str, **settings: str) -> None:
    """Give a database settings of its own, as a host or an operator does."""
    name = str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(dsn, autocommit=True) as conn:
        for setting, value in settings.items():
            conn.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                    sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)
                )
            )


def test_ten_clients_at_once_apply_each_file_once(empty_dsn: str) -> None:
    settle(
        empty_dsn, default_transaction_isolation="serializable"
    )  # must not freeze what a waiting client sees
    with ThreadPoolExecutor(10) as pool:
        reports = list(pool.map(migrate, [empty_dsn] * 10))
    assert sorted(report.applied for report in reports) == [()] * 9 + [NAMES]
    assert reports.count(UNCHANGED) == 9


def test_a_client_that_waits_too_long_for_its_turn_says_so(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATE_LOCK,))
        with pytest.raises(MigrationError, match=r"another migration .* has been running for 0\.05 s"):
            migrate(dsn, turn=timedelta(milliseconds=50))


def test_a_table_in_use_is_not_waited_for_long(dsn: str, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_LOCK_WAIT", timedelta(milliseconds=50))
    (copy / "triggers.sql").write_text("LOCK TABLE public.n_jtd IN ACCESS EXCLUSIVE MODE;")
    with psycopg.connect(dsn) as conn:
        conn.execute("SELECT FROM public.n_jtd")
        start = time.monotonic()
        with pytest.raises(MigrationError, match=r"triggers: a table was in use for 0\.05 s"):
            migrate(dsn, copy)
        assert time.monotonic() - start < 10


def test_settings_of_the_database_do_not_disturb_a_migration(empty_dsn: str, copy: Path) -> None:
    (copy / "999_probe.sql").write_text("CREATE TABLE probe (); SELECT pg_sleep(0.2);")
    settle(empty_dsn, statement_timeout="100ms", search_path="nowhere")
    assert migrate(empty_dsn, copy).applied
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("SELECT to_regclass('public.probe') IS NULL").fetchone() == (False,)


def test_a_mistake_in_a_file_is_named_with_its_line_and_undoes_everything(empty_dsn: str, copy: Path) -> None:
    (copy / "999_wrong.sql").write_text("SELECT 1;\nSELECT 2;\nSELECT wrong;\n")
    with pytest.raises(MigrationError, match=r'999_wrong, line 3: column "wrong" does not exist'):
        migrate(empty_dsn, copy)
    with psycopg.connect(empty_dsn) as conn:
        rows = conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname IN ('jtd', 'pgmq')").fetchone()
    assert rows == (0,)


def test_a_folder_without_files_is_refused(empty_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="there are no SQL files in"):
        migrate(empty_dsn, tmp_path)


# PGMQ


def offers_pgmq(dsn: str) -> bool:
    with psycopg.connect(dsn) as conn:
        return conn.execute("SELECT FROM pg_available_extensions WHERE name = 'pgmq'").fetchone() is not None


def has_extension(dsn: str) -> bool:
    with psycopg.connect(dsn) as conn:
        return conn.execute("SELECT FROM pg_extension WHERE extname = 'pgmq'").fetchone() is not None


def test_pgmq_comes_as_plain_sql_unless_the_server_offers_it(empty_dsn: str) -> None:
    migrate(empty_dsn)
    assert has_extension(empty_dsn) == offers_pgmq(empty_dsn)
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("SELECT count(*) FROM pgmq.list_queues()").fetchone() != (0,)


def test_a_pgmq_that_is_there_is_used(empty_dsn: str) -> None:
    install_pgmq(empty_dsn)
    execute(empty_dsn, "COMMENT ON SCHEMA pgmq IS 'as it was'")
    migrate(empty_dsn)
    with psycopg.connect(empty_dsn) as conn:
        comment = conn.execute("SELECT obj_description('pgmq'::regnamespace, 'pg_namespace')").fetchone()
    assert comment == ("as it was",)


def test_the_extension_is_used_where_the_server_offers_it(empty_dsn: str, extension_folder: Path) -> None:
    settle(empty_dsn, extension_control_path=f"{extension_folder}:$system")
    assert migrate(empty_dsn).applied == NAMES
    assert has_extension(empty_dsn)
    assert migrate(empty_dsn) == UNCHANGED


@pytest.fixture
def extension_folder(empty_dsn: str, tmp_path: Path) -> Path:
    """A folder from which the server can create the extension pgmq, made of the SQL of the package."""
    with psycopg.connect(empty_dsn) as conn:
        if conn.info.server_version < 180000:
            pytest.skip("extension_control_path, which lets a test offer an extension, came with Postgres 18")
    folder = tmp_path / "extension"
    folder.mkdir()
    for parent in [folder, *folder.parents][:4]:
        parent.chmod(parent.stat().st_mode | 0o055)  # the server runs as another user
    version = get_embedded_sql_version().removeprefix("v")
    (folder / "pgmq.control").write_text(
        f"default_version = '{version}'\nschema = 'pgmq'\nrelocatable = false\n"
    )
    (folder / f"pgmq--{version}.sql").write_text(get_embedded_install_sql())
    return tmp_path


# By hand, and by other tools


def test_what_psql_ran_by_hand_is_adopted(empty_dsn: str) -> None:
    ran = psql(empty_dsn, FIRST)
    assert ran.returncode == 0, ran.stderr
    report = migrate(empty_dsn)
    assert report == Report(applied=NAMES[1:], adopted=NAMES[:1], unchanged=())
    assert migrate(empty_dsn) == UNCHANGED


def test_install_sql_makes_the_same_database(dsn: str, empty_dsn: str) -> None:
    install_pgmq(empty_dsn)
    for _ in range(2):  # it may be run again
        ran = psql(empty_dsn, SQL / "install.sql")
        assert ran.returncode == 0, ran.stderr
    with psycopg.connect(dsn) as ours, psycopg.connect(empty_dsn) as theirs:
        assert describe(theirs) == describe(ours)
    functions = tuple(name for name in NAMES if name not in MIGRATIONS)
    assert migrate(empty_dsn) == Report(applied=functions, adopted=MIGRATIONS, unchanged=())
    assert migrate(empty_dsn) == UNCHANGED


def test_install_sql_brings_the_extension_or_says_what_to_do(empty_dsn: str) -> None:
    ran = psql(empty_dsn, SQL / "install.sql")
    if offers_pgmq(empty_dsn):
        assert ran.returncode == 0, ran.stderr
        return
    assert ran.returncode == 3
    assert "Install the extension pgmq on the server, or run jtd-worker migrate" in ran.stderr
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('jtd')").fetchone() == (None,)


def test_the_printed_sql_leaves_migrate_nothing_to_do(empty_dsn: str) -> None:
    install_pgmq(empty_dsn)
    execute(empty_dsn, print_sql().encode())
    assert migrate(empty_dsn) == UNCHANGED
    execute(empty_dsn, print_sql().encode())
    assert migrate(empty_dsn) == UNCHANGED


def test_tables_that_are_ours_but_for_the_ledger_are_taken_over(dsn: str) -> None:
    execute(dsn, "DROP TABLE jtd.migrations")
    assert migrate(dsn).applied == NAMES
    assert migrate(dsn) == UNCHANGED


# Refusals


def test_a_newer_database_is_refused(dsn: str) -> None:
    execute(
        dsn,
        "INSERT INTO jtd.migrations (name) VALUES ('998_later'), ('999_latest')",
        "ALTER TABLE public.n_jtd ALTER COLUMN cost TYPE text",  # not ours to judge
    )
    with refused(
        "998_later: this release does not have it; the database is newer",
        "999_latest: this release does not have it; the database is newer",
    ):
        migrate(dsn)


def test_an_edited_migration_is_refused(dsn: str, copy: Path) -> None:
    with (copy / FIRST.name).open("a") as file:
        file.write("-- a word more\n")
    with refused(f"{MIGRATIONS[0]}: was edited after it was applied here"):
        migrate(dsn, copy)


def test_line_endings_are_no_edit(dsn: str, copy: Path) -> None:
    file = copy / FIRST.name
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert migrate(dsn, copy) == UNCHANGED


def test_every_difference_of_the_tables_is_listed(dsn: str) -> None:
    execute(
        dsn,
        "ALTER TABLE public.n_jtd ALTER COLUMN cost TYPE text",
        "ALTER TABLE public.n_jtd ALTER COLUMN tenant_id DROP NOT NULL",
        "ALTER TABLE public.n_jtd DROP COLUMN tags",
        "ALTER TABLE public.n_jtd_outbox ADD COLUMN invoice text NOT NULL",
        "DROP TABLE public.n_inapp_notifications",
    )
    with refused(
        "public.n_inapp_notifications: the table is missing",
        "public.n_jtd.cost: is text not null; it should be numeric(12,4) not null",
        "public.n_jtd.tags: the column is missing; it should be text[]",
        "public.n_jtd.tenant_id: is uuid; it should be uuid not null",
        "public.n_jtd_outbox.invoice: is not ours, not null and has no default,"
        " so that our inserts would fail",
    ):
        migrate(dsn)


def test_columns_of_the_users_own_do_not_matter(dsn: str) -> None:
    execute(
        dsn,
        "ALTER TABLE public.n_jtd ADD COLUMN invoice text, ADD COLUMN seen boolean NOT NULL DEFAULT false,"
        " ADD COLUMN serial integer NOT NULL GENERATED ALWAYS AS IDENTITY",
        "CREATE TABLE public.n_other (id integer NOT NULL)",
    )
    assert migrate(dsn) == UNCHANGED


def test_foreign_tables_of_our_names_are_refused_and_left_alone(empty_dsn: str) -> None:
    execute(
        empty_dsn,
        "CREATE TABLE public.n_system_actors (shoe_size integer NOT NULL)",
        "CREATE TABLE public.n_jtd_template_versions (template_id uuid NOT NULL, version integer NOT NULL,"
        " content text NOT NULL, content_html text, variables jsonb NOT NULL, subject varchar(10),"
        " created_at timestamptz NOT NULL DEFAULT now())",
    )
    with pytest.raises(MigrationError) as caught:
        migrate(empty_dsn)
    assert "- public.n_system_actors.code: the column is missing" in str(caught.value)
    assert "- public.n_system_actors.shoe_size: is not ours, not null" in str(caught.value)
    assert "- public.n_jtd_template_versions.subject: is character varying(10); it should be text" in str(
        caught.value
    )
    with psycopg.connect(empty_dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('jtd'), to_regclass('public.n_jtd')").fetchone() == (
            None,
            None,
        )


def test_all_kinds_of_difference_are_told_at_once(dsn: str, copy: Path) -> None:
    with (copy / FIRST.name).open("a") as file:
        file.write("-- a word more\n")
    execute(dsn, "DROP FUNCTION jtd.lane CASCADE", "ALTER TABLE public.n_jtd DROP COLUMN tags")
    with refused(
        f"{MIGRATIONS[0]}: was edited after it was applied here",
        "public.n_jtd.tags: the column is missing; it should be text[]",
        "jtd.lane: the function was edited or dropped by hand in this database",
    ):
        migrate(dsn, copy)


# Functions


PROBE = "CREATE OR REPLACE FUNCTION jtd.zz_probe({}) RETURNS {} LANGUAGE sql AS $$ SELECT {} $$;\n"


def probe(dsn: str) -> object:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT jtd.zz_probe()").fetchone()
    return row[0] if row else None


def test_a_function_is_applied_again_when_its_text_changes(dsn: str, copy: Path) -> None:
    file = copy / "functions" / "zz_probe.sql"
    file.write_text(PROBE.format("", "integer", "1"))
    assert migrate(dsn, copy).applied == ("functions/zz_probe",)
    file.write_text(PROBE.format("", "integer", "2"))
    assert migrate(dsn, copy).applied == ("functions/zz_probe",)
    assert probe(dsn) == 2
    assert migrate(dsn, copy).applied == ()


@pytest.mark.parametrize(
    ("parameters", "result"), [("n integer DEFAULT 0", "integer"), ("", "text")], ids=["parameters", "result"]
)
def test_a_function_may_change_its_signature(dsn: str, copy: Path, parameters: str, result: str) -> None:
    file = copy / "functions" / "zz_probe.sql"
    file.write_text(PROBE.format("", "integer", "1"))
    migrate(dsn, copy)
    file.write_text(PROBE.format(parameters, result, "2"))
    migrate(dsn, copy)
    assert probe(dsn) in (2, "2")
    assert migrate(dsn, copy).applied == ()


def test_a_function_edited_by_hand_is_refused_until_its_row_is_deleted(dsn: str, copy: Path) -> None:
    file = copy / "functions" / "zz_probe.sql"
    file.write_text(PROBE.format("", "integer", "1"))
    migrate(dsn, copy)
    line = "jtd.zz_probe: the function was edited or dropped by hand in this database"
    for edit in (
        PROBE.format("", "integer", "3"),
        "ALTER FUNCTION jtd.zz_probe SECURITY DEFINER",
        "ALTER FUNCTION jtd.zz_probe SET search_path = public",
        "DROP FUNCTION jtd.zz_probe",
    ):
        execute(dsn, edit.encode())
        with refused(line):
            migrate(dsn, copy)
        execute(dsn, "DELETE FROM jtd.migrations WHERE name = 'functions/zz_probe'")
        if not edit.startswith("DROP"):
            execute(dsn, "DROP FUNCTION jtd.zz_probe")
        assert migrate(dsn, copy).applied == ("functions/zz_probe",)
        assert probe(dsn) == 1


def test_what_an_operator_may_grant_is_no_edit(dsn: str) -> None:
    execute(dsn, "GRANT EXECUTE ON FUNCTION jtd.make_queues TO PUBLIC")
    assert migrate(dsn) == UNCHANGED


def test_an_older_release_puts_its_own_functions_back(dsn: str, copy: Path) -> None:
    with (copy / "functions" / "lane.sql").open("a") as file:
        file.write("-- as a later release has it\n")
    assert migrate(dsn, copy).applied == ("functions/lane",)
    assert migrate(dsn).applied == ("functions/lane",)


def test_the_pgmq_of_the_tests_is_the_old_one_if_that_was_asked_for(dsn: str, db: psycopg.Connection) -> None:
    headers = db.execute(
        "SELECT FROM pg_attribute WHERE attrelid = 'pgmq.message_record'::regclass AND attname = 'headers'"
    ).fetchone()
    if os.environ.get("JTD_TEST_PGMQ_OLD") == "1":
        assert headers is None
    elif not offers_pgmq(dsn):
        assert headers is not None
