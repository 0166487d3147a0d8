-- The tail: clicks as the folder brings them, those of one workspace and one fold in one parcel.
-- The key is the stream and seq of its first click, which no other parcel has.
-- No foreign key: a click outlives its link. `clicks` is left behind empty: opening moves its rows here.
CREATE TABLE tail (
    workspace_id INTEGER NOT NULL,
    stream       INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    click_count  INTEGER NOT NULL,
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    records      BLOB NOT NULL,
    PRIMARY KEY (workspace_id, stream, seq)
) STRICT;

-- Sealed clicks of one workspace and one UTC day; what is known of them without their columns.
-- Ids are never given twice: whoever reads the columns of an id reads these clicks or none.
CREATE TABLE chunks (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace_id INTEGER NOT NULL,
    day          INTEGER NOT NULL,
    column_count INTEGER NOT NULL,
    row_count    INTEGER NOT NULL,
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL,
    humans       INTEGER NOT NULL,
    bots         INTEGER NOT NULL,
    previews     INTEGER NOT NULL,
    detail       INTEGER NOT NULL,
    sealed_at    INTEGER NOT NULL,
    replaced_at  INTEGER
) STRICT;

CREATE INDEX chunks_by_day ON chunks (workspace_id, day) WHERE replaced_at IS NULL;
CREATE INDEX chunks_replaced ON chunks (replaced_at) WHERE replaced_at IS NOT NULL;

-- The columns of chunks: id is 64 times the chunk's, plus the column's number.
CREATE TABLE chunk_columns (
    id     INTEGER PRIMARY KEY,
    counts BLOB NOT NULL,
    data   BLOB
) STRICT;

-- For how long every single click is kept; for ever when NULL.
ALTER TABLE workspaces ADD COLUMN retention_days INTEGER;

-- `month` or `day`: for how long one visitor has one hash; as the installation says when NULL.
ALTER TABLE workspaces ADD COLUMN visitor_epoch TEXT;
