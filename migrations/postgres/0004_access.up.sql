-- Who looks after whose calendars: the members of calendar-proxy-read (1) and
-- calendar-proxy-write (2) of an account. A member may be a group.
CREATE TABLE delegate (
    account_id  BIGINT NOT NULL,
    delegate_id BIGINT NOT NULL,
    mode        BIGINT NOT NULL,
    PRIMARY KEY (account_id, delegate_id, mode)
);
CREATE INDEX delegate_delegate ON delegate (delegate_id);

-- Octets of a collection's objects, counted with every change, for the quota.
ALTER TABLE collection ADD COLUMN bytes BIGINT NOT NULL DEFAULT 0;
UPDATE collection SET bytes = COALESCE((SELECT SUM(o.size) FROM object o WHERE o.account_id = collection.account_id AND o.collection_id = collection.id), 0);

-- Who caused a message when it was not its account: a delegate. His right to do
-- so is looked at again before the message leaves.
ALTER TABLE message ADD COLUMN by_id BIGINT NOT NULL DEFAULT 0;

-- What is private (1024) or confidential (2048), by the CLASS of its components.
-- What only speaks of the word is marked as well; the next PUT sets that right.
UPDATE object SET flags = flags | 1024 WHERE data LIKE '%CLASS%PRIVATE%';
UPDATE object SET flags = flags | 2048 WHERE data LIKE '%CLASS%CONFIDENTIAL%';
