"""Signs requests to Amazon Web Services with the credentials of the machine or of the settings (SigV4)."""

from collections.abc import Mapping

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from jtd_worker.errors import ConfigurationError


class AwsSigner:
    """Signs for one service in one region."""

    def __init__(self, service: str, region: str, key: tuple[str, str] | None) -> None:
        """`key` is access key and secret; None takes what the environment offers, such as a role.

        Those are looked for now, over the network if need be, and renewed by the library in time. Raises
        ConfigurationError when there are none.
        """
        self._service = service
        self._region = region
        self._credentials = Credentials(*key) if key else _found()

    def headers(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return `headers` with those that sign the request; its time is the wall clock's, in seconds.

        Renews credentials that are about to end, which may wait for the network. Raises ConfigurationError
        when that fails.
        """
        request = AWSRequest(method=method, url=url, data=body, headers=dict(headers))
        try:
            frozen = self._credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise ConfigurationError(
                f"the credentials of AWS cannot be renewed: {type(error).__name__}"
            ) from None
        SigV4Auth(frozen, self._service, self._region).add_auth(request)
        return dict(request.headers.items())


def _found() -> Credentials:
    try:
        credentials = botocore.session.get_session().get_credentials()
    except BotoCoreError as error:
        raise ConfigurationError(f"no credentials of AWS can be read: {type(error).__name__}") from None
    if credentials is None:
        raise ConfigurationError(
            "no credentials of AWS: set access_key_id and secret_access_key, or give the machine a role"
        )
    return credentials
