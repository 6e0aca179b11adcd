-- What administrators say about other domains; '*' is for all that have no row.
CREATE TABLE peer (
    name     TEXT   NOT NULL,
    settings TEXT   NOT NULL,
    created  BIGINT NOT NULL,
    changed  BIGINT NOT NULL,
    PRIMARY KEY (name)
);
