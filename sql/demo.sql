-- One job per channel by plain INSERT, as any service makes them: what `make run` and `make demo` show.
-- Not part of the installation. Names, addresses and ids are made up.

INSERT INTO n_jtd (
    tenant_id, event_type_code, channel_code, source_type_code, source_id,
    recipient_type, recipient_name, recipient_contact,
    payload, template_key,
    performed_by_type, performed_by_id, performed_by_name
) VALUES (
    '7f0c2f5e-8c1d-4b57-9a0e-3f6d1c2b4a50', 'notification', 'email', 'user_invite', 'c3b1d6f2-5a44-4f0e-8d7c-9e2a7b1f6c01',
    'user', 'John Doe', 'john@example.com',
    '{"inviter_name": "Jane Smith", "tenant_name": "Acme Corp", "invite_link": "https://example.com/invite/1"}',
    'user_invite_email_v1',
    'vani', '00000000-0000-0000-0000-000000000001', 'VaNi'
);

-- The template may be left to the source type and the channel, as here and below.
INSERT INTO n_jtd (
    tenant_id, event_type_code, channel_code, source_type_code, recipient_name, recipient_contact, payload
) VALUES (
    '7f0c2f5e-8c1d-4b57-9a0e-3f6d1c2b4a50', 'reminder', 'sms', 'service_reminder', 'Asha Rao', '+14155550101',
    '{"customer_name": "Asha Rao", "service_type": "boiler service", "service_date": "12 May, 10:00", "tenant_name": "Acme Corp"}'
);

-- The variables may also stand in payload.template_data, and the recipient in payload.recipient_data.
INSERT INTO n_jtd (tenant_id, event_type_code, channel_code, source_type_code, payload) VALUES (
    '7f0c2f5e-8c1d-4b57-9a0e-3f6d1c2b4a50', 'payment', 'whatsapp', 'payment_request',
    '{"recipient_data": {"name": "Asha Rao", "country_code": "1", "mobile": "4155550101"},
      "template_data": {"customer_name": "Asha Rao", "tenant_name": "Acme Corp", "invoice_number": "INV-1042",
                        "amount": "120.00", "currency": "USD", "payment_link": "https://example.com/pay/1042",
                        "expire_hours": 48}}'
);

INSERT INTO n_jtd (
    tenant_id, event_type_code, channel_code, source_type_code, recipient_id, recipient_name, payload
) VALUES (
    '7f0c2f5e-8c1d-4b57-9a0e-3f6d1c2b4a50', 'notification', 'push', 'user_invite', '2d9b4c31-77aa-4e0a-b5d1-6c8f0e9a1b22', 'John Doe',
    '{"inviter_name": "Jane Smith", "tenant_name": "Acme Corp", "invite_link": "https://example.com/invite/1"}'
);

INSERT INTO n_jtd (
    tenant_id, event_type_code, channel_code, source_type_code, recipient_id, recipient_name, payload
) VALUES (
    '7f0c2f5e-8c1d-4b57-9a0e-3f6d1c2b4a50', 'notification', 'inapp', 'user_created', '2d9b4c31-77aa-4e0a-b5d1-6c8f0e9a1b22', 'John Doe',
    '{"tenant_name": "Acme Corp"}'
);
