-- Adds to source types whether they are attached to a table, and tells what reads their columns now.

ALTER TABLE public.n_jtd_source_types ADD COLUMN IF NOT EXISTS attached_at timestamptz;
COMMENT ON COLUMN public.n_jtd_source_types.attached_at IS 'When jtd.attach_source put its trigger on source_table; NULL: it is not attached.';
COMMENT ON COLUMN public.n_jtd_source_types.source_table IS 'The service''s own table, with its schema unless that is public; read by jtd.attach_source.';
COMMENT ON COLUMN public.n_jtd_source_types.source_id_field IS 'The column of source_table that names a row: the job''s source_id if it is a uuid, else its source_ref.';
COMMENT ON COLUMN public.n_jtd_source_types.payload_mapping IS 'What each inserted row of source_table puts into its job: {column of n_jtd: column of the table or {"value": constant}}; read by the trigger of jtd.attach_source.';
COMMENT ON COLUMN public.n_jtd_event_types.payload_schema IS 'JSON Schema, of which a part is supported; a new job whose payload does not fit is accepted, with a note in its audit trail. NULL: nothing is checked.';

INSERT INTO jtd.migrations (name) VALUES ('010_attach_jtd_sources') ON CONFLICT DO NOTHING;
