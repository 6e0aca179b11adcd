-- What administrators say about other domains; '*' is for all that have no row.
CREATE TABLE peer (
    name     TEXT   NOT NULL,
    settings TEXT   NOT NULL,
    created  INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    PRIMARY KEY (name)
) STRICT;
