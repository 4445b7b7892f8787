-- A digest of all that the next time of a job's series follows from.
-- Called by: jtd.recurrences_due_v1, jtd.recur_v1.  Locks: nothing.
CREATE OR REPLACE FUNCTION jtd.recurrence_basis(p_job public.n_jtd) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT md5(jsonb_build_array(p_job.recurrence, p_job.recurrence_zone, extract(epoch FROM p_job.series_start),
        extract(epoch FROM p_job.occurs_at), p_job.occurrence)::text)
$$;
REVOKE ALL ON FUNCTION jtd.recurrence_basis(public.n_jtd) FROM PUBLIC;
