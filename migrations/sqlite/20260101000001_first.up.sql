-- Facts about this installation, such as the public URL it was made for.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    email         TEXT NOT NULL,
    email_key     TEXT NOT NULL UNIQUE,
    name          TEXT,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL,
    status        TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE workspaces (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE memberships (
    workspace_id INTEGER NOT NULL REFERENCES workspaces (id),
    user_id      INTEGER NOT NULL REFERENCES users (id),
    role         TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
) STRICT;

CREATE INDEX memberships_by_user ON memberships (user_id, created_at);

CREATE TABLE sessions (
    id         INTEGER PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at   INTEGER
) STRICT;

-- Only digests: a stolen copy of this table signs nobody in.
CREATE TABLE refresh_tokens (
    digest     BLOB PRIMARY KEY,
    session_id INTEGER NOT NULL REFERENCES sessions (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT;

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE domains (
    id         INTEGER PRIMARY KEY,
    host       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- A deleted link stays as a row: its slug is retired and never issued again.
CREATE TABLE links (
    id              INTEGER PRIMARY KEY,
    workspace_id    INTEGER NOT NULL REFERENCES workspaces (id),
    domain_id       INTEGER NOT NULL REFERENCES domains (id),
    slug            TEXT NOT NULL,
    slug_key        TEXT NOT NULL,
    target_url      TEXT NOT NULL,
    title           TEXT,
    notes           TEXT,
    state           TEXT NOT NULL,
    redirect_status INTEGER NOT NULL,
    forward_query   INTEGER NOT NULL,
    starts_at       INTEGER,
    expires_at      INTEGER,
    max_clicks      INTEGER,
    version         INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    created_by      INTEGER,
    UNIQUE (domain_id, slug_key)
) STRICT;

CREATE INDEX links_by_workspace ON links (workspace_id, created_at, id);

CREATE TABLE link_tags (
    link_id INTEGER NOT NULL REFERENCES links (id),
    tag     TEXT NOT NULL,
    PRIMARY KEY (link_id, tag)
) STRICT;

CREATE INDEX link_tags_by_tag ON link_tags (tag, link_id);

-- How often each link was clicked, per kind. Apart from links, so that counting never rewrites a link.
CREATE TABLE link_counters (
    link_id         INTEGER PRIMARY KEY,
    workspace_id    INTEGER NOT NULL,
    humans          INTEGER NOT NULL,
    bots            INTEGER NOT NULL,
    previews        INTEGER NOT NULL,
    last_clicked_at INTEGER
) STRICT;

-- The cursor of each spool stream: what was folded, exactly.
CREATE TABLE spool_streams (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    stream     BLOB NOT NULL UNIQUE,
    seq        INTEGER NOT NULL,
    limit_seq  INTEGER,
    updated_at INTEGER NOT NULL
) STRICT;

-- Records that a spool file should hold and does not; folding stops there until a person accepts the gap.
CREATE TABLE spool_gaps (
    stream      BLOB NOT NULL,
    after_seq   INTEGER NOT NULL,
    next_seq    INTEGER,
    found_at    INTEGER NOT NULL,
    accepted_at INTEGER,
    PRIMARY KEY (stream, after_seq)
) STRICT;

-- The tail: clicks as rows. No key and no index: the cursor keeps them unique, and appending stays cheap.
-- No foreign key either: a click outlives its link.
CREATE TABLE clicks (
    workspace_id INTEGER NOT NULL,
    link_id      INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    reason       INTEGER NOT NULL,
    visitor      INTEGER NOT NULL,
    stream       INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    facts        BLOB NOT NULL
) STRICT;

-- Records that no longer decode, kept for inspection.
CREATE TABLE clicks_dead (
    stream   BLOB NOT NULL,
    seq      INTEGER NOT NULL,
    found_at INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    record   BLOB NOT NULL,
    PRIMARY KEY (stream, seq)
) STRICT;

-- Redirects that were answered although no store took the click.
CREATE TABLE clicks_unrecorded (
    day    INTEGER NOT NULL,
    reason TEXT NOT NULL,
    clicks INTEGER NOT NULL,
    PRIMARY KEY (day, reason)
) STRICT;

-- Keys of the visitor hashes; a row is destroyed when its epoch is over.
CREATE TABLE visitor_salts (
    epoch      TEXT PRIMARY KEY,
    salt       BLOB NOT NULL,
    ends_at    INTEGER NOT NULL
) STRICT;
