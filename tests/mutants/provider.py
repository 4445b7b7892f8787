"""How a provider is asked and understood: without an end, wrongly, or behind another's back."""

from tests.mutants.mutant import Edit, Mutant

EXCHANGE = "jtd_worker/http_exchange.py"
VERDICT = "jtd_worker/verdict.py"
SESSION = "jtd_worker/smtp_session.py"
EXECUTOR = "jtd_worker/executor.py"
KIT = "tests/test_email_smtp.py::TestSmtp"

MUTANTS = (
    Mutant(
        failure_mode="F7",
        what="a request over HTTP as a whole has no timeout",
        edits=(Edit(EXCHANGE, "asyncio.timeout(self._timeouts.total)", "asyncio.timeout(None)"),),
        tests=("tests/test_any_webhook.py::test_the_total_time_ends_an_attempt_that_no_other_time_would",),
    ),
    Mutant(
        failure_mode="F7",
        what="a connect over HTTP has no timeout of its own",
        edits=(Edit(EXCHANGE, '"connect": self._timeouts.connect,', ""),),
        tests=(
            "tests/test_any_webhook.py::test_a_receiver_that_takes_no_connection_is_refused_by_the_network",
        ),
    ),
    Mutant(
        failure_mode="F7",
        what="the answer to an SMTP command is waited for without end",
        edits=(Edit(SESSION, "asyncio.timeout(seconds)", "asyncio.timeout(None)"),),
        tests=(
            "tests/test_failure_modes.py::test_a_mail_server_that_hangs_is_given_up[dot]",
            f"{KIT}::test_the_outcome_says_what_is_known[dot: hang]",
            f"{KIT}::test_the_outcome_says_what_is_known[rcpt: hang]",
        ),
    ),
    Mutant(
        failure_mode="F7",
        what="an SMTP session is waited for without end",
        edits=(Edit("jtd_worker/smtp_connect.py", "asyncio.timeout(seconds)", "asyncio.timeout(None)"),),
        tests=(
            "tests/test_failure_modes.py::test_a_mail_server_that_hangs_is_given_up[banner]",
            f"{KIT}::test_the_outcome_says_what_is_known[banner: hang]",
        ),
    ),
    Mutant(
        failure_mode="F7",
        what="all channels share their slots",
        edits=(
            Edit(
                "jtd_worker/worker.py",
                "{channel: Slots(self._slots(outlets)) for channel in outbound}",
                "dict.fromkeys(outbound, Slots(self._settings.slots))",
            ),
        ),
        tests=("tests/test_worker.py::test_a_provider_that_hangs_holds_up_its_own_channel_alone",),
    ),
    Mutant(
        failure_mode="F8",
        what="a redirect is taken for a success",
        edits=(Edit(EXCHANGE, "return 200 <= self.status < 300", "return 200 <= self.status < 400"),),
        tests=("tests/test_any_webhook.py::test_every_way_to_go_wrong_is_told_apart",),
    ),
    Mutant(
        failure_mode="F8",
        what="a gateway's error is taken for a refusal of the receiver",
        edits=(Edit(VERDICT, "502: Verdict.UNSURE", "502: Verdict.BUSY"),),
        tests=("tests/test_any_webhook.py::test_every_way_to_go_wrong_is_told_apart",),
    ),
    Mutant(
        failure_mode="F8",
        what="a refusal of the whole mail is not read",
        edits=(
            Edit(
                SESSION,
                "if isinstance(answer, Reply) and 400 <= answer.code < 600:\n"
                "            return await self._refused(Phase.DATA, answer, mask)",
                "",
            ),
        ),
        tests=(f"{KIT}::test_the_outcome_says_what_is_known",),
    ),
    Mutant(
        failure_mode="F8",
        what="the answer to another command is taken for that to the mail",
        edits=(Edit(SESSION, "return bool(self._protocol._buffer)", "return False"),),
        tests=(f"{KIT}::test_the_outcome_says_what_is_known[a session says more than it was asked]",),
    ),
    Mutant(
        failure_mode="F9",
        what="a mail server's wrong password fails each mail for good",
        edits=(
            Edit(
                "jtd_worker/smtp_reply.py",
                "return Retry.LATER if 400 <= reply.code < 500 else Retry.AFTER_OPERATOR",
                "return Retry.LATER if 400 <= reply.code < 500 else Retry.NEVER",
            ),
        ),
        tests=(f"{KIT}::test_the_outcome_says_what_is_known[AUTH, a wrong password]",),
    ),
    Mutant(
        failure_mode="F9",
        what="a mailbox that is full for now is given up",
        edits=(Edit("jtd_worker/smtp_reply.py", "case (2, 2):", "case (2, 222):"),),
        tests=(f"{KIT}::test_the_outcome_says_what_is_known[rcpt: 552 5.2.2 full]",),
    ),
    Mutant(
        failure_mode="F8",
        what="whatever an adapter returns is taken for results",
        edits=(
            Edit(
                EXECUTOR,
                "and len(answer) == number and all(map(_is_result, answer)):",
                ":",
            ),
        ),
        tests=("tests/test_hostile.py::test_an_adapter_that_answers_nonsense_harms_its_own_job_only",),
    ),
    Mutant(
        failure_mode="F10",
        what="a lost answer over HTTP is taken for a refusal",
        edits=(
            Edit(
                EXCHANGE,
                "if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):",
                "if isinstance(error, OSError | httpx.HTTPError):",
            ),
        ),
        tests=(
            "tests/test_any_webhook.py::test_every_way_to_go_wrong_is_told_apart",
            "tests/test_hostile.py::test_after_an_unknown_outcome_no_other_provider_sends_in_silence",
        ),
    ),
    Mutant(
        failure_mode="F10",
        what="a lost answer to a whole mail is taken for a refusal",
        edits=(
            Edit(
                SESSION,
                "if isinstance(answer, Reply) and 400 <= answer.code < 600:\n"
                "            return await self._refused(Phase.DATA",
                "if isinstance(answer, NoAnswer) or 400 <= answer.code < 600:\n"
                "            return await self._refused(Phase.DATA",
            ),
        ),
        tests=(
            f"{KIT}::test_the_outcome_says_what_is_known[dot: drop]",
            "tests/test_worker.py::test_a_mail_server_that_misbehaves_gives_the_right_state",
        ),
    ),
    Mutant(
        failure_mode="F10",
        what="an unknown outcome goes straight to another provider",
        edits=(
            Edit(
                EXECUTOR,
                "if others and isinstance(result, Refused) and _another_may_take(result):",
                "if others and not isinstance(result, Sent):",
            ),
        ),
        tests=("tests/test_hostile.py::test_after_an_unknown_outcome_no_other_provider_sends_in_silence",),
    ),
    Mutant(
        failure_mode="F44",
        what="each attempt of a mail has a Message-ID of its own",
        edits=(
            Edit(
                "jtd_worker/mime.py",
                'return f"<{message.jtd_id}.{key}@{domain}>"',
                'return f"<{message.jtd_id}.{key}" + str(__import__("time").time_ns()) + f"@{domain}>"',
            ),
        ),
        tests=(
            f"{KIT}::test_a_second_attempt_hands_over_the_same_octets",
            f"{KIT}::test_the_message_id_is_one_for_all_attempts_and_another_for_another_message",
        ),
    ),
)
