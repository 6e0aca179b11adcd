-- What an attendee deleted: a late message must not bring it back.
CREATE TABLE forgotten (
    account_id BIGINT NOT NULL,
    uid        TEXT   NOT NULL,
    sequence   BIGINT NOT NULL,
    dtstamp    BIGINT NOT NULL,
    deleted    BIGINT NOT NULL,
    PRIMARY KEY (account_id, uid)
);
CREATE INDEX forgotten_deleted ON forgotten (deleted);
