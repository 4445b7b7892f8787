-- Master data: who acts, what can be done, over which channel, by which steps, with which words.
--
-- Running this file again adds only what is missing. It changes and deletes nothing, so a rate limit, a pause,
-- a soft delete (is_active = false) or a text that an operator edited stays as it is.


-- System actors: who is named in the history when no person acted.

INSERT INTO public.n_system_actors (id, code, name, description)
VALUES
    ('00000000-0000-0000-0000-000000000001', 'vani',    'VaNi',    'The agent that carries out jobs where a tenant lets it'),
    ('00000000-0000-0000-0000-000000000002', 'system',  'System',  'The worker and the database themselves'),
    ('00000000-0000-0000-0000-000000000003', 'webhook', 'Webhook', 'A provider that reported what became of a message')
ON CONFLICT DO NOTHING;


-- Event types: the kinds of job. The worker dispatches those with is_message; a person or VaNi moves the others.

INSERT INTO public.n_jtd_event_types (
    code, name, category, is_message, allowed_channels,
    supports_scheduling, supports_recurrence, supports_batch,
    default_priority, default_max_retries, retry_delay_seconds,
    icon, color, display_order, description
)
VALUES
    ('notification',  'Notification',  'communication', true,  '{email,sms,whatsapp,push,inapp}', false, false, true,  5, 3, 300,
     'bell',         '#2563EB', 10, 'Tells somebody what has happened'),
    ('reminder',      'Reminder',      'communication', true,  '{email,sms,whatsapp,push,inapp}', true,  true,  true,  6, 3, 300,
     'alarm-clock',  '#D97706', 20, 'Tells somebody what is coming up'),
    ('appointment',   'Appointment',   'scheduling',    false, '{email,sms,whatsapp,inapp}',      true,  false, false, 7, 3, 300,
     'calendar',     '#7C3AED', 30, 'A meeting at an agreed time'),
    ('service_visit', 'Service visit', 'scheduling',    false, '{email,sms,whatsapp}',            true,  true,  false, 8, 3, 300,
     'wrench',       '#0D9488', 40, 'Maintenance or repair at the place of the customer'),
    ('task',          'Task',          'action',        false, '{inapp,email}',                   true,  false, false, 5, 0, 0,
     'check-square', '#4B5563', 50, 'Something a person has to do'),
    ('payment',       'Payment',       'communication', true,  '{email,sms,whatsapp}',            false, false, true,  8, 3, 300,
     'credit-card',  '#059669', 60, 'A message about money owed or paid'),
    ('document',      'Document',      'communication', true,  '{email,inapp}',                   false, false, false, 6, 3, 600,
     'file-text',    '#DB2777', 70, 'A document to look at, and to sign or reject')
ON CONFLICT DO NOTHING;


-- Channels. recipient_key is the kind of address a channel takes, recipient_pattern what a usable one looks like: a net
-- for what can never be delivered, not a proof that the address exists. The local part of a mail address has at most
-- 64 octets (RFC 5321 section 4.5.3.1.1), a number at most 15 digits (E.164).

INSERT INTO public.n_jtd_channels (
    code, name, queue_name, default_provider, default_cost_per_unit, rate_limit_per_minute, max_content_length,
    supports_templates, supports_attachments, supports_rich_content, has_delivery_confirmation, has_read_receipt,
    icon, color, display_order, description,
    recipient_key, recipient_pattern
)
VALUES
    ('email',    'Email',    'jtd_email',    'msg91',    0.25, 100,  50000, true, true,  true,  true, true,
     'mail',           '#2563EB', 10, 'A mail with a text and an HTML part',
     'email',  '^[^@<>,[:space:][:cntrl:]]{1,64}@[^@<>,.[:space:][:cntrl:]]+([.][^@<>,.[:space:][:cntrl:]]+)*$'),
    ('sms',      'SMS',      'jtd_sms',      'msg91',    0.75, 50,   160,   true, false, false, true, false,
     'smartphone',     '#7C3AED', 20, 'A short text to a mobile phone',
     'mobile', '^[+]?[(]?[0-9]([ .()-]*[0-9]){6,14}$'),
    ('whatsapp', 'WhatsApp', 'jtd_whatsapp', 'msg91',    0.50, 30,   4096,  true, true,  true,  true, true,
     'message-circle', '#16A34A', 30, 'A message by a template that WhatsApp has approved',
     'mobile', '^[+]?[(]?[0-9]([ .()-]*[0-9]){6,14}$'),
    ('push',     'Push',     'jtd_push',     'firebase', 0.01, 500,  256,   true, false, false, true, false,
     'bell',           '#EA580C', 40, 'A notification on the devices of a user',
     'user',   '[^[:space:]]'),
    ('inapp',    'In-app',   'jtd_inapp',    'internal', 0,    1000, 1000,  true, false, true,  true, true,
     'inbox',          '#0891B2', 50, 'An entry in the notification feed of a user',
     'user',   '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$')
ON CONFLICT DO NOTHING;


-- Statuses. Flags: i initial, T terminal, S success, F failure, R allows retry.

WITH family (name, event_type_code) AS (
    VALUES
        ('message',       'notification'),
        ('message',       'reminder'),
        ('message',       'payment'),
        ('message',       'document'),
        ('visit',         'appointment'),
        ('visit',         'service_visit'),
        ('reminder',      'reminder'),
        ('document',      'document'),
        ('service_visit', 'service_visit'),
        ('task',          'task')
),
status (family, display_order, code, name, status_type, flags, icon, color, description) AS (
    VALUES
        ('message',       10,  'created',     'Created',     'initial',  'i',  'plus-circle',    '#6B7280', 'Written by its producer, not looked at yet'),
        ('reminder',      20,  'scheduled',   'Scheduled',   'waiting',  '',   'calendar',       '#7C3AED', 'Waits for the day it was planned for'),
        ('message',       30,  'pending',     'Pending',     'waiting',  '',   'clock',          '#D97706', 'Waits for its time, a retry, or its turn'),
        ('message',       40,  'queued',      'Queued',      'progress', '',   'list',           '#2563EB', 'Ready, and next in the queue of its channel'),
        ('message',       50,  'executing',   'Executing',   'progress', '',   'loader',         '#2563EB', 'A worker is sending it'),
        ('message',       60,  'sent',        'Sent',        'progress', '',   'send',           '#0D9488', 'The provider took it over'),
        ('message',       70,  'delivered',   'Delivered',   'success',  'S',  'check',          '#059669', 'It arrived at the recipient'),
        ('message',       80,  'read',        'Read',        'success',  'TS', 'check-check',    '#16A34A', 'The recipient opened it'),
        ('document',      90,  'viewed',      'Viewed',      'progress', '',   'eye',            '#0891B2', 'The recipient looked at the document'),
        ('document',      100, 'signed',      'Signed',      'success',  'TS', 'pen-tool',       '#16A34A', 'The recipient signed the document'),
        ('document',      110, 'rejected',    'Rejected',    'failure',  'TF', 'x-octagon',      '#DC2626', 'The recipient declined to sign'),
        ('message',       120, 'no_credits',  'No credits',  'waiting',  '',   'wallet',         '#D97706', 'Waits until the tenant may send again'),
        ('message',       130, 'failed',      'Failed',      'failure',  'FR', 'alert-triangle', '#DC2626', 'An attempt failed; it is tried again, or waits for a person'),
        ('message',       140, 'bounced',     'Bounced',     'failure',  'TF', 'corner-up-left', '#DC2626', 'It was sent and came back'),
        ('message',       150, 'cancelled',   'Cancelled',   'terminal', 'T',  'slash',          '#6B7280', 'Called off; nothing more will be sent'),
        ('message',       160, 'expired',     'Expired',     'terminal', 'T',  'timer-off',      '#6B7280', 'Too late to be of use'),

        ('visit',         10,  'created',     'Created',     'initial',  'i',  'plus-circle',    '#6B7280', 'Entered, without an agreed time'),
        ('visit',         20,  'scheduled',   'Scheduled',   'waiting',  '',   'calendar',       '#7C3AED', 'A time was chosen'),
        ('visit',         30,  'reminded',    'Reminded',    'waiting',  '',   'bell',           '#D97706', 'The customer was reminded and has not answered yet'),
        ('visit',         40,  'confirmed',   'Confirmed',   'progress', '',   'check',          '#2563EB', 'The customer agreed to the time'),
        ('service_visit', 50,  'dispatched',  'Dispatched',  'progress', '',   'truck',          '#0891B2', 'The technician is on the way'),
        ('visit',         60,  'in_progress', 'In progress', 'progress', '',   'loader',         '#2563EB', 'It is taking place'),
        ('visit',         70,  'completed',   'Completed',   'success',  'TS', 'check-circle',   '#16A34A', 'It took place'),
        ('visit',         80,  'rescheduled', 'Rescheduled', 'waiting',  '',   'calendar-clock', '#D97706', 'It is moved to another time'),
        ('visit',         90,  'no_show',     'No show',     'failure',  'TF', 'user-x',         '#DC2626', 'Nobody was there'),
        ('visit',         100, 'cancelled',   'Cancelled',   'terminal', 'T',  'slash',          '#6B7280', 'Called off'),

        ('task',          10,  'created',     'Created',     'initial',  'i',  'plus-circle',    '#6B7280', 'Entered, not taken up yet'),
        ('task',          20,  'pending',     'Pending',     'waiting',  '',   'clock',          '#D97706', 'Waits for somebody to take it'),
        ('task',          30,  'assigned',    'Assigned',    'waiting',  '',   'user-check',     '#7C3AED', 'Somebody has it and has not begun'),
        ('task',          40,  'in_progress', 'In progress', 'progress', '',   'loader',         '#2563EB', 'Somebody is at work on it'),
        ('task',          50,  'blocked',     'Blocked',     'waiting',  '',   'octagon',        '#DC2626', 'It cannot go on until something else is settled'),
        ('task',          60,  'completed',   'Completed',   'success',  'TS', 'check-circle',   '#16A34A', 'Done'),
        ('task',          70,  'cancelled',   'Cancelled',   'terminal', 'T',  'slash',          '#6B7280', 'No longer needed')
)
INSERT INTO public.n_jtd_statuses (
    event_type_code, code, name, description, status_type, icon, color,
    is_initial, is_terminal, is_success, is_failure, allows_retry, display_order
)
SELECT
    family.event_type_code,
    status.code,
    status.name,
    status.description,
    status.status_type,
    status.icon,
    status.color,
    status.flags LIKE '%i%',
    status.flags LIKE '%T%',
    status.flags LIKE '%S%',
    status.flags LIKE '%F%',
    status.flags LIKE '%R%',
    status.display_order
FROM status
JOIN family ON family.name = status.family
ORDER BY family.event_type_code, status.display_order
ON CONFLICT DO NOTHING;


-- Flows: the steps that are expected. Any other step is done too, and flagged. A step is entered where the event type
-- knows both of its statuses, so created > scheduled > pending is the reminder's alone among the messages. A person
-- who takes a step against the plan says why (requires_reason).

WITH family (name, event_type_code) AS (
    VALUES
        ('message',       'notification'),
        ('message',       'reminder'),
        ('message',       'payment'),
        ('message',       'document'),
        ('visit',         'appointment'),
        ('visit',         'service_visit'),
        ('document',      'document'),
        ('service_visit', 'service_visit'),
        ('task',          'task')
),
flow (family, from_code, to_code, is_automatic) AS (
    VALUES
        ('message',       'created',     'pending',     true),
        ('message',       'created',     'scheduled',   true),
        ('message',       'scheduled',   'pending',     true),
        ('message',       'pending',     'queued',      true),
        ('message',       'queued',      'executing',   true),
        ('message',       'executing',   'sent',        true),
        ('message',       'sent',        'delivered',   true),
        ('message',       'sent',        'read',        true),
        ('message',       'delivered',   'read',        true),

        ('message',       'executing',   'failed',      true),
        ('message',       'queued',      'failed',      true),
        ('message',       'pending',     'failed',      true),
        ('message',       'sent',        'failed',      true),
        ('message',       'sent',        'bounced',     true),
        ('message',       'delivered',   'bounced',     true),
        ('message',       'failed',      'pending',     false),

        -- Given back unharmed: a gate closed, or the worker stopped.
        ('message',       'queued',      'pending',     true),
        ('message',       'executing',   'pending',     true),
        -- A member of a batch is sent with its batch, never by itself.
        ('message',       'pending',     'sent',        true),
        -- A late result, a receipt, or a person settled what had been taken for a failure.
        ('message',       'failed',      'sent',        true),
        ('message',       'failed',      'delivered',   true),
        ('message',       'failed',      'read',        true),
        ('message',       'failed',      'bounced',     true),

        ('message',       'created',     'cancelled',   false),
        ('message',       'scheduled',   'cancelled',   false),
        ('message',       'pending',     'cancelled',   false),
        ('message',       'queued',      'cancelled',   false),
        ('message',       'executing',   'cancelled',   false),
        ('message',       'failed',      'cancelled',   false),
        ('message',       'pending',     'expired',     false),
        ('message',       'queued',      'expired',     false),
        ('message',       'executing',   'expired',     false),
        ('message',       'pending',     'no_credits',  true),
        ('message',       'no_credits',  'pending',     true),
        ('message',       'no_credits',  'expired',     true),

        ('document',      'delivered',   'viewed',      true),
        ('document',      'viewed',      'signed',      false),
        ('document',      'viewed',      'rejected',    false),
        ('document',      'delivered',   'expired',     true),
        ('document',      'viewed',      'expired',     true),

        ('visit',         'created',     'scheduled',   true),
        ('visit',         'scheduled',   'reminded',    true),
        ('visit',         'scheduled',   'confirmed',   false),
        ('visit',         'scheduled',   'rescheduled', false),
        ('visit',         'reminded',    'confirmed',   false),
        ('visit',         'reminded',    'rescheduled', false),
        ('visit',         'confirmed',   'in_progress', true),
        ('visit',         'confirmed',   'rescheduled', false),
        ('visit',         'confirmed',   'no_show',     false),
        ('visit',         'in_progress', 'completed',   false),
        ('visit',         'rescheduled', 'scheduled',   true),
        ('visit',         'created',     'cancelled',   false),
        ('visit',         'scheduled',   'cancelled',   false),
        ('visit',         'reminded',    'cancelled',   false),
        ('visit',         'confirmed',   'cancelled',   false),

        ('service_visit', 'confirmed',   'dispatched',  false),
        ('service_visit', 'dispatched',  'in_progress', false),
        ('service_visit', 'dispatched',  'no_show',     false),

        ('task',          'created',     'pending',     true),
        ('task',          'created',     'assigned',    false),
        ('task',          'pending',     'assigned',    false),
        ('task',          'pending',     'in_progress', false),
        ('task',          'assigned',    'in_progress', false),
        ('task',          'in_progress', 'blocked',     false),
        ('task',          'blocked',     'in_progress', false),
        ('task',          'in_progress', 'completed',   false),
        ('task',          'created',     'cancelled',   false),
        ('task',          'pending',     'cancelled',   false),
        ('task',          'assigned',    'cancelled',   false),
        ('task',          'in_progress', 'cancelled',   false)
)
INSERT INTO public.n_jtd_status_flows (event_type_code, from_status_id, to_status_id, is_automatic, requires_reason)
SELECT
    family.event_type_code,
    from_status.id,
    to_status.id,
    flow.is_automatic,
    flow.to_code IN ('cancelled', 'rescheduled', 'rejected', 'no_show', 'blocked')
FROM flow
JOIN family ON family.name = flow.family
JOIN public.n_jtd_statuses AS from_status
    ON from_status.event_type_code = family.event_type_code AND from_status.code = flow.from_code
JOIN public.n_jtd_statuses AS to_status
    ON to_status.event_type_code = family.event_type_code AND to_status.code = flow.to_code
ON CONFLICT DO NOTHING;


-- Source types: what makes a job come into being. Identity messages pass the gates of a tenant (bypasses_gates): a
-- person who cannot get in cannot ask to be let in.

INSERT INTO public.n_jtd_source_types (
    code, name, default_event_type, default_channels, bypasses_gates, is_urgent, description
)
VALUES
    ('user_invite',          'User invited',         'notification',  '{email}',              true,  false, 'A person is invited to join a tenant'),
    ('user_created',         'User created',         'notification',  '{email,inapp}',        true,  false, 'The account of a person is ready'),
    ('user_role_changed',    'User role changed',    'notification',  '{email,inapp}',        false, false, 'A user may do more, or less, than before'),
    ('contract_created',     'Contract created',     'notification',  '{email}',              false, false, 'A contract was drawn up'),
    ('contract_signed',      'Contract signed',      'notification',  '{email}',              false, false, 'A party signed a contract'),
    ('contract_signoff',     'Contract sign-off',    'notification',  '{email}',              true,  false, 'A contract waits for a person''s approval'),
    ('service_scheduled',    'Service scheduled',    'service_visit', '{email,sms}',          false, false, 'A service visit was given a time'),
    ('service_reminder',     'Service reminder',     'reminder',      '{email,sms,whatsapp}', false, false, 'A service visit is coming up'),
    ('service_completed',    'Service completed',    'notification',  '{email}',              false, false, 'A service visit took place'),
    ('appointment_created',  'Appointment created',  'appointment',   '{email,sms}',          false, false, 'An appointment was made'),
    ('appointment_reminder', 'Appointment reminder', 'reminder',      '{email,sms,whatsapp}', false, false, 'An appointment is coming up'),
    ('payment_due',          'Payment due',          'reminder',      '{email,sms}',          false, false, 'An invoice falls due soon'),
    ('payment_request',      'Payment request',      'notification',  '{email,whatsapp}',     false, false, 'A customer is asked to pay by a link'),
    ('payment_received',     'Payment received',     'notification',  '{email}',              false, false, 'A payment came in'),
    ('payment_overdue',      'Payment overdue',      'notification',  '{email,sms}',          false, false, 'An invoice was not paid in time'),
    ('manual',               'Entered by hand',      'task',          '{inapp}',              false, false, 'A person entered a task'),
    ('system',               'System',               'notification',  '{inapp}',              false, false, 'The system has something to say')
ON CONFLICT DO NOTHING;


-- System templates (tenant_id NULL), for live and test alike (is_live NULL), in every locale that has none of its own.
-- A trailing ? marks a variable that a producer may leave out. Subjects and contents are plain text, content_html
-- extends layout_email_v1. WhatsApp texts name each variable once, in the order listed, and neither begin nor end with
-- one: so they can be submitted for approval as they stand, with {{1}}, {{2}} ... for the variables.
-- The comparison ignores the version, which an edit of the text raises: an edited template is not missing.

WITH variable (name, type, fallback) AS (
    VALUES
        ('amount',           'string', NULL),
        ('appointment_date', 'string', NULL),
        ('assigned_by',      'string', NULL),
        ('contract_link',    'url',    ''),
        ('contract_number',  'string', NULL),
        ('contract_title',   'string', NULL),
        ('currency',         'string', NULL),
        ('customer_name',    'string', NULL),
        ('due_date',         'string', NULL),
        ('expire_hours',     'number', NULL),
        ('invite_link',      'url',    NULL),
        ('inviter_name',     'string', NULL),
        ('invoice_number',   'string', NULL),
        ('login_link',       'url',    ''),
        ('message',          'string', NULL),
        ('payment_date',     'string', NULL),
        ('payment_link',     'url',    ''),
        ('recipient_name',   'string', 'there'),
        ('review_link',      'url',    NULL),
        ('role_name',        'string', NULL),
        ('sender_name',      'string', NULL),
        ('service_date',     'string', NULL),
        ('service_type',     'string', NULL),
        ('signed_by',        'string', NULL),
        ('tenant_name',      'string', ''),
        ('title',            'string', NULL)
),
template (template_key, channel_code, source_type_code, name, variables, subject, content, content_html) AS (
    VALUES
        ('layout_email_v1', 'email', NULL, 'Layout of all system emails',
         '{tenant_name?}'::text[],
         NULL,
         '{% block content %}{% endblock %}',
         $html$<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ tenant_name | default("Message", true) }}</title>
</head>
<body style="margin:0;padding:0;background-color:#f3f4f6">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="background-color:#f3f4f6">
<tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:600px;background-color:#ffffff;border-radius:8px">
<tr><td style="padding:32px 24px;font-family:Arial,Helvetica,sans-serif;font-size:16px;line-height:1.5;color:#1f2937;text-align:left">
{% block content %}{% endblock %}
</td></tr>
</table>
{% if tenant_name is defined and tenant_name %}<p style="margin:16px 0 0;font-family:Arial,Helvetica,sans-serif;font-size:13px;line-height:1.5;color:#4b5563">Sent by {{ tenant_name }}</p>{% endif %}
</td></tr>
</table>
</body>
</html>$html$),

        ('user_invite_email_v1', 'email', 'user_invite', 'Invitation by email',
         '{recipient_name?,inviter_name,tenant_name,invite_link}',
         '{{ inviter_name }} invites you to join {{ tenant_name }}',
         $text$Hello {{ recipient_name | default("there", true) }},

{{ inviter_name }} would like you to join {{ tenant_name }}. Accepting takes only a minute:

{{ invite_link }}

If you were not expecting this invitation, you can ignore this email.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">You are invited to {{ tenant_name }}</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">{{ inviter_name }} would like you to join {{ tenant_name }}. Accepting takes only a minute.</p>
<p style="margin:24px 0"><a href="{{ invite_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">Accept the invitation</a></p>
<p style="margin:0">If you were not expecting this invitation, you can ignore this email.</p>
{% endblock %}$html$),

        ('user_invite_sms_v1', 'sms', 'user_invite', 'Invitation by SMS',
         '{recipient_name?,inviter_name,tenant_name,invite_link}',
         NULL,
         'Hello {{ recipient_name | default("there", true) }}, {{ inviter_name }} invites you to join {{ tenant_name }}. Accept here: {{ invite_link }}',
         NULL),

        ('user_invite_whatsapp_v1', 'whatsapp', 'user_invite', 'Invitation by WhatsApp',
         '{recipient_name?,inviter_name,tenant_name,invite_link}',
         NULL,
         $text$Hello {{ recipient_name | default("there", true) }}, {{ inviter_name }} invites you to join {{ tenant_name }}.

Accept the invitation here: {{ invite_link }}

If you were not expecting this, you can ignore this message.$text$,
         NULL),

        ('user_invite_push_v1', 'push', 'user_invite', 'Invitation by push',
         '{inviter_name,tenant_name}',
         'Join {{ tenant_name }}',
         '{{ inviter_name }} invites you to join {{ tenant_name }}. Tap to answer.',
         NULL),

        ('user_created_email_v1', 'email', 'user_created', 'Account ready, by email',
         '{recipient_name?,tenant_name,login_link?}',
         'Welcome to {{ tenant_name }}',
         $text$Hello {{ recipient_name | default("there", true) }},

Welcome to {{ tenant_name }}! Your account is ready.

{% if login_link is defined and login_link %}Sign in here:

{{ login_link }}

{% endif %}If you did not expect this account, please tell us.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">Welcome to {{ tenant_name }}</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">Your account is ready. It is good to have you with us.</p>
{% if login_link is defined and login_link %}<p style="margin:24px 0"><a href="{{ login_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">Sign in</a></p>{% endif %}
<p style="margin:0">If you did not expect this account, please tell us.</p>
{% endblock %}$html$),

        ('user_created_inapp_v1', 'inapp', 'user_created', 'Account ready, in the feed',
         '{recipient_name?,tenant_name}',
         'Welcome to {{ tenant_name }}',
         'Hello {{ recipient_name | default("there", true) }}, your account is ready. It is good to have you with us.',
         NULL),

        ('user_role_changed_email_v1', 'email', 'user_role_changed', 'Role changed, by email',
         '{recipient_name?,role_name,tenant_name}',
         'Your role at {{ tenant_name }} has changed',
         $text$Hello {{ recipient_name | default("there", true) }},

Your role at {{ tenant_name }} is now: {{ role_name }}.

What you can see and do may differ from before. If this comes as a surprise, please ask your administrator.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">Your role has changed</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">Your role at {{ tenant_name }} is now: <strong>{{ role_name }}</strong>.</p>
<p style="margin:0">What you can see and do may differ from before. If this comes as a surprise, please ask your administrator.</p>
{% endblock %}$html$),

        ('user_role_changed_inapp_v1', 'inapp', 'user_role_changed', 'Role changed, in the feed',
         '{role_name,tenant_name}',
         'Your role has changed',
         'Your role at {{ tenant_name }} is now: {{ role_name }}. What you can see and do may differ from before.',
         NULL),

        ('contract_created_email_v1', 'email', 'contract_created', 'Contract created, by email',
         '{recipient_name?,contract_title,contract_number,tenant_name,contract_link?}',
         'New contract {{ contract_number }}: {{ contract_title }}',
         $text$Hello {{ recipient_name | default("there", true) }},

{{ tenant_name }} has prepared the contract "{{ contract_title }}" (number {{ contract_number }}).

{% if contract_link is defined and contract_link %}Read it here:

{{ contract_link }}

{% endif %}If you have any questions, we are happy to help.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">A new contract for you</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">{{ tenant_name }} has prepared the contract <strong>{{ contract_title }}</strong> (number {{ contract_number }}).</p>
{% if contract_link is defined and contract_link %}<p style="margin:24px 0"><a href="{{ contract_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">Read the contract</a></p>{% endif %}
<p style="margin:0">If you have any questions, we are happy to help.</p>
{% endblock %}$html$),

        ('contract_signed_email_v1', 'email', 'contract_signed', 'Contract signed, by email',
         '{recipient_name?,signed_by,contract_title,contract_number,contract_link?}',
         'Contract {{ contract_number }} has been signed',
         $text$Hello {{ recipient_name | default("there", true) }},

Good news: {{ signed_by }} has signed the contract "{{ contract_title }}" (number {{ contract_number }}).

{% if contract_link is defined and contract_link %}Your copy is here:

{{ contract_link }}

{% endif %}Please keep this email for your records.$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">The contract has been signed</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">Good news: {{ signed_by }} has signed the contract <strong>{{ contract_title }}</strong> (number {{ contract_number }}).</p>
{% if contract_link is defined and contract_link %}<p style="margin:24px 0"><a href="{{ contract_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">View your copy</a></p>{% endif %}
<p style="margin:0">Please keep this email for your records.</p>
{% endblock %}$html$),

        ('contract_signoff_email_v1', 'email', 'contract_signoff', 'Contract to sign off, by email',
         '{recipient_name?,sender_name,contract_title,contract_number,review_link}',
         '{{ sender_name }} asks you to sign off {{ contract_title }}',
         $text$Hello {{ recipient_name | default("there", true) }},

{{ sender_name }} asks you to review and sign off the contract "{{ contract_title }}" (number {{ contract_number }}):

{{ review_link }}

If anything is unclear, {{ sender_name }} will be glad to help.$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">A contract is waiting for you</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">{{ sender_name }} asks you to review and sign off the contract <strong>{{ contract_title }}</strong> (number {{ contract_number }}).</p>
<p style="margin:24px 0"><a href="{{ review_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">Review the contract</a></p>
<p style="margin:0">If anything is unclear, {{ sender_name }} will be glad to help.</p>
{% endblock %}$html$),

        ('contract_signoff_whatsapp_v1', 'whatsapp', 'contract_signoff', 'Contract to sign off, by WhatsApp',
         '{recipient_name?,sender_name,contract_title,contract_number,review_link}',
         NULL,
         $text$Hello {{ recipient_name | default("there", true) }}, {{ sender_name }} asks you to review and sign off the contract "{{ contract_title }}" (number {{ contract_number }}).

Read it here: {{ review_link }}

Please get in touch if anything is unclear.$text$,
         NULL),

        ('service_scheduled_email_v1', 'email', 'service_scheduled', 'Service scheduled, by email',
         '{customer_name,service_type,service_date,tenant_name}',
         'Your {{ service_type }} is booked for {{ service_date }}',
         $text$Hello {{ customer_name }},

Your {{ service_type }} is booked for {{ service_date }}.

If that does not suit you, please let us know and we will find another time.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">Your visit is booked</h1>
<p style="margin:0 0 16px">Hello {{ customer_name }},</p>
<p style="margin:0 0 16px">Your {{ service_type }} is booked for <strong>{{ service_date }}</strong>.</p>
<p style="margin:0">If that does not suit you, please let us know and we will find another time.</p>
{% endblock %}$html$),

        ('service_scheduled_sms_v1', 'sms', 'service_scheduled', 'Service scheduled, by SMS',
         '{customer_name,service_type,service_date,tenant_name}',
         NULL,
         'Hello {{ customer_name }}, your {{ service_type }} is booked for {{ service_date }}. Please tell us if it does not suit you. - {{ tenant_name }}',
         NULL),

        ('service_reminder_email_v1', 'email', 'service_reminder', 'Service reminder by email',
         '{customer_name,service_type,service_date,tenant_name}',
         'Reminder: your {{ service_type }} on {{ service_date }}',
         $text$Hello {{ customer_name }},

This is a friendly reminder of your {{ service_type }} on {{ service_date }}.

If the time no longer suits you, please let us know and we will find another.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">We will see you soon</h1>
<p style="margin:0 0 16px">Hello {{ customer_name }},</p>
<p style="margin:0 0 16px">This is a friendly reminder of your {{ service_type }} on <strong>{{ service_date }}</strong>.</p>
<p style="margin:0">If the time no longer suits you, please let us know and we will find another.</p>
{% endblock %}$html$),

        ('service_reminder_sms_v1', 'sms', 'service_reminder', 'Service reminder by SMS',
         '{customer_name,service_type,service_date,tenant_name}',
         NULL,
         'Hello {{ customer_name }}, a reminder of your {{ service_type }} on {{ service_date }}. Please tell us if it no longer suits you. - {{ tenant_name }}',
         NULL),

        ('service_reminder_whatsapp_v1', 'whatsapp', 'service_reminder', 'Service reminder by WhatsApp',
         '{customer_name,service_type,service_date,tenant_name}',
         NULL,
         'Hello {{ customer_name }}, this is a friendly reminder of your {{ service_type }} on {{ service_date }}. If the time no longer suits you, please let {{ tenant_name }} know.',
         NULL),

        ('service_completed_email_v1', 'email', 'service_completed', 'Service completed, by email',
         '{customer_name,service_type,service_date,tenant_name}',
         'Your {{ service_type }} is complete',
         $text$Hello {{ customer_name }},

Your {{ service_type }} on {{ service_date }} is complete. Thank you for your trust.

If anything is not as it should be, please tell us and we will put it right.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">All done</h1>
<p style="margin:0 0 16px">Hello {{ customer_name }},</p>
<p style="margin:0 0 16px">Your {{ service_type }} on <strong>{{ service_date }}</strong> is complete. Thank you for your trust.</p>
<p style="margin:0">If anything is not as it should be, please tell us and we will put it right.</p>
{% endblock %}$html$),

        ('appointment_created_email_v1', 'email', 'appointment_created', 'Appointment made, by email',
         '{recipient_name?,appointment_date,tenant_name}',
         'Your appointment with {{ tenant_name }} on {{ appointment_date }}',
         $text$Hello {{ recipient_name | default("there", true) }},

Your appointment with {{ tenant_name }} is set for {{ appointment_date }}.

If you cannot come, please let us know and we will find another time.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">Your appointment is made</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">Your appointment with {{ tenant_name }} is set for <strong>{{ appointment_date }}</strong>.</p>
<p style="margin:0">If you cannot come, please let us know and we will find another time.</p>
{% endblock %}$html$),

        ('appointment_created_sms_v1', 'sms', 'appointment_created', 'Appointment made, by SMS',
         '{recipient_name?,appointment_date,tenant_name}',
         NULL,
         'Hello {{ recipient_name | default("there", true) }}, your appointment with {{ tenant_name }} is on {{ appointment_date }}. Please tell us if you cannot come.',
         NULL),

        ('appointment_reminder_email_v1', 'email', 'appointment_reminder', 'Appointment reminder by email',
         '{recipient_name?,appointment_date,tenant_name}',
         'Reminder: your appointment on {{ appointment_date }}',
         $text$Hello {{ recipient_name | default("there", true) }},

This is a friendly reminder of your appointment with {{ tenant_name }} on {{ appointment_date }}.

If you cannot come, please let us know and we will find another time.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">We look forward to seeing you</h1>
<p style="margin:0 0 16px">Hello {{ recipient_name | default("there", true) }},</p>
<p style="margin:0 0 16px">This is a friendly reminder of your appointment with {{ tenant_name }} on <strong>{{ appointment_date }}</strong>.</p>
<p style="margin:0">If you cannot come, please let us know and we will find another time.</p>
{% endblock %}$html$),

        ('appointment_reminder_sms_v1', 'sms', 'appointment_reminder', 'Appointment reminder by SMS',
         '{recipient_name?,appointment_date,tenant_name}',
         NULL,
         'Hello {{ recipient_name | default("there", true) }}, a reminder of your appointment on {{ appointment_date }} with {{ tenant_name }}. Please tell us if you cannot come.',
         NULL),

        ('appointment_reminder_whatsapp_v1', 'whatsapp', 'appointment_reminder', 'Appointment reminder by WhatsApp',
         '{recipient_name?,appointment_date,tenant_name}',
         NULL,
         'Hello {{ recipient_name | default("there", true) }}, this is a friendly reminder of your appointment on {{ appointment_date }} with {{ tenant_name }}. If you cannot come, please let us know.',
         NULL),

        ('payment_due_email_v1', 'email', 'payment_due', 'Payment due, by email',
         '{customer_name,invoice_number,amount,due_date,payment_link?,tenant_name}',
         'Invoice {{ invoice_number }} is due on {{ due_date }}',
         $text$Hello {{ customer_name }},

This is a friendly reminder that invoice {{ invoice_number }} for {{ amount }} is due on {{ due_date }}.

{% if payment_link is defined and payment_link %}Pay it here:

{{ payment_link }}

{% endif %}If you have paid already, thank you, and please disregard this email.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">An invoice is due soon</h1>
<p style="margin:0 0 16px">Hello {{ customer_name }},</p>
<p style="margin:0 0 16px">This is a friendly reminder that invoice {{ invoice_number }} for <strong>{{ amount }}</strong> is due on <strong>{{ due_date }}</strong>.</p>
{% if payment_link is defined and payment_link %}<p style="margin:24px 0"><a href="{{ payment_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">Pay the invoice</a></p>{% endif %}
<p style="margin:0">If you have paid already, thank you, and please disregard this email.</p>
{% endblock %}$html$),

        ('payment_due_sms_v1', 'sms', 'payment_due', 'Payment due, by SMS',
         '{customer_name,invoice_number,amount,due_date,payment_link?,tenant_name}',
         NULL,
         'Hello {{ customer_name }}, invoice {{ invoice_number }} for {{ amount }} is due on {{ due_date }}.{% if payment_link is defined and payment_link %} Pay: {{ payment_link }}{% endif %} - {{ tenant_name }}',
         NULL),

        ('payment_request_email_v1', 'email', 'payment_request', 'Payment request by email',
         '{customer_name,tenant_name,invoice_number,amount,currency,payment_link,expire_hours}',
         'Payment request from {{ tenant_name }}: invoice {{ invoice_number }}',
         $text$Hello {{ customer_name }},

{{ tenant_name }} asks you to pay invoice {{ invoice_number }}: {{ amount }} {{ currency }}.

Pay it here:

{{ payment_link }}

The link stays valid for {{ expire_hours }} hours.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">Payment request</h1>
<p style="margin:0 0 16px">Hello {{ customer_name }},</p>
<p style="margin:0 0 16px">{{ tenant_name }} asks you to pay invoice {{ invoice_number }}: <strong>{{ amount }} {{ currency }}</strong>.</p>
<p style="margin:24px 0"><a href="{{ payment_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">Pay now</a></p>
<p style="margin:0">The link stays valid for {{ expire_hours }} hours.</p>
{% endblock %}$html$),

        ('payment_request_whatsapp_v1', 'whatsapp', 'payment_request', 'Payment request by WhatsApp',
         '{customer_name,tenant_name,invoice_number,amount,currency,payment_link,expire_hours}',
         NULL,
         $text$Hello {{ customer_name }}, {{ tenant_name }} asks you to pay invoice {{ invoice_number }}: {{ amount }} {{ currency }}.

Pay it here: {{ payment_link }}

The link stays valid for {{ expire_hours }} hours.$text$,
         NULL),

        ('payment_received_email_v1', 'email', 'payment_received', 'Payment received, by email',
         '{customer_name,amount,invoice_number,payment_date,tenant_name}',
         'Thank you: we received your payment for invoice {{ invoice_number }}',
         $text$Hello {{ customer_name }},

Thank you! We received your payment of {{ amount }} for invoice {{ invoice_number }} on {{ payment_date }}.

Please keep this email for your records.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">Thank you for your payment</h1>
<p style="margin:0 0 16px">Hello {{ customer_name }},</p>
<p style="margin:0 0 16px">We received your payment of <strong>{{ amount }}</strong> for invoice {{ invoice_number }} on {{ payment_date }}.</p>
<p style="margin:0">Please keep this email for your records.</p>
{% endblock %}$html$),

        ('payment_overdue_email_v1', 'email', 'payment_overdue', 'Payment overdue, by email',
         '{customer_name,invoice_number,amount,due_date,payment_link?,tenant_name}',
         'Invoice {{ invoice_number }} is overdue',
         $text$Hello {{ customer_name }},

Invoice {{ invoice_number }} for {{ amount }} was due on {{ due_date }}, and we have not seen a payment yet.

{% if payment_link is defined and payment_link %}Pay it here:

{{ payment_link }}

{% endif %}If you have paid in the meantime, thank you. If something stands in the way, please talk to us.

Kind regards,
{{ tenant_name }}$text$,
         $html${% extends "layout_email_v1" %}{% block content %}
<h1 style="margin:0 0 16px;font-size:22px;line-height:1.3">An invoice is overdue</h1>
<p style="margin:0 0 16px">Hello {{ customer_name }},</p>
<p style="margin:0 0 16px">Invoice {{ invoice_number }} for <strong>{{ amount }}</strong> was due on <strong>{{ due_date }}</strong>, and we have not seen a payment yet.</p>
{% if payment_link is defined and payment_link %}<p style="margin:24px 0"><a href="{{ payment_link }}" style="display:inline-block;padding:12px 24px;border-radius:6px;background-color:#1d4ed8;color:#ffffff;text-decoration:none">Pay the invoice</a></p>{% endif %}
<p style="margin:0">If you have paid in the meantime, thank you. If something stands in the way, please talk to us.</p>
{% endblock %}$html$),

        ('payment_overdue_sms_v1', 'sms', 'payment_overdue', 'Payment overdue, by SMS',
         '{customer_name,invoice_number,amount,due_date,payment_link?,tenant_name}',
         NULL,
         'Hello {{ customer_name }}, invoice {{ invoice_number }} for {{ amount }} was due on {{ due_date }}.{% if payment_link is defined and payment_link %} Pay: {{ payment_link }}{% endif %} - {{ tenant_name }}',
         NULL),

        ('task_assigned_inapp_v1', 'inapp', 'manual', 'Task assigned, in the feed',
         '{title,assigned_by}',
         'New task: {{ title }}',
         '{{ assigned_by }} has given you the task "{{ title }}".',
         NULL),

        ('system_inapp_v1', 'inapp', 'system', 'Word from the system, in the feed',
         '{title,message}',
         '{{ title }}',
         '{{ message }}',
         NULL)
)
INSERT INTO public.n_jtd_templates (
    template_key, channel_code, source_type_code, name, variables, subject, content, content_html,
    parameter_format, language
)
SELECT
    template.template_key,
    template.channel_code,
    template.source_type_code,
    template.name,
    (
        SELECT jsonb_agg(
            CASE
                WHEN listed.entry LIKE '%?' THEN
                    jsonb_build_object(
                        'name', variable.name, 'type', variable.type, 'required', false, 'default', variable.fallback
                    )
                ELSE
                    jsonb_build_object('name', variable.name, 'type', variable.type, 'required', true)
            END
            ORDER BY listed.place
        )
        FROM unnest(template.variables) WITH ORDINALITY AS listed (entry, place)
        JOIN variable ON variable.name = rtrim(listed.entry, '?')
    ),
    template.subject,
    template.content,
    template.content_html,
    CASE WHEN template.channel_code = 'whatsapp' THEN 'positional' END,
    CASE WHEN template.channel_code = 'whatsapp' THEN 'en' END
FROM template
WHERE NOT EXISTS (
    SELECT
    FROM public.n_jtd_templates AS present
    WHERE present.tenant_id IS NULL
        AND present.template_key = template.template_key
        AND present.channel_code = template.channel_code
        AND present.is_live IS NULL
        AND present.locale IS NULL
)
ON CONFLICT DO NOTHING;

INSERT INTO jtd.migrations (name) VALUES ('002_seed_jtd_master_data') ON CONFLICT DO NOTHING;
