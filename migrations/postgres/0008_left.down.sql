ALTER TABLE forgotten DROP COLUMN data;
