//! The words of the domain, pure: no SQL, no files, no clock of their own.

mod entropy;
mod field_error;
mod ids;
mod time;

pub use entropy::{Entropy, OsEntropy, SeededEntropy, random_bytes};
pub use field_error::FieldError;
pub use ids::{DomainId, Id, LinkId, MalformedId, SessionId, UserId, WorkspaceId, kinds};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
