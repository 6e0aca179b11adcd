-- The object that an attendee declined by deleting it: an update of another
-- server that does not know of that must not bring it back.
ALTER TABLE forgotten ADD COLUMN data TEXT NOT NULL DEFAULT '';
