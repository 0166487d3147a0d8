//! Short links with exact click analytics, as a library: no web framework, no server, no global
//! state.
//!
//! ```no_run
//! # async fn demo() -> Result<(), Box<dyn std::error::Error>> {
//! use terse_core::model::NewLink;
//! use terse_core::{Resolution, Terse};
//!
//! # let workspace = todo!();
//! # let facts = todo!();
//! let terse = Terse::builder().sqlite("links.db").open().await?;
//! let new = NewLink::to("https://example.com/a").alias("launch");
//! let link = terse.links().create(&workspace, new).await?;
//! match terse.resolve("localhost", "/launch", &facts).await? {
//!     Resolution::Redirect(redirect) => println!("{:?}", redirect.location),
//!     other => println!("{other:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Data flows one way: a request, the domain, the store. [`model`] holds the words, `store` holds
//! all SQL, and the services between them are [`Links`], [`Accounts`], [`Workspaces`],
//! [`Analytics`], and the way of a click: resolver, classification, spool, folder.

pub mod accounts;
pub mod analytics;
pub mod audit;
mod backup;
mod capture;
pub mod classify;
mod click;
mod columns;
mod complaint;
mod failpoint;
mod folder;
pub mod jobs;
pub mod links;
mod live;
pub mod mail;
pub mod model;
mod neighbours;
mod paging;
pub mod place;
mod redirect;
mod resolver;
mod sealer;
pub mod shared;
mod site;
pub mod spool;
mod store;
mod terse;
mod tools;
mod verify;
mod visitor_salts;
pub mod workspaces;

pub use accounts::Accounts;
pub use analytics::Analytics;
pub use audit::AuditLog;
pub use backup::BackupError;
pub use capture::OnUnrecordable;
pub use complaint::Complaint;
pub use folder::{ShipError, ShippedStream};
pub use jobs::Jobs;
pub use links::Links;
pub use mail::Mailer;
pub use model::VisitorEpoch;
pub use redirect::{GoneReason, Preview, Redirect, Resolution, ResolveError};
pub use sealer::{RetentionReport, Sealing};
pub use site::PublicUrlError;

pub use store::StorageReport;
pub use store::{DatabaseUrl, DatabaseUrlError, MigrationState, MigrationStatus, StoreError};
pub use terse::{NotReady, OpenError, Status, Terse, TerseBuilder};
pub use tools::Tools;
pub use verify::{Damage, Difference, VerifyReport};
pub use workspaces::Workspaces;
