-- The tail: clicks as the folder brings them, those of one workspace and one fold in one parcel.
-- The key is the stream and seq of its first click, which no other parcel has.
-- No foreign key: a click outlives its link. `clicks` is left behind empty: opening moves its rows here.
CREATE TABLE tail (
    workspace_id BIGINT NOT NULL,
    stream       BIGINT NOT NULL,
    seq          BIGINT NOT NULL,
    click_count  BIGINT NOT NULL,
    first_at     BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    records      BYTEA NOT NULL,
    PRIMARY KEY (workspace_id, stream, seq)
);

-- Sealed clicks of one workspace and one UTC day; what is known of them without their columns.
-- Ids are never given twice: whoever reads the columns of an id reads these clicks or none.
CREATE TABLE chunks (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id BIGINT NOT NULL,
    day          BIGINT NOT NULL,
    column_count BIGINT NOT NULL,
    row_count    BIGINT NOT NULL,
    first_at     BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    humans       BIGINT NOT NULL,
    bots         BIGINT NOT NULL,
    previews     BIGINT NOT NULL,
    detail       BOOLEAN NOT NULL,
    sealed_at    BIGINT NOT NULL,
    replaced_at  BIGINT
);

CREATE INDEX chunks_by_day ON chunks (workspace_id, day) WHERE replaced_at IS NULL;
CREATE INDEX chunks_replaced ON chunks (replaced_at) WHERE replaced_at IS NOT NULL;

-- The columns of chunks: id is 64 times the chunk's, plus the column's number.
CREATE TABLE chunk_columns (
    id     BIGINT PRIMARY KEY,
    counts BYTEA NOT NULL,
    data   BYTEA
);

-- They are compressed already.
ALTER TABLE chunk_columns ALTER COLUMN counts SET STORAGE EXTERNAL;
ALTER TABLE chunk_columns ALTER COLUMN data SET STORAGE EXTERNAL;
ALTER TABLE tail ALTER COLUMN records SET STORAGE EXTERNAL;

-- Parcels leave the tail as fast as they come, and small chunks give way to large ones: the room of both
-- is used again soon, instead of once a fifth of a table is dead.
ALTER TABLE tail SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 5000,
    toast.autovacuum_vacuum_scale_factor = 0,
    toast.autovacuum_vacuum_threshold = 5000
);
ALTER TABLE chunk_columns SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 5000
);

-- For how long every single click is kept; for ever when NULL.
ALTER TABLE workspaces ADD COLUMN retention_days BIGINT;

-- `month` or `day`: for how long one visitor has one hash; as the installation says when NULL.
ALTER TABLE workspaces ADD COLUMN visitor_epoch TEXT;
