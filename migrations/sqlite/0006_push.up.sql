-- Whom to tell, over a push service, that a collection has changed
-- (draft-bitfire-webdav-push). seq and home_seq are what the subscriber was
-- told of last; due is when he may be told next, in flight the end of the lease.
CREATE TABLE push_subscription (
    account_id    INTEGER NOT NULL, -- the subscriber
    id            INTEGER NOT NULL,
    token         TEXT   NOT NULL, -- last segment of the registration URL
    home_id       INTEGER NOT NULL, -- whose collection it is
    collection_id INTEGER NOT NULL,
    endpoint      TEXT   NOT NULL, -- the push resource, itself a secret
    endpoint_hash TEXT   NOT NULL,
    public_key    TEXT   NOT NULL,
    auth          TEXT   NOT NULL,
    content       INTEGER NOT NULL,
    properties    INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    home_seq      INTEGER NOT NULL,
    due           INTEGER NOT NULL,
    budget        INTEGER NOT NULL, -- theoretical arrival time of the rate limit
    muted         INTEGER NOT NULL, -- until when a request of his own keeps him from being told
    lease_owner   TEXT   NOT NULL,
    lease_seq     INTEGER NOT NULL, -- what the push on its way tells of
    lease_home    INTEGER NOT NULL,
    failing_since INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT;
CREATE UNIQUE INDEX push_subscription_endpoint ON push_subscription (account_id, home_id, collection_id, endpoint_hash);
CREATE INDEX push_subscription_home ON push_subscription (home_id, collection_id);
CREATE INDEX push_subscription_expires ON push_subscription (expires);
