-- Grows by one with every change of who may do what, in the transaction of that change: nodes that
-- remember permissions compare it.
CREATE TABLE revisions (
    name     TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT;

INSERT INTO revisions (name, revision) VALUES ('authorization', 1);

ALTER TABLE sessions ADD COLUMN last_used_at INTEGER;
ALTER TABLE sessions ADD COLUMN client TEXT;
ALTER TABLE sessions ADD COLUMN address TEXT;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);

ALTER TABLE workspaces ADD COLUMN deleted_at INTEGER;

-- Accounts that wait for their e-mail address to be verified. Nobody can sign in to one.
CREATE TABLE registrations (
    id            INTEGER PRIMARY KEY,
    email         TEXT NOT NULL,
    email_key     TEXT NOT NULL,
    name          TEXT,
    password_hash TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT;

CREATE INDEX registrations_by_email ON registrations (email_key);

-- Tokens that went out in mails, as digests: a stolen copy of this table opens nothing.
CREATE TABLE mailed_tokens (
    digest     BLOB PRIMARY KEY,
    purpose    TEXT NOT NULL,
    subject    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT;

-- One at most: the newest makes the others worthless, however many are made at a time.
CREATE UNIQUE INDEX mailed_tokens_by_subject ON mailed_tokens (purpose, subject);

-- Own roles beside the built-in ones. Permissions are separated by spaces.
CREATE TABLE roles (
    name        TEXT PRIMARY KEY,
    permissions TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE invitations (
    id           INTEGER PRIMARY KEY,
    workspace_id INTEGER NOT NULL REFERENCES workspaces (id),
    email        TEXT NOT NULL,
    email_key    TEXT NOT NULL,
    role         TEXT NOT NULL,
    invited_by   INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    ended_at     INTEGER
) STRICT;

CREATE INDEX invitations_by_workspace ON invitations (workspace_id, created_at);
CREATE INDEX invitations_by_email ON invitations (email_key);

CREATE TABLE api_keys (
    id           INTEGER PRIMARY KEY,
    workspace_id INTEGER NOT NULL REFERENCES workspaces (id),
    user_id      INTEGER NOT NULL REFERENCES users (id),
    name         TEXT NOT NULL,
    digest       BLOB NOT NULL,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    last_used_at INTEGER,
    revoked_at   INTEGER
) STRICT;

CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, created_at);
CREATE INDEX api_keys_by_user ON api_keys (user_id);

-- Who did what to what, when, from where. Rows are added and never changed.
CREATE TABLE audit_log (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    at           INTEGER NOT NULL,
    user_id      INTEGER,
    actor        TEXT NOT NULL,
    key_id       INTEGER,
    address      TEXT,
    workspace_id INTEGER,
    action       TEXT NOT NULL,
    object       TEXT,
    details      TEXT NOT NULL
) STRICT;

CREATE INDEX audit_log_by_workspace ON audit_log (workspace_id, id);

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_log_is_not_cut BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Work to be done later, once: leased by one node at a time.
CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    payload    TEXT NOT NULL,
    state      TEXT NOT NULL,
    attempts   INTEGER NOT NULL,
    run_at     INTEGER NOT NULL,
    lease      INTEGER,
    error      TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX jobs_by_time ON jobs (state, run_at);

-- What a request with an Idempotency-Key was answered, for its repetitions.
CREATE TABLE idempotent_answers (
    principal   TEXT NOT NULL,
    key         TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT;

CREATE INDEX idempotent_answers_by_time ON idempotent_answers (created_at);
