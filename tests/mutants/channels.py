"""Defects of adapters and of what they are given, see the failure modes of templates and providers."""

from typing import Final

from tests.mutants.mutant import Edit, Mutant

SENDGRID: Final = "tests/test_email_sendgrid.py::TestSendGrid"
TEMPLATES: Final = "tests/test_provider_templates.py::"
DEVICES: Final = "tests/test_push_devices.py::"

MUTANTS: Final = (
    Mutant(
        failure_mode="F36",
        what="a bounce is believed without its signature",
        edits=(Edit("jtd_worker/verp.py", "if any(fits):", "if fits:"),),
        tests=("tests/test_bounce.py::test_a_report_is_understood_for_what_it_is",),
    ),
    Mutant(
        failure_mode="F36",
        what="a webhook of any age is believed",
        edits=(
            Edit(
                "jtd_worker/webhook_proof.py",
                "if abs(int(seconds) - request.received_at.timestamp()) > max_age_seconds:",
                "if False:",
            ),
        ),
        tests=("tests/test_email_sendgrid.py::test_what_is_not_signed_byte_for_byte_is_forged",),
    ),
    Mutant(
        failure_mode="F36",
        what="a secret URL is not looked at",
        edits=(
            Edit(
                "jtd_worker/webhook_proof.py",
                "    if not found:\n        raise ForgedError",
                "    if False:\n        raise ForgedError",
            ),
        ),
        tests=("tests/test_sms_twilio.py", "tests/test_msg91.py"),
    ),
    Mutant(
        failure_mode="F36",
        what="a message of SNS from any account is believed",
        edits=(
            Edit("jtd_worker/sns.py", 'if message.get("TopicArn") not in self._topic_arns:', "if False:"),
        ),
        tests=("tests/test_email_ses.py::test_what_is_not_proved_is_forged",),
    ),
    Mutant(
        failure_mode="F8",
        what="a success without an id is believed",
        edits=(Edit("jtd_worker/verdict.py", "    if provider_message_id is None:\n", "    if False:\n"),),
        tests=("tests/test_email_resend.py::TestResend",),
    ),
    Mutant(
        failure_mode="F8",
        what="a body that was cut short is read",
        edits=(
            Edit("jtd_worker/http_exchange.py", "        if not self.is_whole:\n", "        if False:\n"),
        ),
        tests=("tests/test_http_exchange.py::test_what_was_cut_short_is_no_document",),
    ),
    Mutant(
        failure_mode="F9",
        what="a wrong key fails each message for good",
        edits=(Edit("jtd_worker/verdict.py", "    401: Verdict.CREDENTIAL,", "    401: Verdict.MESSAGE,"),),
        tests=(SENDGRID,),
    ),
    Mutant(
        failure_mode="F10",
        what="an API that does not answer in time is taken to have refused",
        edits=(
            Edit(
                "jtd_worker/http_exchange.py",
                '    return Unknown(\n        code="answer_lost",\n        reason=mask.reason(',
                "    return Refused(\n        retry=Retry.LATER, scope=Scope.NETWORK,"
                ' code="answer_lost",\n        reason=mask.reason(',
            ),
        ),
        tests=(SENDGRID,),
    ),
    Mutant(
        failure_mode="F41",
        what="a variable that was not given goes out as a blank",
        edits=(
            Edit(
                "jtd_worker/undefined.py",
                "class Absent(StrictUndefined, ChainableUndefined):",
                "class Absent(ChainableUndefined):",
            ),
        ),
        tests=("tests/test_templates.py",),
    ),
    Mutant(
        failure_mode="F41",
        what="a parameter that was not given goes to the provider as a blank",
        edits=(
            Edit(
                "jtd_worker/provider_template.py",
                "variable.required and values.get(variable.name) is None",
                "False",
            ),
        ),
        tests=("tests/test_provider_templates.py",),
    ),
    Mutant(
        failure_mode="F42",
        what="what WhatsApp would not deliver is passed on",
        edits=(
            Edit(
                "jtd_worker/provider_template.py",
                'if jtd.channel_code == "whatsapp":\n        w',
                "if False:\n        w",
            ),
        ),
        tests=(TEMPLATES + "test_what_whatsapp_would_take_and_not_deliver_is_refused",),
    ),
    Mutant(
        failure_mode="F42",
        what="a parameter is handed to Meta unchecked",
        edits=(
            Edit(
                "jtd_worker/whatsapp_template.py",
                "    if unsafe:\n        raise",
                "    if False:\n        raise",
            ),
        ),
        tests=("tests/test_whatsapp_meta.py",),
    ),
    Mutant(
        failure_mode="F43",
        what="a number that may begin with its country code or not is guessed",
        edits=(Edit("jtd_worker/contacts.py", 'readings.add(_valid(f"+{digits}", None))', "pass"),),
        tests=("tests/test_contacts.py::test_a_number_that_can_be_read_in_two_ways_is_refused",),
    ),
    Mutant(
        failure_mode="F43",
        what="a number that is merely long enough is taken for one",
        edits=(
            Edit(
                "jtd_worker/contacts.py",
                "phonenumbers.is_valid_number(number)",
                "phonenumbers.is_possible_number(number)",
            ),
        ),
        tests=("tests/test_contacts.py",),
    ),
    Mutant(
        failure_mode="F45",
        what="a retry renders the template as it is by now",
        edits=(Edit("sql/functions/templates_v2.sql", "WHERE t.version = a.version", "WHERE true"),),
        tests=(TEMPLATES + "test_a_retry_sends_the_parameters_of_its_first_attempt_to_the_same_template",),
    ),
    Mutant(
        failure_mode="F45",
        what="the keys of a request's JSON are in no order",
        edits=(Edit("jtd_worker/http_adapter.py", "sort_keys=True, ", ""),),
        tests=("tests/test_http_exchange.py::test_json_is_the_same_bytes_whatever_the_order_of_its_keys",),
    ),
    Mutant(
        failure_mode="F47",
        what="a device that was registered again is deleted",
        edits=(Edit("sql/functions/drop_devices.sql", " AND gone.registered_at = n.last_registered_at", ""),),
        tests=("tests/test_push_devices.py",),
    ),
    Mutant(
        failure_mode="F47",
        what="a device that is gone is kept for ever",
        edits=(
            Edit(
                "jtd_worker/settler.py",
                "device for device in settlement.devices if device.id in gone",
                "device for device in settlement.devices if False",
            ),
        ),
        tests=("tests/test_push_devices.py",),
    ),
    Mutant(
        failure_mode="F47",
        what="any error about an argument deletes the device",
        edits=(Edit("jtd_worker/channels/push_fcm.py", ' if _fields(answer) == {"message.token"}', ""),),
        tests=("tests/test_push_fcm.py",),
    ),
)
