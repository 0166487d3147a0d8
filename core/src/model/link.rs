//! A link as its owner sees it, and what may be asked of it.

use std::fmt;

use crate::model::{FieldError, LinkId, Timestamp, UserId, WorkspaceId};

/// Longest title in characters.
pub const MAX_TITLE_CHARS: usize = 255;
/// Longest notes in characters.
pub const MAX_NOTES_CHARS: usize = 4_000;
/// Most tags on one link.
pub const MAX_TAGS: usize = 20;
/// Longest tag in characters.
pub const MAX_TAG_CHARS: usize = 50;
/// Highest `max_clicks`.
pub const MAX_CLICK_LIMIT: i64 = 1_000_000_000;

/// A (domain, slug) pair with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub id: LinkId,
    pub workspace: WorkspaceId,
    /// What people click, as in `https://go.example/launch`.
    pub short_url: String,
    pub domain: String,
    pub slug: String,
    pub target_url: String,
    pub title: Option<String>,
    pub notes: Option<String>,
    /// Sorted, without repetition.
    pub tags: Vec<String>,
    pub status: LinkStatus,
    pub redirect_status: RedirectStatus,
    pub forward_query: bool,
    pub starts_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub max_clicks: Option<i64>,
    /// Folded clicks of kind human.
    pub clicks: i64,
    pub last_clicked_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: Option<UserId>,
}

/// What a link would do if it were clicked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStatus {
    Active,
    /// `starts_at` lies ahead.
    Scheduled,
    /// `expires_at` is reached.
    Expired,
    /// `max_clicks` are used up.
    Exhausted,
    /// Switched off by its owner.
    Disabled,
    /// Switched off by an administrator.
    Blocked,
}

impl LinkStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [
        Self::Active,
        Self::Scheduled,
        Self::Expired,
        Self::Exhausted,
        Self::Disabled,
        Self::Blocked,
    ];

    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Scheduled => "scheduled",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Disabled => "disabled",
            Self::Blocked => "blocked",
        }
    }

    pub(crate) fn parse(field: &'static str, text: &str) -> Result<Self, FieldError> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| {
                FieldError::new(
                    field,
                    "status_unknown",
                    "must be active, scheduled, expired, exhausted, disabled or blocked",
                )
            })
    }
}

/// What is stored of a link's status; the rest follows from the clock and the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type, serde::Serialize, serde::Deserialize)]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub(crate) enum LinkState {
    Active,
    Disabled,
    Blocked,
    Deleted,
}

/// The status code of a redirect (RFC 9110, section 15.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectStatus {
    MovedPermanently,
    #[default]
    Found,
    SeeOther,
    TemporaryRedirect,
    PermanentRedirect,
}

impl RedirectStatus {
    /// The number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }

    /// Whether browsers may keep the answer (301 and 308).
    pub const fn is_permanent(self) -> bool {
        matches!(self, Self::MovedPermanently | Self::PermanentRedirect)
    }

    pub(crate) const fn from_code(code: u16) -> Option<Self> {
        match code {
            301 => Some(Self::MovedPermanently),
            302 => Some(Self::Found),
            303 => Some(Self::SeeOther),
            307 => Some(Self::TemporaryRedirect),
            308 => Some(Self::PermanentRedirect),
            _ => None,
        }
    }

    pub(crate) fn parse(field: &'static str, code: u16) -> Result<Self, FieldError> {
        Self::from_code(code).ok_or_else(|| {
            FieldError::new(
                field,
                "redirect_status_unknown",
                "must be 301, 302, 303, 307 or 308",
            )
        })
    }
}

impl fmt::Display for RedirectStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code())
    }
}

/// A link to be made, as somebody typed it; creation checks every field and names all that it refuses.
#[derive(Clone, Debug, Default)]
pub struct NewLink {
    pub target_url: String,
    /// The wanted alias; generated when absent.
    pub slug: Option<String>,
    /// The host of the short URL; the primary one when absent.
    pub domain: Option<String>,
    pub title: Option<String>,
    pub notes: Option<String>,
    pub tags: Vec<String>,
    pub redirect_status: Option<u16>,
    /// Whether the visitor's query is added to the target's; true when absent.
    pub forward_query: Option<bool>,
    pub starts_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub max_clicks: Option<i64>,
    /// Fields that could not even be read; refused together with what creation refuses.
    pub unreadable: Vec<FieldError>,
}

impl NewLink {
    /// A link to `target_url` with a generated slug.
    pub fn to(target_url: impl Into<String>) -> Self {
        Self {
            target_url: target_url.into(),
            ..Self::default()
        }
    }

    /// The same link with a slug of one's own choice.
    #[must_use]
    pub fn alias(mut self, slug: impl Into<String>) -> Self {
        self.slug = Some(slug.into());
        self
    }
}

/// What happens to one field of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It becomes unset.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T> Change<T> {
    pub(crate) fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// Changes to a link; what is not named stays.
#[derive(Clone, Debug, Default)]
pub struct LinkChanges {
    pub target_url: Option<String>,
    pub title: Change<String>,
    pub notes: Change<String>,
    pub tags: Option<Vec<String>>,
    pub redirect_status: Option<u16>,
    pub forward_query: Option<bool>,
    pub starts_at: Change<Timestamp>,
    pub expires_at: Change<Timestamp>,
    pub max_clicks: Change<i64>,
    /// `active`, `disabled` or, with `may_block`, `blocked`.
    pub status: Option<String>,
    /// Whether whoever asks may block and unblock.
    pub may_block: bool,
    /// Whether whoever asks may do nothing but that.
    pub only_block: bool,
    /// Fields that could not even be read; refused together with what the change refuses.
    pub unreadable: Vec<FieldError>,
}

/// Which links a list shows, and in which order.
#[derive(Clone, Debug, Default)]
pub struct LinkFilter {
    /// Part of the slug, target, title or notes, in any case of ASCII letters.
    pub search: Option<String>,
    pub tag: Option<String>,
    pub domain: Option<String>,
    pub status: Option<String>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    /// `created_at` (default), `updated_at`, `clicks` or `slug`.
    pub sort: Option<String>,
    /// `desc` (default) or `asc`.
    pub order: Option<String>,
    /// 1 to 200, default 50.
    pub limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filter and order.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub next_cursor: Option<String>,
}
