-- Tokens of mail: reply addresses (purpose ''), addresses that bounces come
-- home to, and one-time links by which people without a calendar answer.
ALTER TABLE mail_token ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
ALTER TABLE mail_token ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
ALTER TABLE mail_token ADD COLUMN instances TEXT NOT NULL DEFAULT ''; -- RECURRENCE-IDs, separated by a blank; '': the whole
ALTER TABLE mail_token ADD COLUMN nonce TEXT NOT NULL DEFAULT '';
ALTER TABLE mail_token ADD COLUMN used INTEGER NOT NULL DEFAULT 0; -- when

ALTER TABLE quarantine ADD COLUMN message_key TEXT NOT NULL DEFAULT ''; -- a mail that comes twice is held once
ALTER TABLE quarantine ADD COLUMN file TEXT NOT NULL DEFAULT ''; -- a calendar part that must not be applied, to be saved
CREATE UNIQUE INDEX quarantine_message ON quarantine (account_id, message_key) WHERE message_key <> '';
CREATE INDEX quarantine_created ON quarantine (created);

-- Whose mail an account never wants to see.
CREATE TABLE blocked_sender (
    account_id INTEGER NOT NULL,
    sender     TEXT   NOT NULL, -- comparison form of an address
    created    INTEGER NOT NULL,
    PRIMARY KEY (account_id, sender)
) STRICT, WITHOUT ROWID;

-- Domains whose people have their calendars in another system behind us.
ALTER TABLE domain ADD COLUMN role TEXT NOT NULL DEFAULT ''; -- '' or gateway
ALTER TABLE domain ADD COLUMN backend TEXT NOT NULL DEFAULT '';
ALTER TABLE domain ADD COLUMN nonce TEXT NOT NULL DEFAULT ''; -- of the secret that we show to the backend
ALTER TABLE domain ADD COLUMN token_hash TEXT NOT NULL DEFAULT ''; -- of the token that the backend shows to us
