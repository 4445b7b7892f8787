"""The errors that a caller can act on.

JtdError
├── CommandError            a command cannot be done as asked (session.py)
├── ConfigurationError      a setting is missing, unknown or contradicts another
├── DatabaseRefusedError    the database is not one this release can work on
│   └── MigrationError      migrate stopped; nothing was changed
├── RefusedReferenceError   what a tenant has set for a channel is not to be used as it stands
├── RenderError             this template with these variables can never become a message
└── RecipientError          no message can be addressed to this recipient
"""


class JtdError(Exception):
    """Base of all errors raised on purpose; its message tells what to do next."""


class ConfigurationError(JtdError):
    """The settings cannot be used; the message names every mistake found, not only the first."""


class DatabaseRefusedError(JtdError):
    """The database is reachable, but this release must not work on it."""


class MigrationError(DatabaseRefusedError):
    """`migrate` stopped and rolled back; the database is as it was before."""


class RenderError(JtdError):
    """A message cannot be made from this template and these variables, now or later.

    `code` is the short reason kept in `n_jtd.error_code`, e.g. `variables_missing`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RecipientError(JtdError):
    """The recipient cannot be addressed on this channel; retrying cannot help."""


class RefusedReferenceError(JtdError):
    """What a tenant has set for a channel cannot be used, or not by him; his messages wait for a person.

    `code` is the short reason kept in `n_jtd.error_code`: `credential_refused` or `sender_refused`.
    `is_gone`: there is no such credential for him at all.
    """

    def __init__(self, code: str, message: str, *, is_gone: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_gone = is_gone
