DROP STATISTICS journal_place;
DROP STATISTICS object_place;
