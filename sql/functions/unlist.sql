-- Takes jobs off both lists.
-- Called by: the triggers on public.n_jtd, and jtd.tick_v1.  Locks: the list rows; the caller holds the jobs.
CREATE OR REPLACE FUNCTION jtd.unlist(p_ids uuid[]) RETURNS void
LANGUAGE sql VOLATILE
SET enable_seqscan = off  -- a list may have grown a thousandfold since the planner last heard of it
AS $$
    DELETE FROM jtd.waiting AS w WHERE w.jtd_id = ANY (p_ids);
    DELETE FROM jtd.ready AS r WHERE r.jtd_id = ANY (p_ids);
$$;
REVOKE ALL ON FUNCTION jtd.unlist(uuid[]) FROM PUBLIC;
