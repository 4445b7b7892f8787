-- Creates the circuit breakers that all workers share: providers that take nothing at present.

CREATE TABLE IF NOT EXISTS jtd.breakers (
    channel_code text NOT NULL,
    provider text NOT NULL,
    code text NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    retry_at timestamptz NOT NULL,
    probing_until timestamptz,
    probes integer NOT NULL DEFAULT 0,
    PRIMARY KEY (channel_code, provider)
);
COMMENT ON TABLE jtd.breakers IS 'Providers that nothing is handed to, with the reason; one that works has no row here.';
COMMENT ON COLUMN jtd.breakers.provider IS 'As in JTD_PROVIDERS without the channel: smtp, or smtp.backup with a credential of its own.';
COMMENT ON COLUMN jtd.breakers.retry_at IS 'From then on one message is handed over as a probe.';
COMMENT ON COLUMN jtd.breakers.probing_until IS 'While a probe is on its way no other is.';
COMMENT ON COLUMN jtd.breakers.probes IS 'Probes in a row that failed; each doubles the pause before the next.';

INSERT INTO jtd.migrations (name) VALUES ('005_create_jtd_breakers') ON CONFLICT DO NOTHING;
