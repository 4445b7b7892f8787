-- A recipient in the one form in which lists keep it: mail in lower case, numbers as digits, all without blanks.
-- Called by: jtd.gate, the triggers on n_jtd_suppressions and n_jtd_tenant_config, jtd.set_preference.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.canonical(p_recipient text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_recipient ~ '^\s*[+(]?[0-9][0-9 ()./-]{4,22}\s*$' THEN regexp_replace(p_recipient, '[^0-9]', '', 'g')
        ELSE lower(jtd.trimmed(p_recipient))
    END
$$;
REVOKE ALL ON FUNCTION jtd.canonical(text) FROM PUBLIC;
