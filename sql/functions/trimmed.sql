-- A text without the blanks around it, NULL when nothing is left.
-- Called by: jtd.recipient, jtd.enqueue_row, jtd.enqueue.  Locks: nothing.
-- Blanks are also those that copying from a page or a chat brings: no-break, zero-width, direction marks.
CREATE OR REPLACE FUNCTION jtd.trimmed(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT nullif(btrim(p_text, E' \t\n\u000b\f\r\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007'
        '\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u202f\u205f'
        '\u2060\u2066\u2067\u2068\u2069\u3000\ufeff'), '')
$$;
REVOKE ALL ON FUNCTION jtd.trimmed(text) FROM PUBLIC;
