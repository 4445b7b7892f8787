"""The pytest plug-in: fixtures of the conformance kit."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import trustme

from jtd_worker.testing.http_conformance import HttpConformance, Run, Seen, certificates, run_cases
from jtd_worker.testing.smtp_conformance import SmtpConformance, SmtpRun, SmtpSeen, run_smtp_cases
from jtd_worker.testing.smtp_server import Certificate


@pytest.fixture(scope="session")
def conformance_authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """A certificate authority of this run, and the file that makes an adapter trust it."""
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return authority, file


@pytest.fixture(scope="class")
def conformance_run(
    request: pytest.FixtureRequest, conformance_authority: tuple[trustme.CA, Path]
) -> Iterator[Run]:
    """All cases of the adapter whose kit this class is, run once."""
    kit = request.cls
    assert kit is not None
    assert issubclass(kit, HttpConformance)
    authority, file = conformance_authority
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield run_cases(kit, certificates(authority))


@pytest.fixture
def conformance(conformance_run: Run) -> Mapping[str, Seen]:
    """What came of each case, by its name."""
    return conformance_run.seen


@pytest.fixture
def conformance_log(conformance_run: Run) -> str:
    """What was logged while the cases ran."""
    return conformance_run.log


@pytest.fixture(scope="session")
def smtp_certificates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Certificate]:
    """Certificates for mail servers, each its own authority, by the name in them."""
    folder = tmp_path_factory.mktemp("smtp")
    ours = Certificate.make(folder, "localhost", "IP:127.0.0.1")
    return {"localhost": ours, "elsewhere.example": Certificate.make(folder, "elsewhere.example")}


@pytest.fixture(scope="session")
def smtp_authority(smtp_certificates: Mapping[str, Certificate]) -> Path:
    """The file that makes an adapter trust the mail servers of the kit."""
    return smtp_certificates["localhost"].certificate


@pytest.fixture(scope="class")
def smtp_conformance_run(
    request: pytest.FixtureRequest, smtp_certificates: Mapping[str, Certificate]
) -> SmtpRun:
    """All cases of the SMTP adapter whose kit this class is, run once."""
    kit = request.cls
    assert kit is not None
    assert issubclass(kit, SmtpConformance)
    return run_smtp_cases(kit, smtp_certificates)


@pytest.fixture
def smtp_conformance(smtp_conformance_run: SmtpRun) -> Mapping[str, SmtpSeen]:
    """What came of each case, by its name."""
    return smtp_conformance_run.seen


@pytest.fixture
def smtp_conformance_log(smtp_conformance_run: SmtpRun) -> str:
    """What was logged while the cases ran."""
    return smtp_conformance_run.log
