-- Which other domains asked when somebody is busy.
CREATE TABLE busy_question (
    account_id BIGINT NOT NULL,
    domain     TEXT NOT NULL, -- that asked
    asker      TEXT NOT NULL, -- in the last question
    questions  BIGINT NOT NULL, -- how many
    last       BIGINT NOT NULL, -- when
    PRIMARY KEY (account_id, domain)
);
CREATE INDEX busy_question_last ON busy_question (last);
