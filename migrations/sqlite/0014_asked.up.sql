-- Which other domains asked when somebody is busy.
CREATE TABLE busy_question (
    account_id INTEGER NOT NULL,
    domain     TEXT NOT NULL, -- that asked
    asker      TEXT NOT NULL, -- in the last question
    questions  INTEGER NOT NULL, -- how many
    last       INTEGER NOT NULL, -- when
    PRIMARY KEY (account_id, domain)
) STRICT, WITHOUT ROWID;
CREATE INDEX busy_question_last ON busy_question (last);
