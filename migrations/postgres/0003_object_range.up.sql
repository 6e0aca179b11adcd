-- Led by the collection alone, the index of times is no rival of the primary
-- key for a look-up by name: with the account before it, a planner multiplies
-- two selectivities that say the same and takes a whole calendar for one row.
DROP INDEX object_range;
CREATE INDEX object_range ON object (collection_id, end_at);
-- Of two plans that cost the same PostgreSQL takes the newest index; on a table
-- that was never analyzed all cost the same.
ALTER TABLE object DROP CONSTRAINT object_pkey;
ALTER TABLE object ADD PRIMARY KEY (account_id, collection_id, name);
