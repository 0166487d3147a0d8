-- `Tools::migrate_down` has moved all clicks back into `clicks`.
ALTER TABLE workspaces DROP COLUMN visitor_epoch;
ALTER TABLE workspaces DROP COLUMN retention_days;
DROP TABLE chunk_columns;
DROP TABLE chunks;
DROP TABLE tail;
