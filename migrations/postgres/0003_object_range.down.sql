DROP INDEX object_range;
CREATE INDEX object_range ON object (account_id, collection_id, end_at);
