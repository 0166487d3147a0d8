//! What nodes tell each other.

use serde::{Deserialize, Serialize};

use crate::model::{DomainId, WorkspaceId};

/// Something that another node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Some were missed: whatever memory has may be old.
    Anything,
    /// A link has this version now.
    Link {
        domain: DomainId,
        slug: Box<str>,
        version: i64,
        text: Option<String>,
    },
    /// A link may have changed.
    PerhapsLink { domain: DomainId, slug: Box<str> },
    /// All links of a workspace changed.
    Workspace(WorkspaceId),
    /// Who may do what changed.
    Authorization,
}

/// Their form on the wire.
#[derive(Serialize, Deserialize)]
struct Message {
    from: u64,
    news: Wire,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Wire {
    Anything,
    Link {
        domain: i64,
        slug: Box<str>,
        version: i64,
        text: Option<String>,
    },
    PerhapsLink {
        domain: i64,
        slug: Box<str>,
    },
    Workspace(i64),
    Authorization,
}

impl News {
    pub(super) fn message(&self, from: u64) -> String {
        let news = match self.clone() {
            Self::Anything => Wire::Anything,
            Self::Link {
                domain,
                slug,
                version,
                text,
            } => Wire::Link {
                domain: domain.number(),
                slug,
                version,
                text,
            },
            Self::PerhapsLink { domain, slug } => Wire::PerhapsLink {
                domain: domain.number(),
                slug,
            },
            Self::Workspace(workspace) => Wire::Workspace(workspace.number()),
            Self::Authorization => Wire::Authorization,
        };
        // What cannot be written, which nothing here is, makes whoever reads it ask again.
        serde_json::to_string(&Message { from, news }).unwrap_or_default()
    }

    /// News from somebody else than `node`. What cannot be read comes from another release, and says
    /// that something changed.
    pub(super) fn heard(message: &[u8], node: u64) -> Option<Self> {
        let Ok(message) = serde_json::from_slice::<Message>(message) else {
            return Some(Self::Anything);
        };
        (message.from != node).then(|| match message.news {
            Wire::Anything => Self::Anything,
            Wire::Link {
                domain,
                slug,
                version,
                text,
            } => Self::Link {
                domain: DomainId::from_number(domain),
                slug,
                version,
                text,
            },
            Wire::PerhapsLink { domain, slug } => Self::PerhapsLink {
                domain: DomainId::from_number(domain),
                slug,
            },
            Wire::Workspace(workspace) => Self::Workspace(WorkspaceId::from_number(workspace)),
            Wire::Authorization => Self::Authorization,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_heard_as_they_were_told_and_not_by_whoever_told_them() {
        let (domain, slug) = (DomainId::from_number(7), Box::from("launch"));
        for news in [
            News::Anything,
            News::Link {
                domain,
                slug,
                version: 3,
                text: Some("text".to_owned()),
            },
            News::PerhapsLink {
                domain,
                slug: "launch".into(),
            },
            News::Workspace(WorkspaceId::from_number(9)),
            News::Authorization,
        ] {
            let message = news.message(1);
            assert_eq!(News::heard(message.as_bytes(), 2), Some(news));
            assert_eq!(News::heard(message.as_bytes(), 1), None);
        }
    }

    #[test]
    fn what_cannot_be_read_says_that_something_changed() {
        for message in [
            &b""[..],
            b"\xff",
            b"{}",
            br#"{"from":1,"news":"later"}"#,
            br#"{"from":1,"news":{"link":{"domain":1}}}"#,
        ] {
            assert_eq!(News::heard(message, 2), Some(News::Anything));
        }
    }
}
