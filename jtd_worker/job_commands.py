"""Commands about jobs: show, enqueue, act, cancel, end-series, retry, resolve, attention."""

import json
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias
from uuid import UUID

import typer
from psycopg.types.json import Jsonb

from jtd_worker import life
from jtd_worker.console import note, table, write, write_json
from jtd_worker.options import Actor, AsJson, Dsn, actor
from jtd_worker.session import CommandError, session

app = typer.Typer(rich_markup_mode=None)

Id: TypeAlias = Annotated[UUID, typer.Argument(metavar="ID", help="The id of the job, a UUID.")]

ACT: Final = {
    "done": "it is {status} now",
    "flagged": "it is {status} now; its flow has no such step, and the audit trail says so",
    "unchanged": "nothing changed: it is {status} already",
    "absent": "there is no job {id} in this database; look at the id and the database",
    "not_work": "nothing changed: it is a message, which a worker carries out; see cancel and retry",
}
"""What each answer of jtd.act means; the last two are mistakes."""
CANCEL: Final = {
    "cancelled": "cancelled; nothing more of it will be sent",
    "too_late": "not cancelled: it was handed to its provider, or its flow allows no such step any more; "
    "jtd-worker show {id} tells what became of it",
    "final": "not cancelled: it has ended already; jtd-worker show {id} tells how",
    "absent": "not cancelled: there is no job {id} in this database; look at the id and the database",
}
"""What each answer of jtd.cancel means; the first alone changed anything."""
END_SERIES: Final = {
    "ended": "the series has ended: no further job of it is made, and one that was still ahead is cancelled",
    "over": "nothing changed: the series had ended already; jtd-worker show {id} tells how",
    "absent": "not ended: there is no series {id}, nor a job of one; look at the id and the database",
}
"""What each answer of jtd.end_series means; the first alone ended anything."""
RETRY: Final = {
    "pending": "it gets one more attempt at once; jtd-worker show {id} tells how it goes",
    "unknown": "not retried: nobody knows whether it was sent. Ask the provider, then say so: "
    "jtd-worker resolve {id} --sent, --resend or --fail",
    "written_off": "not retried: it was given up, and may have been sent; if twice is better than never, "
    "run this again with --resend",
    "not_failed": "not retried: only a failed job can be; jtd-worker show {id} tells what it is doing",
    "absent": "not retried: there is no job {id} in this database; look at the id and the database",
}
"""What each answer of jtd.retry means; the first alone changed anything."""
RESOLVE: Final = {
    "sent": "recorded as sent; nothing of it will be sent again",
    "pending": "it gets one more attempt at once, on record as a possible duplicate",
    "failed": "recorded as written off; it is not listed any more",
    "not_unknown": "not resolved: it is known how it ended, or it is not over; jtd-worker show {id} tells",
    "not_failed": "not resolved: the flow of its event type knows no retry of a failed job",
    "absent": "not resolved: there is no job {id} in this database; look at the id and the database",
}
"""What each answer of jtd.resolve means; the last three changed nothing."""


@app.command()
def show(jtd_id: Id, dsn: Dsn, as_json: AsJson = False) -> None:
    """Tell the whole life of a job, why it waits, and what happens next."""
    with session(dsn, "show") as conn:
        document, now = conn.execute("SELECT jtd.show_v1(%s), clock_timestamp()", [jtd_id]).fetchall()[0]
    if document is None:
        raise CommandError(f"there is no job {jtd_id} in this database; look at the id and the database")
    document = life.public(document)
    if as_json:
        write_json(document)
    else:
        write(*life.tell(document, now))


def _object(text: str) -> dict[str, Any]:
    """Read a JSON object; the message of a mistake does not quote the text, which may be private."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"is not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter('must be a JSON object, e.g. {"name": "Jo"}')
    return value


def _refuse_constant(name: str) -> None:
    raise typer.BadParameter(f"is not JSON: there is no {name} in JSON")


def time(text: str) -> datetime:
    """Read an ISO 8601 time that names its offset from UTC."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("is not an ISO 8601 time, e.g. 2030-01-31T09:00:00+05:30") from None
    if value.tzinfo is None:
        raise typer.BadParameter("has no offset from UTC: end it with Z or e.g. +05:30")
    return value


Json: TypeAlias = Annotated[dict[str, Any] | None, typer.Option(parser=_object, metavar="JSON")]


@app.command()
def enqueue(
    dsn: Dsn,
    tenant: Annotated[UUID, typer.Option(help="The tenant's id.")],
    event_type: Annotated[str, typer.Option(help="A code of n_jtd_event_types, e.g. notification.")],
    source_type: Annotated[str, typer.Option(help="A code of n_jtd_source_types, e.g. payment_due.")],
    channel: Annotated[str | None, typer.Option(show_default="the source type's first")] = None,
    to: Annotated[str | None, typer.Option(help="The address on the channel.")] = None,
    name: Annotated[str | None, typer.Option(help="The recipient's name.")] = None,
    payload: Json = None,
    template: Annotated[str | None, typer.Option(help="A template's key.")] = None,
    variables: Json = None,
    at: Annotated[
        datetime | None, typer.Option(parser=time, metavar="TIME", help="Not before, ISO 8601 with offset.")
    ] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=10, help="10 is the most urgent.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same again makes no second job.")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="A test row: it goes to the outbox.")] = False,
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job and print its id."""
    arguments = {
        "tenant_id": tenant, "event_type": event_type, "source_type": source_type, "channel": channel,
        "recipient": to, "recipient_name": name, "payload": Jsonb(payload or {}), "template_key": template,
        "template_variables": Jsonb(variables or {}), "scheduled_at": at, "priority": priority,
        "idempotency_key": key, "is_live": not test,
    }  # fmt: skip
    named = ", ".join(f"{argument} => %({argument})s" for argument in arguments)
    with session(dsn, "enqueue", actor=actor(as_)) as conn:
        query = f"SELECT id, created FROM jtd.enqueue({named})"  # noqa: S608 - our own argument names
        jtd_id, created = conn.execute(query.encode(), arguments).fetchall()[0]
    if as_json:
        write_json({"id": jtd_id, "created": created})
    else:
        print(jtd_id)
        note("created" if created else "not created: this job has the same idempotency key and content")


@app.command()
def cancel(
    jtd_id: Id,
    dsn: Dsn,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit trail.")] = None,
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a job that has not been handed to a provider."""
    with session(dsn, "cancel", actor=actor(as_)) as conn:
        answer = conn.execute("SELECT jtd.cancel(%s, %s)", [jtd_id, reason]).fetchall()[0][0]
    _answer(jtd_id, answer, CANCEL, as_json)


@app.command()
def end_series(
    series: Annotated[UUID, typer.Argument(metavar="ID", help="The id of the series, or of a job of it.")],
    dsn: Dsn,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit trail.")] = None,
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """End a series: cancel its job that is still ahead, and make no further one."""
    with session(dsn, "end-series", actor=actor(as_)) as conn:
        answer = conn.execute("SELECT jtd.end_series(%s, %s)", [series, reason]).fetchall()[0][0]
    _answer(series, answer, END_SERIES, as_json)


@app.command()
def act(
    jtd_id: Id,
    status: Annotated[str, typer.Argument(metavar="STATUS", help="Where it goes, e.g. confirmed.")],
    dsn: Dsn,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit trail; some steps need one.")] = None,
    at: Annotated[
        datetime | None, typer.Option(parser=time, metavar="TIME", help="The new time, ISO 8601 with offset.")
    ] = None,
    by: Annotated[UUID | None, typer.Option(help="The id of the person who does it.")] = None,
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Take an appointment, a visit or a task one step on."""
    name = actor(as_)
    with session(dsn, "act", actor=name) as conn:
        query = "SELECT jtd.act(%s, %s, %s, %s, %s, %s)"
        answer = conn.execute(query, [jtd_id, status, by, reason, at, name]).fetchall()[0][0]
    sentence = ACT[answer].format(id=jtd_id, status=status)
    if as_json:
        write_json({"id": jtd_id, "answer": answer, "sentence": sentence})
    else:
        write(sentence)
    if answer in {"absent", "not_work"}:
        raise typer.Exit(1)


@app.command()
def retry(
    jtd_id: Id,
    dsn: Dsn,
    resend: Annotated[
        bool, typer.Option("--resend", help="Send it again although it may have been sent.")
    ] = False,
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Give a failed job one more attempt, at once."""
    with session(dsn, "retry", actor=actor(as_)) as conn:
        answer = conn.execute("SELECT jtd.retry(%s, %s)", [jtd_id, resend]).fetchall()[0][0]
    _answer(jtd_id, answer, RETRY, as_json)


@app.command()
def resolve(
    ids: Annotated[list[UUID], typer.Argument(metavar="ID...", help="The ids of the jobs, UUIDs.")],
    dsn: Dsn,
    sent: Annotated[bool, typer.Option("--sent", help="It was sent.")] = False,
    resend: Annotated[
        bool, typer.Option("--resend", help="It was not, or twice is better than never: send it.")
    ] = False,
    fail: Annotated[bool, typer.Option("--fail", help="Give it up; never to be known.")] = False,
    reason: Annotated[str | None, typer.Option(help="How you know, for the audit trail.")] = None,
    as_: Actor = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of jobs of unknown outcome; jtd-worker attention lists them."""
    verdicts = [name for name, said in (("sent", sent), ("resend", resend), ("fail", fail)) if said]
    if len(verdicts) != 1:
        raise typer.BadParameter("say what became of it: --sent, --resend or --fail")
    answers = []
    with session(dsn, "resolve", actor=actor(as_)) as conn:
        for jtd_id in ids:
            query = "SELECT jtd.resolve(%s, %s, %s)"
            answers.append(conn.execute(query, [jtd_id, verdicts[0], reason]).fetchall()[0][0])
    sentences = [RESOLVE[answer].format(id=jtd_id) for jtd_id, answer in zip(ids, answers, strict=True)]
    if as_json:
        names = ("id", "answer", "sentence")
        write_json([dict(zip(names, row, strict=True)) for row in zip(ids, answers, sentences, strict=True)])
    else:
        write(table(("id", ""), list(zip(ids, sentences, strict=True))))
    if {"not_unknown", "not_failed", "absent"} & set(answers):
        raise typer.Exit(1)


@app.command()
def attention(
    dsn: Dsn,
    reason: Annotated[str | None, typer.Option(help="One only, e.g. outcome_unknown.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """List jobs that a person should look at: failed, of unknown outcome, bounced, blocked."""
    names = ("id", "since", "reason", "tenant_id", "channel", "attempt", "provider", "executed_at", "message")
    with session(dsn, "attention") as conn:
        rows = conn.execute("SELECT * FROM jtd.attention(%s, %s)", [reason, limit + 1]).fetchall()
    if as_json:
        write_json([dict(zip(names, row, strict=True)) for row in rows[:limit]])
    elif rows:
        lines = [(jtd_id, f"{since:%Y-%m-%d %H:%M:%S}", why, channel, attempt, provider, message)
            for jtd_id, since, why, _, channel, attempt, provider, _, message in rows[:limit]]  # fmt: skip
        write(table(("id", "since (UTC)", "reason", "channel", "attempt", "provider", "message"), lines))
    else:
        write("Nothing needs a person.")
    if len(rows) > limit:
        note(f"There are more than {limit}; --limit shows more.")


def _answer(jtd_id: UUID, answer: str, sentences: dict[str, str], as_json: bool) -> None:
    """Print an answer; all but the first of `sentences` end the command with 1."""
    sentence = sentences[answer].format(id=jtd_id)
    if as_json:
        write_json({"id": jtd_id, "answer": answer, "sentence": sentence})
    else:
        write(sentence)
    if answer != next(iter(sentences)):
        raise typer.Exit(1)
