//! The words of the domain, pure: no SQL, no files, no clock of their own.

mod account;
mod actor;
mod dimension;
mod email;
mod entropy;
mod field_error;
mod ids;
mod job;
mod link;
mod permission;
mod slug;
mod target;
mod time;
mod visitor_epoch;
mod workspace;

pub use account::{
    Credential, FirstAdmin, Grant, InstanceRole, NewUser, Principal, User, UserStatus,
};
pub use actor::{Actor, Origin};
pub use dimension::{Dimension, Fact, UnknownDimension};
pub(crate) use email::{check_email, email_key};
pub use entropy::{Entropy, OsEntropy, SeededEntropy, random_bytes};
pub use field_error::FieldError;
pub use ids::{
    ApiKeyId, DomainId, Id, InvitationId, JobId, LinkId, MalformedId, RegistrationId, SessionId,
    UserId, WorkspaceId, kinds,
};
pub use job::{Job, JobFilter, JobState};
pub(crate) use link::LinkState;
pub use link::{
    Change, Link, LinkChanges, LinkFilter, LinkStatus, MAX_CLICK_LIMIT, MAX_NOTES_CHARS,
    MAX_TAG_CHARS, MAX_TAGS, MAX_TITLE_CHARS, NewLink, Page, RedirectStatus,
};
pub(crate) use permission::built_in_role;
pub use permission::{BUILT_IN_ROLES, OWNER_ROLE, Permission, Permissions, Role};
pub use slug::{FoldedSlug, MAX_SLUG_BYTES, RESERVED, Slug, slug_from_path};
pub use target::{MAX_TARGET_BYTES, QueryTooLong, TargetPolicy, TargetUrl};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use visitor_epoch::VisitorEpoch;
pub use workspace::{Invitation, Member, Workspace, WorkspaceChanges};
