ALTER TABLE message DROP COLUMN by_id;
ALTER TABLE collection DROP COLUMN bytes;
DROP TABLE delegate;
