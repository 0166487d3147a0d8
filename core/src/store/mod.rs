//! All SQL, written once for SQLite and PostgreSQL.

pub(crate) mod accounts;
pub(crate) mod audit;
mod backup;
pub(crate) mod chunks;
pub(crate) mod click_reports;
mod click_rows;
pub(crate) mod clicks;
mod database;
pub(crate) mod departures;
pub(crate) mod domains;
pub(crate) mod erasure;
mod error;
pub(crate) mod idempotency;
pub(crate) mod invitations;
pub(crate) mod jobs;
pub(crate) mod keys;
mod link_list;
pub(crate) mod links;
pub(crate) mod mail_subjects;
pub(crate) mod mailed_tokens;
pub(crate) mod members;
mod migrate;
pub(crate) mod passwords;
pub(crate) mod registrations;
mod retention;
pub(crate) mod roles;
pub(crate) mod salts;
pub(crate) mod sealed;
pub(crate) mod sessions;
mod silence;
pub(crate) mod standings;
mod storage;
pub(crate) mod streams;
pub(crate) mod workspaces;

pub(crate) use database::{
    DATABASE_PATIENCE, Db, PoolPurpose, Store, in_snapshot, in_tx, is_alone, with_db, within,
};
pub use database::{DatabaseUrl, DatabaseUrlError};
pub use error::StoreError;
pub(crate) use link_list::like_pattern;
pub use migrate::{MigrationState, MigrationStatus};
pub use storage::StorageReport;
