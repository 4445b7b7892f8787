"""Mails as they come to a bounce address, with what they report: structures of real servers, words are ours.

`{to}` stands for the address with the token of `JOB`, `{forged}` for one with a token that nobody signed.
"""

from typing import Final
from uuid import UUID

from jtd_worker.receipt import ReceiptKind as Kind
from jtd_worker.verp import Verp, address

JOB: Final = UUID("0192f0c1-0000-7000-8000-00000000abcd")
SECRET: Final = "a-secret-of-the-bounce-address-0001"
TOKEN: Final = Verp([SECRET.encode()]).token(JOB)
TO: Final = address("bounces@acme.example", "+", TOKEN)
FORGED: Final = address("bounces@acme.example", "+", JOB.hex + "a" * 16)

HEAD: Final = """\
Return-Path: <>
Delivered-To: {to}
Date: Thu, 6 May 2031 09:00:00 +0200
From: MAILER-DAEMON@mx.customer.example (Mail Delivery System)
To: {to}
Message-ID: <report-1@mx.customer.example>
MIME-Version: 1.0
"""
REPORT: Final = HEAD + 'Content-Type: multipart/report; report-type=delivery-status; boundary="b1"\n\n'
RETURNED: Final = """\
--b1
Content-Type: text/rfc822-headers

Return-Path: <{to}>
From: Acme <no-reply@acme.example>
To: =?utf-8?q?Zo=C3=AB?= <zoe@customer.example>
Subject: Paid
Message-ID: <0192f0c1-0000-7000-8000-00000000abcd.0123456789abcdef@acme.example>

"""


def dsn(fields: str, *, words: str = "Your message could not be delivered.", returned: str = RETURNED) -> str:
    return (
        f"{REPORT}--b1\nContent-Type: text/plain; charset=us-ascii\n\n{words}\n\n"
        "--b1\nContent-Type: message/delivery-status\n\n"
        "Reporting-MTA: dns; mx.customer.example\nArrival-Date: Thu, 6 May 2031 08:59:50 +0200\n\n"
        f"{fields}\n\n{returned}--b1--\n"
    )


def failed(status: str, diagnostic: str) -> str:
    return (
        f"Final-Recipient: rfc822; zoe@customer.example\nAction: failed\nStatus: {status}\n"
        f"Remote-MTA: dns; mail.customer.example\nDiagnostic-Code: smtp; {diagnostic}"
    )


EXCHANGE: Final = """\
{head}Content-Language: de-DE
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="b1"
X-MS-Exchange-Message-Is-Ndr:
Auto-Submitted: auto-replied

--b1
Content-Type: multipart/alternative; differences=Content-Type;
\tboundary="b2"

--b2
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

Ihre Nachricht an zoe@customer.example konnte nicht zugestellt werden. Die E=
mpf=E4ngerin wurde nicht gefunden.

--b2
Content-Type: text/html; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

<html><body>Ihre Nachricht konnte <b>nicht</b> zugestellt werden.</body></html>

--b2--

--b1
Content-Type: message/delivery-status

Reporting-MTA: dns;AM0PR01.prod.customer.example
Received-From-MTA: dns;relay.acme.example
Arrival-Date: Thu, 6 May 2031 06:59:50 +0000

Final-Recipient: rfc822;zoe@customer.example
Action: failed
Status: {status}
Diagnostic-Code: smtp;{diagnostic}
X-Display-Name: Zoe

--b1
Content-Type: message/rfc822

Return-Path: <{{to}}>
From: Acme <no-reply@acme.example>
To: zoe@customer.example
Subject: Paid

Hello

--b1--
"""
GOOGLE: Final = """\
{head}Content-Type: multipart/report; boundary="b1"; report-type=delivery-status

--b1
Content-Type: multipart/related; boundary="b2"

--b2
Content-Type: multipart/alternative; boundary="b3"

--b3
Content-Type: text/plain; charset="UTF-8"

** Address not found **

Your message wasn't delivered to zoe@customer.example.

--b3
Content-Type: text/html; charset="UTF-8"

<html><body><h1>Address not found</h1></body></html>

--b3--
--b2
Content-Type: image/png; name="icon.png"
Content-ID: <icon.png>
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--b2--
--b1
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.example
Arrival-Date: Thu, 06 May 2031 00:00:01 -0700 (PDT)
X-Original-Message-ID: <x@acme.example>

Final-Recipient: rfc822; zoe@customer.example
Action: failed
Status: {status}
Remote-MTA: dns; mx.customer.example. (192.0.2.7, the server for the domain
 customer.example.)
Diagnostic-Code: smtp; {diagnostic}
Last-Attempt-Date: Thu, 06 May 2031 00:00:02 -0700 (PDT)

--b1
Content-Type: message/rfc822

Return-Path: <{{to}}>
To: Zoe <zoe@customer.example>
Subject: Paid

Hello
--b1--
"""
EXIM_TEXT: Final = (
    HEAD
    + """\
X-Failed-Recipients: zoe@customer.example
Auto-Submitted: auto-replied

This message was created automatically by mail delivery software.

A message that you sent could not be delivered to one or more of its
recipients. This is a permanent error. The following address(es) failed:

  zoe@customer.example
    host mx.customer.example [192.0.2.7]
    SMTP error from remote mail server after RCPT TO:<zoe@customer.example>:
    550 {code}zoe is not known here

------ This is a copy of the message, including all the headers. ------

Return-path: <{{to}}>
Subject: about 5.7.1 and other codes
"""
)
QMAIL: Final = (
    HEAD
    + """\

Hi. This is the qmail-send program at mx.customer.example.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<zoe@customer.example>:
Sorry, no mailbox here by that name. (#5.1.1)

--- Below this line is a copy of the message.

Return-Path: <{to}>
"""
)
ARF: Final = """\
Date: Thu, 6 May 2031 09:00:00 +0200
From: feedback@customer.example
To: fbl@acme.example
Message-ID: <arf-1@customer.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b1"

--b1
Content-Type: text/plain

This is an email abuse report.

--b1
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
{field}Original-Rcpt-To: <zoe@customer.example>
Arrival-Date: Thu, 6 May 2031 08:00:00 +0200

--b1
Content-Type: message/rfc822

{returned}From: Acme <no-reply@acme.example>
To: zoe@customer.example
Subject: Paid

Hello
--b1--
"""
EAI: Final = (
    REPORT
    + """\
--b1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Доставка не удалась: такого адреса нет.

--b1
Content-Type: message/global-delivery-status
Content-Transfer-Encoding: 8bit

Reporting-MTA: dns; почта.example

Final-Recipient: utf-8; зоя@customer.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 нет зоя@customer.example

--b1--
"""
)
NESTED: Final = (
    HEAD
    + 'Content-Type: multipart/mixed; boundary="outer"\n\n--outer\nContent-Type: text/plain\n\n[scanned]\n\n'
    + "--outer\n"
    + dsn(failed("5.1.1", "550 5.1.1 unknown")).partition("MIME-Version: 1.0\n")[2]
    + "\n--outer--\n"
)

ONE: Final = [(Kind.BOUNCED, "5.1.1")]
NOTHING: Final[list[tuple[Kind, str | None]]] = []


def _exchange(status: str, diagnostic: str) -> str:
    return EXCHANGE.format(head=HEAD, status=status, diagnostic=diagnostic).replace("{{to}}", "{to}")


def _google(status: str, diagnostic: str) -> str:
    return GOOGLE.format(head=HEAD, status=status, diagnostic=diagnostic).replace("{{to}}", "{to}")


def _arf(kind: str, field: str = "", returned: str = "") -> str:
    return ARF.replace("{kind}", kind).replace("{field}", field).replace("{returned}", returned)


def _exim(code: str) -> str:
    return EXIM_TEXT.replace("{code}", code).replace("{{to}}", "{to}")


CORPUS: Final[dict[str, tuple[str, list[tuple[Kind, str | None]]]]] = {
    "postfix: unknown": (
        dsn(failed("5.1.1", "550 5.1.1\n  <zoe@customer.example>: Recipient address rejected:\n  unknown")),
        ONE,
    ),
    "postfix: no such domain": (
        dsn(failed("5.4.4", "not found").replace("Code: smtp", "Code: X-Postfix")),
        [(Kind.FAILED, "5.4.4")],
    ),
    "postfix: the time ran out": (dsn(failed("4.4.7", "connection timed out")), [(Kind.FAILED, "4.4.7")]),
    "postfix: greylisted until the time ran out": (
        dsn(failed("4.1.1", "450 4.1.1 unverified address")), [(Kind.FAILED, "4.1.1")]),
    "postfix: delayed": (
        dsn(failed("4.4.1", "connection refused").replace("Action: failed", "Action: delayed")),
        [(Kind.DEFERRED, "4.4.1")],
    ),
    "exim: unknown, the code only in words": (dsn(failed("5.0.0", "550 5.1.1 no such user")), ONE),
    "exim: refused without any code": (dsn(failed("5.0.0", "550 no such user")), [(Kind.FAILED, "5.0.0")]),
    "exim: text for people": (_exim("5.1.1 "), ONE),
    "exim: text for people, without a code": (_exim(""), [(Kind.FAILED, None)]),
    "exchange: not found, in German": (
        _exchange("5.1.10", "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found"),
        [(Kind.BOUNCED, "5.1.10")],
    ),
    "exchange: members only": (
        _exchange("5.7.1", "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized"), [(Kind.FAILED, "5.7.1")]),
    "exchange: full": (_exchange("5.2.2", "554 5.2.2 mailbox full"), [(Kind.SOFT_BOUNCED, "5.2.2")]),
    "google: unknown": (
        _google("5.1.1", "550-5.1.1 The account does not exist.\n 550 5.1.1 Try another"), ONE),
    "google: disabled": (_google("5.2.1", "550 5.2.1 The account is disabled."), [(Kind.BOUNCED, "5.2.1")]),
    "google: mails at too high a rate": (
        _google("5.2.1", "550 5.2.1 The user receives mail at a rate that prevents more."),
        [(Kind.SOFT_BOUNCED, "5.2.1")],
    ),
    "qmail: text for people": (QMAIL, ONE),
    "no such domain": (dsn(failed("5.1.2", "unknown host")), [(Kind.BOUNCED, "5.1.2")]),
    "a domain without mail": (dsn(failed("5.1.10", "null MX")), [(Kind.BOUNCED, "5.1.10")]),
    "too large for the mailbox": (dsn(failed("5.2.3", "552 5.2.3 too large")), [(Kind.FAILED, "5.2.3")]),
    "too large for the server": (dsn(failed("5.3.4", "552 5.3.4 too large")), [(Kind.FAILED, "5.3.4")]),
    "content": (dsn(failed("5.6.0", "554 5.6.0 bad MIME")), [(Kind.FAILED, "5.6.0")]),
    "policy": (dsn(failed("5.7.26", "550 5.7.26 not authenticated")), [(Kind.FAILED, "5.7.26")]),
    "a definite code that the server itself contradicts": (
        dsn(failed("5.1.1", "550 5.7.1 blocked by our policy")), [(Kind.FAILED, "5.1.1")]),
    "an address that ours is forwarded to": (
        dsn(failed("5.1.1", "550 5.1.1 unknown").replace("zoe@customer.example", "old@elsewhere.example")),
        [(Kind.FAILED, "5.1.1")],
    ),
    "our mail did not come back": (dsn(failed("5.1.1", "550 5.1.1 unknown"), returned=""), ONE),
    "delivered, in French": (
        dsn("Final-Recipient: rfc822; zoe@customer.example\nAction: delivered (to mailbox)\nStatus: 2.1.5",
            words="Votre message a bien =E9t=E9 remis."),
        [(Kind.DELIVERED, "2.1.5")],
    ),
    "relayed": (
        dsn("Final-Recipient: rfc822; zoe@customer.example\nAction: relayed\nStatus: 2.0.0"),
        [(Kind.SENT, "2.0.0")],
    ),
    "expanded": (
        dsn("Final-Recipient: rfc822; zoe@customer.example\nAction: expanded\nStatus: 2.0.0"),
        [(Kind.DELIVERED, "2.0.0")],
    ),
    "two recipients": (
        dsn(
            failed("5.1.1", "550 5.1.1 unknown") + "\n\n" + failed("4.2.2", "full").replace("zoe@", "b@")
        ),
        [(Kind.BOUNCED, "5.1.1"), (Kind.SOFT_BOUNCED, "4.2.2")],
    ),
    "an action that nobody knows": (dsn("Action: vanished\nStatus: 5.1.1"), NOTHING),
    "addresses beyond ASCII": (EAI, ONE),
    "inside the mail of a scanner": (NESTED, ONE),
    "cut off in the middle": (
        dsn(failed("5.1.1", "550 5.1.1 unknown")).partition("--b1\nContent-Type: text/rfc")[0], ONE),
    "another boundary than announced": (
        dsn("Action: failed").replace('boundary="b1"', 'boundary="b9"'), NOTHING),
    "a charset that does not exist": (
        dsn(failed("5.1.1", "550 5.1.1 unknown")).replace("charset=us-ascii", "charset=klingon-1"), ONE),
    "a report about nothing": (REPORT, NOTHING),
    "a complaint, found by its field": (
        _arf("abuse", field="Original-Mail-From: <{to}>\n"), [(Kind.COMPLAINED, None)]),
    "a complaint, found by the mail that came back": (
        _arf("abuse", returned="Return-Path: <{to}>\n"), [(Kind.COMPLAINED, None)]),
    "a complaint that takes one back": (_arf("not-spam", returned="Return-Path: <{to}>\n"), NOTHING),
    "an unsubscription by feedback": (
        _arf("opt-out", returned="Return-Path: <{to}>\n"), [(Kind.UNSUBSCRIBED, None)]),
    "a complaint about nobody knows what": (_arf("abuse"), NOTHING),
    "someone is on holiday": (
        HEAD + "Auto-Submitted: auto-replied\n\nBack on 5.1.1. Hi. Action: failed\n", NOTHING),
    "someone has read it": (
        HEAD + 'Content-Type: multipart/report; report-type=disposition-notification; boundary="b1"\n\n--b1\n'
        "Content-Type: message/disposition-notification\n\nDisposition: manual-action; displayed\n\n--b1--\n",
        NOTHING),
    "a forged token": (dsn(failed("5.1.1", "550 5.1.1 unknown")).replace("{to}", "{forged}"), NOTHING),
    "our Message-ID without a token": (
        dsn(failed("5.1.1", "550 5.1.1 unknown")).replace("{to}", "bounces@acme.example"), NOTHING),
    "empty": ("", NOTHING),
}  # fmt: skip


def mail(name: str) -> bytes:
    """Return a mail of the corpus as it comes in by SMTP."""
    text = CORPUS[name][0].replace("{to}", TO).replace("{forged}", FORGED)
    return text.replace("\n", "\r\n").encode()
