//! All SQL, written once for SQLite and PostgreSQL.

pub(crate) mod accounts;
mod append;
pub(crate) mod click_reports;
pub(crate) mod clicks;
mod database;
pub(crate) mod domains;
mod error;
mod link_list;
pub(crate) mod links;
mod migrate;
pub(crate) mod salts;
pub(crate) mod streams;

pub(crate) use database::{
    DATABASE_PATIENCE, Db, PoolPurpose, Store, in_snapshot, in_tx, with_db, within,
};
pub use database::{DatabaseUrl, DatabaseUrlError};
pub use error::StoreError;
pub use migrate::{MigrationState, MigrationStatus};
