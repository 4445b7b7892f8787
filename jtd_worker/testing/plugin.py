"""The pytest plug-in: fixtures of the conformance kit."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import trustme

from jtd_worker.testing.http_conformance import HttpConformance, Run, Seen, certificates, run_cases


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
