-- What an attendee deleted: a late message must not bring it back.
CREATE TABLE forgotten (
    account_id INTEGER NOT NULL,
    uid        TEXT   NOT NULL,
    sequence   INTEGER NOT NULL,
    dtstamp    INTEGER NOT NULL,
    deleted    INTEGER NOT NULL,
    PRIMARY KEY (account_id, uid)
) STRICT;
CREATE INDEX forgotten_deleted ON forgotten (deleted);
