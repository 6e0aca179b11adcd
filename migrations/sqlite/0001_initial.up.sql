-- Account data leads its primary key with account_id, so that a distributed
-- engine can keep what belongs together in one place. Times are Unix
-- microseconds, truth values are 0 and 1, ids are random: the same statements
-- then run on both engines.

CREATE TABLE account (
    id           INTEGER PRIMARY KEY,
    handle       TEXT   NOT NULL UNIQUE,
    uuid         TEXT   NOT NULL UNIQUE,
    kind         INTEGER NOT NULL,
    display_name TEXT   NOT NULL,
    emails       TEXT   NOT NULL, -- normalized addresses in order, separated by a blank
    rights       INTEGER NOT NULL,
    verifier     TEXT   NOT NULL,
    version      INTEGER NOT NULL,
    disabled     INTEGER NOT NULL,
    settings     TEXT   NOT NULL, -- JSON, '' for none
    default_calendar TEXT NOT NULL, -- collection names, out of settings
    default_tasks    TEXT NOT NULL,
    created      INTEGER NOT NULL,
    modified     INTEGER NOT NULL,
    removed      INTEGER NOT NULL DEFAULT 0 -- when; the row then only holds the handle back
) STRICT;

CREATE TABLE address (
    address    TEXT   PRIMARY KEY, -- local@domain, lower case, A-labels
    account_id INTEGER NOT NULL,
    held_until INTEGER NOT NULL DEFAULT 0 -- 0: in use
) STRICT;
CREATE INDEX address_account ON address (account_id);

CREATE TABLE member (
    group_id   INTEGER NOT NULL,
    account_id INTEGER NOT NULL,
    PRIMARY KEY (group_id, account_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_account ON member (account_id);

-- Every group that an account is in, over any number of steps.
CREATE TABLE membership (
    account_id INTEGER NOT NULL,
    group_id   INTEGER NOT NULL,
    PRIMARY KEY (account_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_group ON membership (group_id);

CREATE TABLE app_password (
    account_id INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    hash       TEXT   NOT NULL,
    label      TEXT   NOT NULL,
    created    INTEGER NOT NULL,
    last_use   INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT;
CREATE UNIQUE INDEX app_password_hash ON app_password (account_id, hash);

CREATE TABLE link (
    account_id    INTEGER NOT NULL,
    hash          TEXT   NOT NULL,
    collection_id INTEGER NOT NULL,
    label         TEXT   NOT NULL,
    created       INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    PRIMARY KEY (account_id, hash)
) STRICT;
CREATE INDEX link_hash ON link (hash);

CREATE TABLE domain (
    name    TEXT PRIMARY KEY,
    created INTEGER NOT NULL
) STRICT;

CREATE TABLE domain_key (
    domain   TEXT   NOT NULL,
    purpose  TEXT   NOT NULL,
    selector TEXT   NOT NULL,
    pem      TEXT   NOT NULL,
    state    TEXT   NOT NULL,
    created  INTEGER NOT NULL,
    changed  INTEGER NOT NULL,
    PRIMARY KEY (domain, purpose, selector)
) STRICT;
CREATE UNIQUE INDEX domain_key_active ON domain_key (domain, purpose) WHERE state = 'active';

CREATE TABLE setting (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE counter (
    name  TEXT   PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

CREATE TABLE lease (
    name    TEXT   PRIMARY KEY,
    holder  TEXT   NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
INSERT INTO lease (name, holder, expires) VALUES ('claim', '', 0), ('membership', '', 0);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    detail  TEXT   NOT NULL
) STRICT;
CREATE INDEX audit_at ON audit (at);

CREATE TABLE collection (
    account_id   INTEGER NOT NULL,
    id           INTEGER NOT NULL,
    name         TEXT   NOT NULL,
    kind         INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    tag          TEXT   NOT NULL,
    nonce        TEXT   NOT NULL,
    components   INTEGER NOT NULL,
    transparent  INTEGER NOT NULL,
    deleting     INTEGER NOT NULL,
    display_name TEXT   NOT NULL,
    color        TEXT   NOT NULL,
    sort_order   TEXT   NOT NULL,
    timezone_id  TEXT   NOT NULL,
    acl          TEXT   NOT NULL, -- JSON, '' for none
    created      INTEGER NOT NULL,
    modified     INTEGER NOT NULL,
    description  TEXT   NOT NULL,
    timezone     TEXT   NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT;
CREATE UNIQUE INDEX collection_name ON collection (account_id, name);
CREATE INDEX collection_deleting ON collection (account_id, id) WHERE deleting = 1;

-- Who has been given something by the collection's ACL, to find shared calendars.
CREATE TABLE grantee (
    account_id    INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    principal_id  INTEGER NOT NULL,
    PRIMARY KEY (account_id, collection_id, principal_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX grantee_principal ON grantee (principal_id);

CREATE TABLE object (
    account_id    INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    name          TEXT   NOT NULL,
    uid           TEXT   NOT NULL,
    item          TEXT   NOT NULL, -- '' in calendars, the name elsewhere, where UIDs repeat
    component     TEXT   NOT NULL,
    etag          TEXT   NOT NULL,
    schedule_tag  TEXT   NOT NULL,
    size          INTEGER NOT NULL,
    start_at      INTEGER NOT NULL,
    end_at        INTEGER NOT NULL,
    flags         INTEGER NOT NULL,
    sequence      INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    modified      INTEGER NOT NULL,
    extra         TEXT   NOT NULL,
    data          TEXT   NOT NULL,
    PRIMARY KEY (account_id, collection_id, name)
) STRICT;
CREATE UNIQUE INDEX object_uid ON object (account_id, uid, collection_id, item);
CREATE INDEX object_range ON object (account_id, collection_id, end_at);

-- One row per change; the newest row of a collection is never pruned.
CREATE TABLE journal (
    account_id    INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    seq           INTEGER NOT NULL,
    name          TEXT   NOT NULL,
    deleted       INTEGER NOT NULL,
    tag           TEXT   NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (account_id, collection_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE property (
    account_id    INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    object_name   TEXT   NOT NULL,
    principal_id  INTEGER NOT NULL,
    space         TEXT   NOT NULL,
    local         TEXT   NOT NULL,
    xml           TEXT   NOT NULL,
    PRIMARY KEY (account_id, collection_id, object_name, principal_id, space, local)
) STRICT, WITHOUT ROWID;

CREATE TABLE uid_lock (
    account_id INTEGER NOT NULL, -- the organizer's; 0: not an account here
    uid        TEXT   NOT NULL,
    used       INTEGER NOT NULL,
    PRIMARY KEY (account_id, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
    account_id INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    uid        TEXT   NOT NULL,
    method     TEXT   NOT NULL,
    component  TEXT   NOT NULL,
    originator TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    changes    TEXT   NOT NULL,
    snapshot   TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    created    INTEGER NOT NULL,
    body       TEXT   NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT;
CREATE INDEX message_created ON message (created);

CREATE TABLE delivery (
    account_id    INTEGER NOT NULL,
    id            INTEGER NOT NULL,
    message_id    INTEGER NOT NULL,
    uid           TEXT   NOT NULL,
    recipient     TEXT   NOT NULL,
    recipient_key TEXT   NOT NULL,
    domain        TEXT   NOT NULL,
    turn          INTEGER NOT NULL, -- order among those of one (account, uid, recipient)
    state         INTEGER NOT NULL,
    due           INTEGER NOT NULL, -- when it may be claimed: not_before, in flight the end of the lease
    not_before    INTEGER NOT NULL,
    expires       INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    lease_owner   TEXT   NOT NULL,
    lease_until   INTEGER NOT NULL,
    wire_id       TEXT   NOT NULL,
    transport     TEXT   NOT NULL,
    proof         TEXT   NOT NULL,
    status        TEXT   NOT NULL,
    detail        TEXT   NOT NULL,
    trace         TEXT   NOT NULL,
    written       INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    updated       INTEGER NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT;
CREATE UNIQUE INDEX delivery_turn ON delivery (account_id, uid, recipient_key, turn);
CREATE INDEX delivery_message ON delivery (account_id, message_id);
CREATE INDEX delivery_due ON delivery (due) WHERE state <= 3;
CREATE INDEX delivery_flight ON delivery (domain, wire_id) WHERE state = 3;
CREATE INDEX delivery_wire ON delivery (wire_id) WHERE state <= 3;
CREATE INDEX delivery_unwritten ON delivery (account_id, uid) WHERE written = 0 AND state IN (4, 5);
CREATE INDEX delivery_created ON delivery (created, id);

CREATE TABLE snapshot (
    account_id INTEGER NOT NULL,
    uid        TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    created    INTEGER NOT NULL,
    data       TEXT   NOT NULL,
    PRIMARY KEY (account_id, uid, digest)
) STRICT;

CREATE TABLE peer_state (
    account_id    INTEGER NOT NULL,
    uid           TEXT   NOT NULL,
    recipient_key TEXT   NOT NULL,
    digest        TEXT   NOT NULL,
    updated       INTEGER NOT NULL,
    PRIMARY KEY (account_id, uid, recipient_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE refresh (
    account_id  INTEGER NOT NULL,
    uid         TEXT   NOT NULL,
    due         INTEGER NOT NULL,
    generation  INTEGER NOT NULL,
    lease_owner TEXT   NOT NULL,
    PRIMARY KEY (account_id, uid)
) STRICT;
CREATE INDEX refresh_due ON refresh (due);

CREATE TABLE replay_signature (
    domain     TEXT   NOT NULL,
    selector   TEXT   NOT NULL,
    hash       TEXT   NOT NULL,
    body_hash  TEXT   NOT NULL,
    recipients TEXT   NOT NULL,
    results    TEXT   NOT NULL,
    expires    INTEGER NOT NULL,
    PRIMARY KEY (domain, selector, hash)
) STRICT;
CREATE INDEX replay_signature_expires ON replay_signature (expires);

CREATE TABLE replay_message (
    domain     TEXT   NOT NULL,
    message_id TEXT   NOT NULL,
    body_hash  TEXT   NOT NULL,
    recipients TEXT   NOT NULL,
    results    TEXT   NOT NULL,
    expires    INTEGER NOT NULL,
    PRIMARY KEY (domain, message_id)
) STRICT;
CREATE INDEX replay_message_expires ON replay_message (expires);

CREATE TABLE mail_token (
    hash       TEXT   PRIMARY KEY,
    account_id INTEGER NOT NULL,
    uid        TEXT   NOT NULL,
    attendee   TEXT   NOT NULL,
    expires    INTEGER NOT NULL
) STRICT;
CREATE INDEX mail_token_expires ON mail_token (expires);

CREATE TABLE quarantine (
    account_id INTEGER NOT NULL,
    id         INTEGER NOT NULL,
    uid        TEXT   NOT NULL,
    sender     TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    created    INTEGER NOT NULL,
    body       TEXT   NOT NULL,
    PRIMARY KEY (account_id, id)
) STRICT;
