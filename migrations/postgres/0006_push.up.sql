-- Whom to tell, over a push service, that a collection has changed
-- (draft-bitfire-webdav-push). seq and home_seq are what the subscriber was
-- told of last; due is when he may be told next, in flight the end of the lease.
CREATE TABLE push_subscription (
    account_id    BIGINT NOT NULL, -- the subscriber
    id            BIGINT NOT NULL,
    token         TEXT   NOT NULL, -- last segment of the registration URL
    home_id       BIGINT NOT NULL, -- whose collection it is
    collection_id BIGINT NOT NULL,
    endpoint      TEXT   NOT NULL, -- the push resource, itself a secret
    endpoint_hash TEXT   NOT NULL,
    public_key    TEXT   NOT NULL,
    auth          TEXT   NOT NULL,
    content       BIGINT NOT NULL,
    properties    BIGINT NOT NULL,
    seq           BIGINT NOT NULL,
    home_seq      BIGINT NOT NULL,
    due           BIGINT NOT NULL,
    budget        BIGINT NOT NULL, -- theoretical arrival time of the rate limit
    muted         BIGINT NOT NULL, -- until when a request of his own keeps him from being told
    lease_owner   TEXT   NOT NULL,
    lease_seq     BIGINT NOT NULL, -- what the push on its way tells of
    lease_home    BIGINT NOT NULL,
    failing_since BIGINT NOT NULL,
    failures      BIGINT NOT NULL,
    created       BIGINT NOT NULL,
    expires       BIGINT NOT NULL,
    PRIMARY KEY (account_id, id)
);
CREATE UNIQUE INDEX push_subscription_endpoint ON push_subscription (account_id, home_id, collection_id, endpoint_hash);
CREATE INDEX push_subscription_home ON push_subscription (home_id, collection_id);
CREATE INDEX push_subscription_expires ON push_subscription (expires);
