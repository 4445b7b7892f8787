-- What is wrong with the text of a recurrence, in words; NULL when it has the shape of one.
-- Called by: jtd.keep_series.  Locks: nothing.
-- It looks at names, shapes and bounds, so that a mistake is the producer's; what the rule comes to, a worker finds out.
CREATE OR REPLACE FUNCTION jtd.recurrence_mistake(p_recurrence text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    month CONSTANT text := '(0?[1-9]|1[0-2])';
    hour CONSTANT text := '([01]?[0-9]|2[0-3])';
    minute CONSTANT text := '[0-5]?[0-9]';
    place CONSTANT text := '[+-]?0{0,2}[1-9][0-9]{0,2}';  -- of a day or a week, also from the end
    day CONSTANT text := '([+-]?0?[1-9][0-9]?)?(MO|TU|WE|TH|FR|SA|SU)';
    time_of CONSTANT text := '[0-9]{8}T[0-9]{6}Z?';
    line text;
    part text[];
    seen text[] := '{}';
    rules integer := 0;
    has_rdate boolean := false;
BEGIN
    IF length(p_recurrence) > 4000 THEN
        RETURN 'it is longer than 4000 characters';
    END IF;
    FOREACH line IN ARRAY regexp_split_to_array(btrim(p_recurrence, E' \t\r\n'), E'\\s*\n\\s*') LOOP
        IF line ~* '^(EXDATE|RDATE)[;:]' THEN
            has_rdate := has_rdate OR line ~* '^RDATE';
            IF line !~* ('^(EXDATE|RDATE)(;TZID=[A-Z0-9_+/-]{1,64}|;VALUE=DATE-TIME)*:' || time_of || '(,' || time_of || ')*$')
                AND line !~* '^EXDATE;VALUE=DATE:[0-9]{8}(,[0-9]{8})*$'
            THEN
                RETURN 'a line of EXDATE or RDATE is not like EXDATE:20300131T090000,20300228T090000';
            END IF;
            CONTINUE;
        ELSIF line ~* '^DTSTART' THEN
            RETURN 'it has DTSTART; the start is scheduled_at';
        ELSIF line !~* '^(RRULE:)?FREQ=|^RRULE:' THEN
            RETURN 'a line is none of RRULE, EXDATE and RDATE';
        END IF;
        rules := rules + 1;
        CONTINUE WHEN rules > 1;
        FOR part IN
            SELECT regexp_match(upper(p), '^([A-Z]+)=(.*)$') FROM unnest(
                string_to_array(regexp_replace(line, '^RRULE:', '', 'i'), ';')) AS p
        LOOP
            IF part IS NULL THEN
                RETURN 'the rule has a part that is not like NAME=VALUE';
            ELSIF part[1] = ANY (seen) THEN
                RETURN part[1] || ' is there twice';
            ELSIF part[1] IN ('BYSECOND', 'BYEASTER') OR part[1] = 'FREQ' AND part[2] = 'SECONDLY' THEN
                RETURN 'nothing recurs by seconds or Easter; the shortest interval is one minute';
            ELSIF NOT coalesce(part[2] ~ CASE part[1]
                WHEN 'FREQ' THEN '^(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY|MINUTELY)$'
                WHEN 'INTERVAL' THEN '^[1-9][0-9]{0,2}$'
                WHEN 'COUNT' THEN '^[1-9][0-9]{0,4}$'
                WHEN 'UNTIL' THEN '^[0-9]{8}(T[0-9]{6}Z?)?$'
                WHEN 'WKST' THEN '^(MO|TU|WE|TH|FR|SA|SU)$'
                WHEN 'BYDAY' THEN format('^%1$s(,%1$s)*$', day)
                WHEN 'BYMONTH' THEN format('^%1$s(,%1$s)*$', month)
                WHEN 'BYHOUR' THEN format('^%1$s(,%1$s)*$', hour)
                WHEN 'BYMINUTE' THEN format('^%1$s(,%1$s)*$', minute)
                WHEN 'BYMONTHDAY' THEN format('^%1$s(,%1$s)*$', place)
                WHEN 'BYYEARDAY' THEN format('^%1$s(,%1$s)*$', place)
                WHEN 'BYWEEKNO' THEN format('^%1$s(,%1$s)*$', place)
                WHEN 'BYSETPOS' THEN format('^%1$s(,%1$s)*$', place) END, false)
            THEN
                RETURN format('the part %s of the rule is not one', left(part[1], 20));
            END IF;
            seen := seen || part[1];
        END LOOP;
    END LOOP;
    RETURN CASE
        WHEN rules <> 1 THEN 'it must have one rule, such as RRULE:FREQ=WEEKLY;BYDAY=MO'
        WHEN 'FREQ' <> ALL (seen) THEN 'FREQ is missing'
        WHEN seen @> '{COUNT,UNTIL}' THEN 'COUNT and UNTIL exclude each other'
        WHEN 'COUNT' = ANY (seen) AND has_rdate THEN 'COUNT does not count RDATE: give UNTIL instead'
        WHEN 'BYSETPOS' = ANY (seen) AND p_recurrence ~* 'FREQ=(HOURLY|MINUTELY)'
            THEN 'BYSETPOS goes with no FREQ below DAILY'
        WHEN p_recurrence ~* 'BYDAY=[^;]*[0-9]' AND p_recurrence !~* 'FREQ=(MONTHLY|YEARLY)'
            THEN 'a number in BYDAY goes with MONTHLY and YEARLY only' END;
END
$$;
REVOKE ALL ON FUNCTION jtd.recurrence_mistake(text) FROM PUBLIC;
