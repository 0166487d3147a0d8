-- Grows by one with every change of who may do what, in the transaction of that change: nodes that
-- remember permissions compare it.
CREATE TABLE revisions (
    name     TEXT COLLATE "C" PRIMARY KEY,
    revision BIGINT NOT NULL
);

INSERT INTO revisions (name, revision) VALUES ('authorization', 1);

ALTER TABLE sessions ADD COLUMN last_used_at BIGINT;
ALTER TABLE sessions ADD COLUMN client TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN address TEXT COLLATE "C";
CREATE INDEX sessions_by_user ON sessions (user_id, created_at);

ALTER TABLE workspaces ADD COLUMN deleted_at BIGINT;

-- Accounts that wait for their e-mail address to be verified. Nobody can sign in to one.
CREATE TABLE registrations (
    id            BIGINT PRIMARY KEY,
    email         TEXT COLLATE "C" NOT NULL,
    email_key     TEXT COLLATE "C" NOT NULL,
    name          TEXT COLLATE "C",
    password_hash TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);

CREATE INDEX registrations_by_email ON registrations (email_key);

-- Tokens that went out in mails, as digests: a stolen copy of this table opens nothing.
CREATE TABLE mailed_tokens (
    digest     BYTEA PRIMARY KEY,
    purpose    TEXT COLLATE "C" NOT NULL,
    subject    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);

-- One at most: the newest makes the others worthless, however many are made at a time.
CREATE UNIQUE INDEX mailed_tokens_by_subject ON mailed_tokens (purpose, subject);

-- Own roles beside the built-in ones. Permissions are separated by spaces.
CREATE TABLE roles (
    name        TEXT COLLATE "C" PRIMARY KEY,
    permissions TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE invitations (
    id           BIGINT PRIMARY KEY,
    workspace_id BIGINT NOT NULL REFERENCES workspaces (id),
    email        TEXT COLLATE "C" NOT NULL,
    email_key    TEXT COLLATE "C" NOT NULL,
    role         TEXT COLLATE "C" NOT NULL,
    invited_by   BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    ended_at     BIGINT
);

CREATE INDEX invitations_by_workspace ON invitations (workspace_id, created_at);
CREATE INDEX invitations_by_email ON invitations (email_key);

CREATE TABLE api_keys (
    id           BIGINT PRIMARY KEY,
    workspace_id BIGINT NOT NULL REFERENCES workspaces (id),
    user_id      BIGINT NOT NULL REFERENCES users (id),
    name         TEXT COLLATE "C" NOT NULL,
    digest       BYTEA NOT NULL,
    scopes       TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    revoked_at   BIGINT
);

CREATE INDEX api_keys_by_workspace ON api_keys (workspace_id, created_at);
CREATE INDEX api_keys_by_user ON api_keys (user_id);

-- Who did what to what, when, from where. Rows are added and never changed.
CREATE TABLE audit_log (
    id           BIGSERIAL PRIMARY KEY,
    at           BIGINT NOT NULL,
    user_id      BIGINT,
    actor        TEXT COLLATE "C" NOT NULL,
    key_id       BIGINT,
    address      TEXT COLLATE "C",
    workspace_id BIGINT,
    action       TEXT COLLATE "C" NOT NULL,
    object       TEXT COLLATE "C",
    details      TEXT COLLATE "C" NOT NULL
);

CREATE INDEX audit_log_by_workspace ON audit_log (workspace_id, id);

CREATE FUNCTION refuse_audit_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_log_is_not_changed BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION refuse_audit_log_change();

-- Work to be done later, once: leased by one node at a time.
CREATE TABLE jobs (
    id         BIGINT PRIMARY KEY,
    kind       TEXT COLLATE "C" NOT NULL,
    payload    TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    attempts   BIGINT NOT NULL,
    run_at     BIGINT NOT NULL,
    lease      BIGINT,
    error      TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE INDEX jobs_by_time ON jobs (state, run_at);

-- What a request with an Idempotency-Key was answered, for its repetitions.
CREATE TABLE idempotent_answers (
    principal   TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    fingerprint BYTEA NOT NULL,
    answer      TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);

CREATE INDEX idempotent_answers_by_time ON idempotent_answers (created_at);
