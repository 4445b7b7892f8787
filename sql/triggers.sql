-- What hangs on the tables: the triggers that queue jobs, the queues, the rights of the roles.
-- Applied again when this text changes.
-- Names give the order: 10 audit, 20 place, 25 route and carry, 30 heed, 35 list work and what was sent, 37 list series, 40 flag. Statement triggers fire for zero rows too, and
-- cost little then.

CREATE OR REPLACE TRIGGER n_jtd_20_count_statement
    BEFORE INSERT ON public.n_jtd
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.count_statement();

CREATE OR REPLACE TRIGGER n_jtd_20_enqueue_row
    BEFORE INSERT ON public.n_jtd
    FOR EACH ROW EXECUTE FUNCTION jtd.enqueue_row();

CREATE OR REPLACE TRIGGER n_jtd_20_keep_channel
    BEFORE UPDATE OF channel_code ON public.n_jtd
    FOR EACH ROW
    WHEN (NEW.channel_code IS DISTINCT FROM OLD.channel_code)
    EXECUTE FUNCTION jtd.keep_channel();

CREATE OR REPLACE TRIGGER n_jtd_20_keep_batch
    BEFORE UPDATE OF channel_code, recipient_contact, recipient_id, payload, template_key, scheduled_at, priority
    ON public.n_jtd
    FOR EACH ROW
    WHEN ((OLD.carrier_id IS NOT NULL AND OLD.status_code IN ('pending', 'scheduled', 'queued')
            OR OLD.transition_note = 'batch' AND OLD.status_code IN ('pending', 'scheduled'))
        AND (NEW.channel_code, NEW.recipient_contact, NEW.recipient_id, NEW.payload, NEW.template_key, NEW.scheduled_at,
                NEW.priority)
            IS DISTINCT FROM (OLD.channel_code, OLD.recipient_contact, OLD.recipient_id, OLD.payload, OLD.template_key,
                OLD.scheduled_at, OLD.priority))
    EXECUTE FUNCTION jtd.keep_batch();

CREATE OR REPLACE TRIGGER n_jtd_22_keep_series
    BEFORE INSERT ON public.n_jtd
    FOR EACH ROW
    WHEN (NEW.recurrence IS NOT NULL AND NEW.status_changed_at = now())  -- an import is kept as given
    EXECUTE FUNCTION jtd.keep_series();

CREATE OR REPLACE TRIGGER n_jtd_22_keep_series_updated
    BEFORE UPDATE OF recurrence, recurrence_zone, occurs_at ON public.n_jtd
    FOR EACH ROW EXECUTE FUNCTION jtd.keep_series();

CREATE OR REPLACE TRIGGER n_jtd_20_place_inserted
    AFTER INSERT ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.place_inserted();

CREATE OR REPLACE TRIGGER n_jtd_25_route_inserted
    AFTER INSERT ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.route_inserted();

CREATE OR REPLACE TRIGGER n_jtd_20_place_updated
    AFTER UPDATE ON public.n_jtd
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.place_updated();

CREATE OR REPLACE TRIGGER n_jtd_25_carry_updated
    AFTER UPDATE ON public.n_jtd
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.carry_updated();

CREATE OR REPLACE TRIGGER n_jtd_30_heed_inserted
    AFTER INSERT ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.heed_inserted();

CREATE OR REPLACE TRIGGER n_jtd_30_heed_updated
    AFTER UPDATE ON public.n_jtd
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.heed_updated();

CREATE OR REPLACE TRIGGER n_jtd_35_list_work_inserted
    AFTER INSERT ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.list_work_inserted();

CREATE OR REPLACE TRIGGER n_jtd_35_list_work_updated
    AFTER UPDATE ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.list_work_updated();

CREATE OR REPLACE TRIGGER n_jtd_35_sent_inserted
    AFTER INSERT ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.sent_inserted();

CREATE OR REPLACE TRIGGER n_jtd_35_sent_updated
    AFTER UPDATE ON public.n_jtd
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.sent_updated();

CREATE OR REPLACE TRIGGER n_jtd_37_list_recurring
    AFTER INSERT ON public.n_jtd
    FOR EACH ROW
    WHEN (NEW.recurrence IS NOT NULL AND NEW.series_id = NEW.id AND NEW.status_changed_at = now())
    EXECUTE FUNCTION jtd.list_recurring();

CREATE OR REPLACE TRIGGER n_jtd_37_list_recurring_updated
    AFTER UPDATE OF recurrence, recurrence_zone, occurs_at ON public.n_jtd
    FOR EACH ROW EXECUTE FUNCTION jtd.list_recurring();

CREATE OR REPLACE TRIGGER n_jtd_40_flag_payload
    AFTER INSERT ON public.n_jtd
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.flag_payload();

CREATE OR REPLACE TRIGGER n_jtd_20_forget_deleted
    AFTER DELETE ON public.n_jtd
    REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.forget_deleted();

CREATE OR REPLACE TRIGGER ready_arrived
    AFTER INSERT ON jtd.ready
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.note_arrivals();

CREATE OR REPLACE TRIGGER ready_moved
    AFTER UPDATE ON jtd.ready
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.note_arrivals();

CREATE OR REPLACE TRIGGER n_jtd_event_types_added
    AFTER INSERT ON public.n_jtd_event_types
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.event_type_added();

CREATE OR REPLACE TRIGGER n_jtd_event_types_keep_schema
    BEFORE INSERT OR UPDATE OF payload_schema ON public.n_jtd_event_types
    FOR EACH ROW
    WHEN (NEW.payload_schema IS NOT NULL)
    EXECUTE FUNCTION jtd.keep_schema();

CREATE OR REPLACE TRIGGER n_jtd_source_types_keep_source
    AFTER UPDATE OF code, source_id_field, payload_mapping, default_event_type OR DELETE ON public.n_jtd_source_types
    FOR EACH ROW EXECUTE FUNCTION jtd.keep_source();

CREATE OR REPLACE TRIGGER n_jtd_templates_keep_version
    BEFORE UPDATE ON public.n_jtd_templates
    FOR EACH ROW
    WHEN ((OLD.subject, OLD.content, OLD.content_html, OLD.variables, OLD.locale, OLD.provider_template_id,
            OLD.parameter_format, OLD.language, OLD.dlt_entity_id, OLD.dlt_template_id)
        IS DISTINCT FROM (NEW.subject, NEW.content, NEW.content_html, NEW.variables, NEW.locale, NEW.provider_template_id,
            NEW.parameter_format, NEW.language, NEW.dlt_entity_id, NEW.dlt_template_id))
    EXECUTE FUNCTION jtd.keep_template_version();

CREATE OR REPLACE TRIGGER n_jtd_channels_added
    AFTER INSERT ON public.n_jtd_channels
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.channel_added();

CREATE OR REPLACE TRIGGER n_jtd_tenant_config_changed
    BEFORE INSERT OR UPDATE ON public.n_jtd_tenant_config
    FOR EACH ROW EXECUTE FUNCTION jtd.settings_changed();

CREATE OR REPLACE TRIGGER n_jtd_tenant_config_vani
    BEFORE INSERT OR UPDATE ON public.n_jtd_tenant_config
    FOR EACH ROW EXECUTE FUNCTION jtd.vani_configured();

CREATE OR REPLACE TRIGGER n_jtd_tenant_source_config_vani
    BEFORE INSERT OR UPDATE OR DELETE ON public.n_jtd_tenant_source_config
    FOR EACH ROW EXECUTE FUNCTION jtd.vani_source_configured();

CREATE OR REPLACE TRIGGER n_jtd_source_types_vani
    AFTER UPDATE OF reminder_offsets ON public.n_jtd_source_types
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.vani_masters_changed();

CREATE OR REPLACE TRIGGER n_jtd_status_flows_vani
    AFTER UPDATE OF is_automatic, is_active ON public.n_jtd_status_flows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.vani_masters_changed();

CREATE OR REPLACE TRIGGER n_jtd_suppressions_kept
    BEFORE INSERT OR UPDATE ON public.n_jtd_suppressions
    FOR EACH ROW EXECUTE FUNCTION jtd.keep_suppression();

-- The plan of every tenant for a month; ask for one tenant_id, or jtd.vani_plan() with a span of time. Who may not call that
-- function may not read this.
CREATE OR REPLACE VIEW jtd.vani_plan WITH (security_invoker = true) AS
SELECT t.tenant_id, t.is_live, p.*
FROM (SELECT DISTINCT w.tenant_id, w.is_live FROM jtd.work AS w WHERE w.next_at IS NOT NULL) AS t
CROSS JOIN LATERAL jtd.vani_plan(t.tenant_id, now(), now() + interval '31 days', t.is_live, NULL) AS p;

CREATE OR REPLACE TRIGGER n_inapp_notifications_inserted
    AFTER INSERT ON public.n_inapp_notifications
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION jtd.feed_inserted();

SELECT jtd.make_queues();
SELECT jtd.make_partitions();
SELECT jtd.know_instance();

-- A producer inserts jobs, a worker calls what carries a version, a web process what its routes do, an operator steers. Roles that the owner
-- could not create are left out.
DO $rights$
DECLARE
    may record;
BEGIN
    FOR may IN
        SELECT r.rolname, p.oid::regprocedure AS function
        FROM pg_catalog.pg_proc AS p
        CROSS JOIN pg_catalog.pg_roles AS r
        WHERE p.pronamespace = 'jtd'::regnamespace AND (
            (r.rolname = 'jtd_producer' AND p.proname IN ('enqueue', 'set_preference', 'register_device', 'forget_device'))
            OR (r.rolname = 'jtd_worker' AND p.proname ~ '_v[0-9]+$')
            OR (r.rolname = 'jtd_web' AND p.proname IN (
                'accept_receipts_v1', 'apply_receipts_v1', 'feed_list_v1', 'feed_counts_v1', 'feed_look_v1', 'feed_seen_v1',
                'feed_read_v1', 'feed_archive_v1', 'unsubscribe_offer_v1', 'unsubscribe_v1'))
            OR (r.rolname = 'jtd_operator' AND p.proname IN (
                'set_preference', 'pause_tenant', 'resume_tenant', 'pause_source', 'resume_source',
                'pause_provider', 'resume_provider', 'act', 'vani_plan', 'cancel', 'send_test', 'retry', 'resolve', 'attention', 'explain', 'whereabouts', 'conservation', 'pause',

                'pause_provider', 'resume_provider', 'act', 'cancel', 'end_series', 'retry', 'resolve', 'attention', 'explain', 'whereabouts', 'conservation', 'pause',
                'resume', 'adopt', 'adopt_jobs', 'rebuild_queues', 'dlq_list', 'dlq_requeue', 'dlq_purge',
                'status_v1', 'show_v1', 'queues_v1', 'attach_source', 'detach_source', 'masters_v1',
                'put_credential', 'credentials', 'remove_credential')))
    LOOP
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO %I', may.function, may.rolname);
    END LOOP;
    FOR may IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('jtd_worker', 'jtd_web', 'jtd_operator') LOOP
        EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA jtd TO %I', may.rolname);
    END LOOP;
END
$rights$;
