-- Adds what the web process needs: its role, the in-app feed that users read and mark, and one-click unsubscribe.

DO $roles$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'jtd_web') THEN
        CREATE ROLE jtd_web NOLOGIN;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role jtd_web was not created: % may not create roles', session_user;
    WHEN duplicate_object OR unique_violation THEN
        NULL;  -- another database of this server is being set up at the same time
END
$roles$;

-- Ids are given out before rows can be seen, so a reader who goes on after the last id he saw misses what was
-- committed late. A snapshot and the transaction that wrote a row tell exactly whether he can have seen it.
ALTER TABLE public.n_inapp_notifications
    ADD COLUMN IF NOT EXISTS written_in xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX IF NOT EXISTS n_inapp_notifications_new_idx
    ON public.n_inapp_notifications (tenant_id, user_id, written_in);
CREATE INDEX IF NOT EXISTS n_inapp_notifications_unread_idx
    ON public.n_inapp_notifications (tenant_id, user_id, id) INCLUDE (expires_at)
    WHERE read_at IS NULL AND archived_at IS NULL;
CREATE INDEX IF NOT EXISTS n_inapp_notifications_unseen_idx
    ON public.n_inapp_notifications (tenant_id, user_id, id) INCLUDE (expires_at)
    WHERE seen_at IS NULL AND archived_at IS NULL;
CREATE INDEX IF NOT EXISTS n_inapp_notifications_expires_idx
    ON public.n_inapp_notifications (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON COLUMN public.n_inapp_notifications.written_in IS 'The transaction that wrote it; by this a stream goes on where it ended, without gap or double.';
COMMENT ON COLUMN public.n_inapp_notifications.seen_at IS 'When the user first saw that it is there; what is read was seen.';
COMMENT ON COLUMN public.n_inapp_notifications.read_at IS 'When the user opened it; its job follows to `read`.';
COMMENT ON COLUMN public.n_inapp_notifications.archived_at IS 'When the user put it away: it counts no more, and is listed among the archived only.';
COMMENT ON COLUMN public.n_inapp_notifications.expires_at IS 'From then on it is neither listed nor counted, and is deleted soon; NULL is never.';

CREATE TABLE IF NOT EXISTS jtd.feed_moves (
    jtd_id uuid PRIMARY KEY,
    status_code text NOT NULL CHECK (status_code IN ('delivered', 'read')),
    user_id uuid NOT NULL
);
COMMENT ON TABLE jtd.feed_moves IS 'Jobs whose notification was seen or read, and whose status does not say so yet; nearly always empty.';
COMMENT ON COLUMN jtd.feed_moves.jtd_id IS 'The job.';
COMMENT ON COLUMN jtd.feed_moves.status_code IS 'Where it is to go, if it can.';
COMMENT ON COLUMN jtd.feed_moves.user_id IS 'Who saw or read it.';

CREATE TABLE IF NOT EXISTS jtd.feed_watchers (
    process_id uuid PRIMARY KEY,
    is_asleep boolean NOT NULL,
    until timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE jtd.feed_watchers IS 'Web processes with open streams. Who marks notifications tells them; who writes new ones tells only those asleep.';
COMMENT ON COLUMN jtd.feed_watchers.process_id IS 'Its own choice, at its start.';
COMMENT ON COLUMN jtd.feed_watchers.is_asleep IS 'It found nothing new and waits; else it looks again by itself, very soon.';
COMMENT ON COLUMN jtd.feed_watchers.until IS 'It looks again before, or is gone.';

ALTER TABLE public.n_jtd_source_types ADD COLUMN IF NOT EXISTS wants_unsubscribe boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN public.n_jtd_source_types.wants_unsubscribe IS 'Its mails carry List-Unsubscribe, where the worker has JTD_PUBLIC_URL and JTD_UNSUBSCRIBE_SECRETS.';

INSERT INTO jtd.migrations (name) VALUES ('016_add_jtd_feed') ON CONFLICT DO NOTHING;
