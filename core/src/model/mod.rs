//! The words of the domain, pure: no SQL, no files, no clock of their own.

mod account;
mod entropy;
mod field_error;
mod ids;
mod link;
mod slug;
mod target;
mod time;

pub use account::{FirstAdmin, Grant, InstanceRole, NewUser, Principal, User};
pub use entropy::{Entropy, OsEntropy, SeededEntropy, random_bytes};
pub use field_error::FieldError;
pub use ids::{DomainId, Id, LinkId, MalformedId, SessionId, UserId, WorkspaceId, kinds};
pub(crate) use link::LinkState;
pub use link::{
    Change, Link, LinkChanges, LinkFilter, LinkStatus, MAX_CLICK_LIMIT, MAX_NOTES_CHARS,
    MAX_TAG_CHARS, MAX_TAGS, MAX_TITLE_CHARS, NewLink, Page, RedirectStatus,
};
pub use slug::{FoldedSlug, MAX_SLUG_BYTES, RESERVED, Slug, slug_from_path};
pub use target::{MAX_TARGET_BYTES, QueryTooLong, TargetPolicy, TargetUrl};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
