-- Installs everything by hand: psql -f sql/install.sql. Made by python -m tests.generated.
--
-- One transaction; safe to run again. jtd-worker migrate does the same, and takes over where this ended.

\set ON_ERROR_STOP on
BEGIN;
\ir pgmq.sql
-- functions name each other, so no order of them would let every body be checked when it is created
SET LOCAL check_function_bodies = off;
\ir 001_create_jtd_master_tables.sql
\ir 002_seed_jtd_master_data.sql
\ir 003_create_jtd_queue.sql
\ir 004_create_jtd_recovery.sql
\ir functions/admit.sql
\ir functions/admit_queue.sql
\ir functions/adopt.sql
\ir functions/adopt_jobs.sql
\ir functions/apply_results.sql
\ir functions/apply_unsent.sql
\ir functions/attention.sql
\ir functions/begin_sweep.sql
\ir functions/cancel.sql
\ir functions/channel_added.sql
\ir functions/claim_v1.sql
\ir functions/conservation.sql
\ir functions/count_discard.sql
\ir functions/count_statement.sql
\ir functions/discard.sql
\ir functions/dispose.sql
\ir functions/dlq_list.sql
\ir functions/dlq_purge.sql
\ir functions/dlq_requeue.sql
\ir functions/enqueue.sql
\ir functions/enqueue_row.sql
\ir functions/event_type_added.sql
\ir functions/explain.sql
\ir functions/find_template.sql
\ir functions/fold_counts.sql
\ir functions/forget_deleted.sql
\ir functions/forget_v1.sql
\ir functions/gate.sql
\ir functions/hand_off_v1.sql
\ir functions/hasten.sql
\ir functions/heed.sql
\ir functions/heed_inserted.sql
\ir functions/heed_updated.sql
\ir functions/here.sql
\ir functions/idle_v1.sql
\ir functions/imported.sql
\ir functions/is_adopted.sql
\ir functions/keep_channel.sql
\ir functions/know_instance.sql
\ir functions/lane.sql
\ir functions/leave_v1.sql
\ir functions/lost.sql
\ir functions/make_partitions.sql
\ir functions/make_queues.sql
\ir functions/mend.sql
\ir functions/message_id.sql
\ir functions/note_late.sql
\ir functions/pass_gate.sql
\ir functions/pause.sql
\ir functions/place.sql
\ir functions/place_inserted.sql
\ir functions/place_updated.sql
\ir functions/queue_messages.sql
\ir functions/queue_room.sql
\ir functions/queues_v1.sql
\ir functions/readable_queues.sql
\ir functions/ready_tenants.sql
\ir functions/rebuild_queues.sql
\ir functions/recipient.sql
\ir functions/reclaim.sql
\ir functions/reclaim_dead.sql
\ir functions/refuse.sql
\ir functions/register_v1.sql
\ir functions/register_v2.sql
\ir functions/release_due.sql
\ir functions/remark.sql
\ir functions/renew_v1.sql
\ir functions/resolve.sql
\ir functions/resume.sql
\ir functions/retry.sql
\ir functions/settle_v1.sql
\ir functions/show_v1.sql
\ir functions/status_v1.sql
\ir functions/step.sql
\ir functions/strip_result.sql
\ir functions/sweep.sql
\ir functions/templates_v1.sql
\ir functions/tick_v1.sql
\ir functions/trimmed.sql
\ir functions/unlist.sql
\ir functions/watch_instance.sql
\ir functions/whereabouts.sql
\ir functions/window_closed.sql
\ir triggers.sql
COMMIT;
