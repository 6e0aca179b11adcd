-- Calendar objects with EMAIL alarms, by the UID in an account: when to look at
-- the object next, and up to when its alarms are dealt with.
CREATE TABLE alarm (
    account_id INTEGER NOT NULL,
    uid        TEXT   NOT NULL,
    due        INTEGER NOT NULL,
    done       INTEGER NOT NULL,
    PRIMARY KEY (account_id, uid)
) STRICT;
CREATE INDEX alarm_due ON alarm (due);

-- How much an account has sent lately.
CREATE INDEX delivery_account ON delivery (account_id, created);
