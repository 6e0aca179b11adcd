-- A calendar belongs to one account. A planner that does not know it multiplies
-- the two selectivities, takes a large calendar for one row and reads all of it
-- for each of many names.
CREATE STATISTICS object_place (dependencies, ndistinct) ON account_id, collection_id FROM object;
CREATE STATISTICS journal_place (dependencies, ndistinct) ON account_id, collection_id FROM journal;
