-- Facts about this installation, such as the public URL it was made for.
CREATE TABLE settings (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE users (
    id            BIGINT PRIMARY KEY,
    email         TEXT COLLATE "C" NOT NULL,
    email_key     TEXT COLLATE "C" NOT NULL UNIQUE,
    name          TEXT COLLATE "C",
    password_hash TEXT COLLATE "C" NOT NULL,
    role          TEXT COLLATE "C" NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);

CREATE TABLE workspaces (
    id         BIGINT PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE memberships (
    workspace_id BIGINT NOT NULL REFERENCES workspaces (id),
    user_id      BIGINT NOT NULL REFERENCES users (id),
    role         TEXT COLLATE "C" NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, user_id)
);

CREATE INDEX memberships_by_user ON memberships (user_id, created_at);

CREATE TABLE sessions (
    id         BIGINT PRIMARY KEY,
    user_id    BIGINT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at   BIGINT
);

-- Only digests: a stolen copy of this table signs nobody in.
CREATE TABLE refresh_tokens (
    digest     BYTEA PRIMARY KEY,
    session_id BIGINT NOT NULL REFERENCES sessions (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT
);

CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session_id);

CREATE TABLE domains (
    id         BIGINT PRIMARY KEY,
    host       TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

-- A deleted link stays as a row: its slug is retired and never issued again.
CREATE TABLE links (
    id              BIGINT PRIMARY KEY,
    workspace_id    BIGINT NOT NULL REFERENCES workspaces (id),
    domain_id       BIGINT NOT NULL REFERENCES domains (id),
    slug            TEXT COLLATE "C" NOT NULL,
    slug_key        TEXT COLLATE "C" NOT NULL,
    target_url      TEXT COLLATE "C" NOT NULL,
    title           TEXT COLLATE "C",
    notes           TEXT COLLATE "C",
    state           TEXT COLLATE "C" NOT NULL,
    redirect_status SMALLINT NOT NULL,
    forward_query   BOOLEAN NOT NULL,
    starts_at       BIGINT,
    expires_at      BIGINT,
    max_clicks      BIGINT,
    version         BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    created_by      BIGINT,
    UNIQUE (domain_id, slug_key)
);

CREATE INDEX links_by_workspace ON links (workspace_id, created_at, id);

CREATE TABLE link_tags (
    link_id BIGINT NOT NULL REFERENCES links (id),
    tag     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (link_id, tag)
);

CREATE INDEX link_tags_by_tag ON link_tags (tag, link_id);

-- How often each link was clicked, per kind. Apart from links, so that counting never rewrites a link.
CREATE TABLE link_counters (
    link_id         BIGINT PRIMARY KEY,
    workspace_id    BIGINT NOT NULL,
    humans          BIGINT NOT NULL,
    bots            BIGINT NOT NULL,
    previews        BIGINT NOT NULL,
    last_clicked_at BIGINT
);

-- The cursor of each spool stream: what was folded, exactly.
CREATE TABLE spool_streams (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream     BYTEA NOT NULL UNIQUE,
    seq        BIGINT NOT NULL,
    limit_seq  BIGINT,
    updated_at BIGINT NOT NULL
);

-- Records that a spool file should hold and does not; folding stops there until a person accepts the gap.
CREATE TABLE spool_gaps (
    stream      BYTEA NOT NULL,
    after_seq   BIGINT NOT NULL,
    next_seq    BIGINT,
    found_at    BIGINT NOT NULL,
    accepted_at BIGINT,
    PRIMARY KEY (stream, after_seq)
);

-- The tail: clicks as rows. No key and no index: the cursor keeps them unique, and appending stays cheap.
-- No foreign key either: a click outlives its link.
CREATE TABLE clicks (
    workspace_id BIGINT NOT NULL,
    link_id      BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    kind         SMALLINT NOT NULL,
    reason       SMALLINT NOT NULL,
    visitor      BIGINT NOT NULL,
    stream       BIGINT NOT NULL,
    seq          BIGINT NOT NULL,
    facts        BYTEA NOT NULL
);

-- Records that no longer decode, kept for inspection.
CREATE TABLE clicks_dead (
    stream   BYTEA NOT NULL,
    seq      BIGINT NOT NULL,
    found_at BIGINT NOT NULL,
    version  SMALLINT NOT NULL,
    record   BYTEA NOT NULL,
    PRIMARY KEY (stream, seq)
);

-- Redirects that were answered although no store took the click.
CREATE TABLE clicks_unrecorded (
    day    BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    clicks BIGINT NOT NULL,
    PRIMARY KEY (day, reason)
);

-- Keys of the visitor hashes; a row is destroyed when its epoch is over.
CREATE TABLE visitor_salts (
    epoch      TEXT COLLATE "C" PRIMARY KEY,
    salt       BYTEA NOT NULL,
    ends_at    BIGINT NOT NULL
);
