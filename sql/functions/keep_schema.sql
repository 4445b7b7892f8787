-- Refuses a payload_schema with something in it that would not be checked, so that nobody relies on it.
-- Called by: BEFORE INSERT OR UPDATE row trigger on public.n_jtd_event_types.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.keep_schema() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mistakes text[] := jtd.schema_mistakes(NEW.payload_schema);
BEGIN
    IF mistakes <> '{}' THEN
        RAISE EXCEPTION 'payload_schema of event type % cannot be checked: %', NEW.code, array_to_string(mistakes, '; ')
            USING ERRCODE = 'JT063', HINT = 'Allowed: type, required, properties, enum, items, minLength, maxLength, '
                'minimum, maximum, additionalProperties, and what only describes.';
    END IF;
    RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION jtd.keep_schema() FROM PUBLIC;
