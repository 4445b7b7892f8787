"""What a tenant, a recipient, an operator or the calendar says: not read, read too late, or got around."""

from tests.mutants.mutant import Edit, Mutant

CLAIM = "sql/functions/claim_v1.sql"
ENQUEUE = "sql/functions/enqueue_row.sql"
GATE = "sql/functions/gate.sql"
QUIET = "sql/functions/quiet_until.sql"


def _ignored(column: str, edit: Edit, *tests: str) -> Mutant:
    return Mutant(failure_mode="F38", what=f"{column} is not read", edits=(edit,), tests=tests)


MUTANTS = (
    Mutant(
        failure_mode="F20",
        what="what is scheduled for later is queued at once",
        edits=(
            Edit(
                ENQUEUE,
                "ELSIF greatest(NEW.scheduled_at, NEW.next_retry_at) > now() THEN",
                "ELSIF false THEN",
            ),
        ),
        tests=(
            "tests/test_enqueue.py::test_a_job_for_later_waits_for_its_time",
            "tests/test_tenant_settings.py::test_a_delayed_source_waits_and_then_goes",
        ),
    ),
    Mutant(
        failure_mode="F20",
        what="what waits is released before it is due",
        edits=(
            Edit(
                "sql/functions/release_due.sql",
                "WHERE w.due <= now() ORDER BY w.due LIMIT p_limit + 50000",
                "ORDER BY w.due LIMIT p_limit + 50000",
            ),
        ),
        tests=("tests/test_tick.py::test_a_scheduled_job_is_queued_at_its_time_and_not_before",),
    ),
    Mutant(
        failure_mode="F24",
        what="work for people is queued like a message",
        edits=(
            Edit(
                ENQUEUE,
                "    IF event.is_message THEN\n        recipient :=",
                "    IF true THEN\n        recipient :=",
            ),
        ),
        tests=("tests/test_enqueue.py::test_work_stays_created_and_is_never_queued",),
    ),
    Mutant(
        failure_mode="F25",
        what="new jobs of a tenant with a backlog go straight to the queue",
        edits=(Edit(ENQUEUE, "OR jtd.window_closed(", "OR false AND jtd.window_closed("),),
        tests=(
            "tests/test_tick.py::test_a_window_is_closed_while_older_jobs_of_the_tenant_wait_and_opens_after",
        ),
    ),
    Mutant(
        failure_mode="F26",
        what="nobody tells of a transaction that holds back vacuum",
        edits=(Edit("sql/functions/oldest_snapshot.sql", "WHERE a.backend_xmin IS NOT NULL", "WHERE false"),),
        tests=("tests/test_operate.py::test_a_transaction_that_holds_back_vacuum_is_told_of",),
    ),
    Mutant(
        failure_mode="F27",
        what="quiet hours are those of UTC",
        edits=(
            Edit(
                QUIET,
                "at_local CONSTANT timestamp := p_at AT TIME ZONE p_zone;",
                "at_local CONSTANT timestamp := p_at AT TIME ZONE 'UTC';",
            ),
        ),
        tests=("tests/test_gate.py::test_quiet_hours_end_when_the_clock_on_the_wall_says_so",),
    ),
    Mutant(
        failure_mode="F27",
        what="a change of the clocks before their end is not seen",
        edits=(
            Edit(
                QUIET,
                "IF ends - p_at = end_local - at_local AND ends AT TIME ZONE p_zone = end_local THEN",
                "IF true THEN",
            ),
        ),
        tests=("tests/test_gate.py::test_quiet_hours_end_when_the_clock_on_the_wall_says_so",),
    ),
    Mutant(
        failure_mode="F27",
        what="quiet hours end at midnight",
        edits=(
            Edit(
                "sql/functions/is_quiet.sql",
                "p_local::time >= p_start OR p_local::time < p_end",
                "p_local::time >= p_start",
            ),
        ),
        tests=("tests/test_gate.py::test_quiet_hours_end_when_the_clock_on_the_wall_says_so",),
    ),
    Mutant(
        failure_mode="F27",
        what="the day of a limit is that of UTC",
        edits=(
            Edit(
                "sql/functions/take_allowance.sql",
                "(now() AT TIME ZONE t.timezone)::date AS today",
                "(now() AT TIME ZONE 'UTC')::date AS today",
            ),
        ),
        tests=("tests/test_limits.py::test_the_day_of_a_limit_is_that_of_the_tenant",),
    ),
    Mutant(
        failure_mode="F28",
        what="test mode guards two channels",
        edits=(
            Edit(
                GATE,
                "WHEN NOT j.is_live AND NOT coalesce((",
                "WHEN NOT j.is_live AND j.channel_code IN ('email', 'sms') AND NOT coalesce((",
            ),
        ),
        tests=("tests/test_test_mode.py::test_test_rows_leave_the_house_on_no_channel",),
    ),
    Mutant(
        failure_mode="F28",
        what="the list of the live settings lets test rows out",
        edits=(
            Edit(
                GATE,
                "ON t.tenant_id = j.tenant_id AND t.is_live = j.is_live AND t.is_active",
                "ON t.tenant_id = j.tenant_id AND t.is_live AND t.is_active",
            ),
        ),
        tests=("tests/test_test_mode.py::test_the_list_of_the_live_settings_lets_no_test_row_out",),
    ),
    Mutant(
        failure_mode="F29",
        what="the claim does not ask the gate",
        edits=(
            Edit(CLAIM, "FROM jtd.judge(held) AS g WHERE g.verdict = 'send';", "FROM jtd.judge(held) AS g;"),
        ),
        tests=("tests/test_tenant_settings.py::test_a_switch_counts_for_what_is_queued_already",),
    ),
    Mutant(
        failure_mode="F30",
        what="what a producer writes passes a gate",
        edits=(
            Edit(
                GATE,
                "WHEN s.bypasses_gates THEN NULL",
                "WHEN s.bypasses_gates OR j.performed_by_type = 'vani' THEN NULL",
            ),
        ),
        tests=("tests/test_tenant_settings.py::test_nothing_that_a_producer_writes_passes_a_gate",),
    ),
    Mutant(
        failure_mode="F37",
        what="a blocked message is a failure",
        edits=(
            Edit(
                "sql/functions/pass_gate.sql",
                "ELSE 'cancelled' END, judged.reason);",
                "ELSE 'failed' END, judged.reason);",
            ),
        ),
        tests=("tests/test_tenant_settings.py::test_a_switch_counts_for_what_is_queued_already",),
    ),
    Mutant(
        failure_mode="F37",
        what="a deferral uses an attempt",
        edits=(
            Edit(
                "sql/functions/defer.sql",
                "UPDATE public.n_jtd AS j SET next_retry_at = d.until",
                "UPDATE public.n_jtd AS j SET retry_count = j.retry_count + 1, next_retry_at = d.until",
            ),
        ),
        tests=("tests/test_quiet_hours.py::test_in_quiet_hours_a_message_waits_for_their_end",),
    ),
    _ignored(
        "quiet_hours_start",
        Edit(GATE, "WHEN quiet.until IS NOT NULL THEN 'quiet_hours'", "WHEN false THEN 'quiet_hours'"),
        "tests/test_quiet_hours.py::test_in_quiet_hours_a_message_waits_for_their_end",
    ),
    _ignored(
        "quiet_hours_exempt",
        Edit(
            GATE,
            "WHERE t.quiet_hours_start IS NOT NULL AND NOT (",
            "WHERE t.quiet_hours_start IS NOT NULL OR NOT (",
        ),
        "tests/test_quiet_hours.py::test_urgent_and_identity_messages_are_exempt_as_far_as_the_tenant_says",
    ),
    _ignored(
        "daily_limit",
        Edit(
            "sql/functions/take_allowance.sql",
            "tenant.daily_limit::bigint - day.used, tenant.monthly_limit",
            "tenant.monthly_limit",
        ),
        "tests/test_limits.py::test_a_daily_limit_lets_through_so_many_and_the_rest_tomorrow",
    ),
    _ignored(
        "monthly_limit",
        Edit(
            "sql/functions/take_allowance.sql",
            ", tenant.monthly_limit::bigint - month.used)))::integer;",
            ")))::integer;",
        ),
        "tests/test_limits.py::test_a_limit_may_cancel_what_is_over_it",
    ),
    _ignored(
        "limit_action",
        Edit(GATE, "AND t.limit_action = 'block' AND", "AND false AND"),
        "tests/test_limits.py::test_a_limit_may_cancel_what_is_over_it",
    ),
    Mutant(
        failure_mode="F38",
        what="a hold outlives the limit that it was for",
        edits=(Edit("sql/functions/is_held.sql", "AND h.limits = jtd.limits_of(t))", ")"),),
        tests=("tests/test_limits.py::test_a_hold_ends_with_the_limits_that_it_was_for",),
    ),
    _ignored(
        "rate_limits",
        Edit(
            "sql/functions/take_allowance.sql",
            "OR t.rate_limits ? j.channel_code)",
            "OR false)",
        ),
        "tests/test_limits.py::test_a_tenants_rate_is_exact_while_many_claim",
    ),
    _ignored(
        "channels_enabled",
        Edit(
            GATE,
            "WHEN t.id IS NOT NULL AND coalesce(t.channels_enabled",
            "WHEN false AND coalesce(t.channels_enabled",
        ),
        "tests/test_tenant_settings.py::test_a_switch_counts_for_what_is_queued_already",
    ),
    _ignored(
        "channels_enabled of the source",
        Edit(GATE, "WHEN j.channel_code <> ALL (ts.channels_enabled) THEN", "WHEN false THEN"),
        "tests/test_tenant_settings.py::test_a_switch_counts_for_what_is_queued_already",
    ),
    _ignored(
        "channels_enabled of the source, by routing,",
        Edit(
            "sql/functions/route.sql",
            "coalesce(ts.channels_enabled, s.default_channels)",
            "s.default_channels",
        ),
        "tests/test_routing.py::test_the_tenants_channels_for_a_source_come_before_its_own",
    ),
    _ignored(
        "is_enabled",
        Edit(GATE, "WHEN ts.is_enabled IS FALSE THEN", "WHEN false THEN"),
        "tests/test_tenant_settings.py::test_a_switch_counts_for_what_is_queued_already",
    ),
    _ignored(
        "test_recipients",
        Edit(GATE, "WHERE t.test_recipients <> '{}'", "WHERE false"),
        "tests/test_test_mode.py::test_a_listed_recipient_gets_test_messages",
    ),
    _ignored(
        "n_jtd_suppressions",
        Edit(GATE, "WHEN suppressed.kind IS NOT NULL THEN", "WHEN false THEN"),
        "tests/test_preferences.py::test_who_does_not_want_a_message_gets_none",
    ),
    _ignored(
        "a pause of a tenant",
        Edit(GATE, "WHEN tenant_pause.code IS NOT NULL THEN", "WHEN false THEN"),
        "tests/test_pauses.py::test_a_paused_tenant_waits_and_goes_on",
    ),
    _ignored(
        "a pause of a source type",
        Edit(GATE, "WHEN source_pause.code IS NOT NULL THEN", "WHEN false THEN"),
        "tests/test_pauses.py::test_a_paused_source_type_waits_and_goes_on",
    ),
    _ignored(
        "is_active of a source type",
        Edit(GATE, "WHEN NOT s.is_active THEN", "WHEN false THEN"),
        "tests/test_tenant_settings.py::test_a_switch_counts_for_what_is_queued_already",
    ),
    _ignored(
        "priority_override",
        Edit(ENQUEUE, "coalesce(own.priority_override, NEW.priority,", "coalesce(NEW.priority,"),
        "tests/test_tenant_settings.py::test_a_priority_override_stands_in_for_the_priority_of_a_row",
    ),
    _ignored(
        "default_priority",
        Edit(ENQUEUE, "own.default_priority, event.default_priority", "event.default_priority"),
        "tests/test_tenant_settings.py::test_a_tenants_default_priority_is_that_of_rows_that_name_none",
    ),
    _ignored(
        "delay_seconds",
        Edit(ENQUEUE, "IF event.is_message AND own.delay_seconds > 0 THEN", "IF false THEN"),
        "tests/test_tenant_settings.py::test_a_delayed_source_waits_and_then_goes",
    ),
    _ignored(
        "batch_window_seconds",
        Edit(ENQUEUE, "IF own.batch_window_seconds IS NOT NULL AND", "IF false AND"),
        "tests/test_batch.py::test_what_comes_within_the_window_becomes_one_message",
    ),
    _ignored(
        "templates",
        Edit(
            CLAIM,
            "j.template_id, j.template_version, coalesce(ts.templates ->> j.channel_code, j.template_key),",
            "j.template_id, j.template_version, j.template_key,",
        ),
        "tests/test_tenant_settings.py::test_the_tenants_template_for_a_source_stands_in_for_the_one_named",
    ),
    _ignored(
        "default_channels",
        Edit(
            "sql/functions/route_inserted.sql",
            "WHERE n.status_changed_at = now() AND r.value ->> 'recipient' IS NOT NULL",
            "WHERE false",
        ),
        "tests/test_routing.py::test_a_message_without_a_channel_goes_to_each_channel_of_its_source",
    ),
)
