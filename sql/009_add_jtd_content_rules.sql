-- Adds what becomes of a text that is too long for its channel, and what a send is counted as, for its cost.

DO $rules$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = 'public.n_jtd_channels'::regclass AND a.attname = 'content_rule' AND NOT a.attisdropped)
    THEN
        ALTER TABLE public.n_jtd_channels ADD COLUMN content_rule text NOT NULL DEFAULT 'refuse'
            CHECK (content_rule IN ('split', 'cut', 'refuse'));
        UPDATE public.n_jtd_channels SET content_rule = 'split' WHERE code = 'sms';
        -- both point to something that the product shows whole, so a beginning serves better than nothing; what is
        -- read where it arrives is not cut: half a mail or half an approved WhatsApp text says something else
        UPDATE public.n_jtd_channels SET content_rule = 'cut' WHERE code IN ('push', 'inapp');
    END IF;
END
$rules$;
ALTER TABLE public.n_jtd_channels ADD COLUMN IF NOT EXISTS max_parts integer NOT NULL DEFAULT 10
    CHECK (max_parts BETWEEN 1 AND 255);  -- the header that joins parts counts to 255: 3GPP TS 23.040, 9.2.3.24.1
COMMENT ON COLUMN public.n_jtd_channels.content_rule IS
    'What becomes of a text that is too long. split: it is sent in up to max_parts SMS parts, and refused beyond; cut: to max_content_length, with a mark; refuse: the job fails with content_too_long, nothing is sent.';
COMMENT ON COLUMN public.n_jtd_channels.max_parts IS 'The most SMS parts of one message where content_rule is split.';
COMMENT ON COLUMN public.n_jtd_channels.max_content_length IS
    'Most characters of the text where content_rule is cut or refuse, subject and HTML not counted; NULL is no limit. With split the length of an SMS part takes its place.';
COMMENT ON COLUMN public.n_jtd_channels.default_cost_per_unit IS
    'Added to n_jtd.cost for each unit of a message that was sent or may have been: an SMS part on sms and where content_rule is split, else a message.';
COMMENT ON COLUMN public.n_jtd.cost IS
    'Units times default_cost_per_unit of the channel, added up over all attempts that were sent or may have been; what the outbox kept costs nothing.';

ALTER TABLE jtd.inflight ADD COLUMN IF NOT EXISTS units integer;
ALTER TABLE jtd.inflight ADD COLUMN IF NOT EXISTS kept integer;
ALTER TABLE jtd.inflight ADD COLUMN IF NOT EXISTS characters integer;
COMMENT ON COLUMN jtd.inflight.units IS 'What it will be counted as for its cost if the worker dies after the hand-off; NULL is 1.';
COMMENT ON COLUMN jtd.inflight.kept IS 'Characters of the text before the mark, if it was cut.';
COMMENT ON COLUMN jtd.inflight.characters IS 'Characters of the text before it was cut.';

DO $type$
DECLARE
    attribute text;
BEGIN
    FOREACH attribute IN ARRAY ARRAY['units', 'kept', 'characters'] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_type AS t ON t.typrelid = a.attrelid
            WHERE t.oid = 'jtd.result'::regtype AND a.attname = attribute AND NOT a.attisdropped)
        THEN
            EXECUTE pg_catalog.format('ALTER TYPE jtd.result ADD ATTRIBUTE %I integer', attribute);
        END IF;
    END LOOP;
END
$type$;

INSERT INTO jtd.migrations (name) VALUES ('009_add_jtd_content_rules') ON CONFLICT DO NOTHING;
