//! A destination as text, as Redis keeps it.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicI64};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Destination;
use crate::links::redirect_status;
use crate::model::{LinkId, LinkState, TargetUrl, Timestamp, VisitorEpoch, WorkspaceId};

/// The form of what follows it. Whoever does not know it, or finds it damaged, goes to the database:
/// change it whenever a field is added or means something else.
const FORM: &str = "2";
const MAX_TARGET_BYTES: usize = 8_192;

// Short names: there are many of these.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<'a> {
    #[serde(rename = "i")]
    link: i64,
    #[serde(rename = "w")]
    workspace: i64,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    visitor_epoch: Option<VisitorEpoch>,
    #[serde(rename = "v")]
    version: i64,
    #[serde(rename = "s")]
    state: LinkState,
    #[serde(rename = "t", borrow)]
    target: Cow<'a, str>,
    #[serde(rename = "r")]
    status: u16,
    #[serde(rename = "q")]
    forward_query: bool,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    starts_at: Option<i64>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    max_clicks: Option<i64>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none", borrow)]
    title: Option<Cow<'a, str>>,
    #[serde(rename = "u")]
    updated_at: i64,
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    used_up: bool,
}

impl Destination {
    /// This destination as text; `None` where it holds what Redis must not see.
    pub(super) fn kept(&self) -> Option<String> {
        // Each field by its name: whoever adds one decides here whether it may leave the database. A
        // password's hash, for one, may not: such links stay out.
        let Self {
            link,
            workspace,
            visitor_epoch,
            version,
            state,
            target,
            location: _,
            status,
            forward_query,
            starts_at,
            expires_at,
            max_clicks,
            title,
            updated_at,
            loaded_at: _,
            revalidating: _,
            used_up: _,
        } = self;
        let kept = Kept {
            link: link.number(),
            workspace: workspace.number(),
            visitor_epoch: *visitor_epoch,
            version: *version,
            state: *state,
            target: target.as_str().into(),
            status: status.code(),
            forward_query: *forward_query,
            starts_at: starts_at.map(Timestamp::as_millis),
            expires_at: expires_at.map(Timestamp::as_millis),
            max_clicks: *max_clicks,
            title: title.as_deref().map(Into::into),
            updated_at: updated_at.as_millis(),
            used_up: self.is_used_up(),
        };
        let text = serde_json::to_string(&kept).ok()?;
        Some(format!("{FORM}{text}"))
    }

    /// The destination that was kept as `text`, read from the database at `loaded_at`; `None` when the
    /// text is damaged or of another release.
    pub(super) fn from_kept(text: &str, loaded_at: Timestamp) -> Option<Self> {
        let kept: Kept<'_> = serde_json::from_str(text.strip_prefix(FORM)?).ok()?;
        let target = kept.target.into_owned();
        // It goes into a header as it is.
        let fits = target.len() <= MAX_TARGET_BYTES && target.bytes().all(|b| b.is_ascii_graphic());
        if !fits || target.is_empty() || kept.version < 1 {
            return None;
        }
        Some(Self {
            link: LinkId::from_number(kept.link),
            workspace: WorkspaceId::from_number(kept.workspace),
            visitor_epoch: kept.visitor_epoch,
            version: kept.version,
            state: kept.state,
            location: Bytes::copy_from_slice(target.as_bytes()),
            target: TargetUrl::from_stored(target),
            status: redirect_status(i64::from(kept.status)),
            forward_query: kept.forward_query,
            starts_at: kept.starts_at.map(Timestamp::from_millis),
            expires_at: kept.expires_at.map(Timestamp::from_millis),
            max_clicks: kept.max_clicks,
            title: kept.title.map(Into::into),
            updated_at: Timestamp::from_millis(kept.updated_at),
            loaded_at: AtomicI64::new(loaded_at.as_millis()),
            revalidating: AtomicBool::new(false),
            used_up: AtomicBool::new(kept.used_up),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::version;
    use super::*;

    #[test]
    fn a_destination_is_read_as_it_was_kept() {
        let mut row = version(7);
        row.title = Some("A \"title\" — ünïcode".to_owned());
        row.starts_at = Some(Timestamp::from_millis(1));
        row.expires_at = Some(Timestamp::MAX);
        row.max_clicks = Some(3);
        row.humans = 3;
        row.redirect_status = 308;
        row.state = LinkState::Blocked;
        row.visitor_epoch = Some(VisitorEpoch::Day);
        let at = Timestamp::from_millis(1_000);
        let (plain, full) = (Destination::of(&version(1), at), Destination::of(&row, at));
        for destination in [plain, full] {
            let text = destination.kept().unwrap();
            let read = Destination::from_kept(&text, at).unwrap();
            assert_eq!(format!("{read:?}"), format!("{destination:?}"));
        }
    }

    #[test]
    fn what_is_damaged_or_of_another_release_is_not_read() {
        let at = Timestamp::MIN;
        let text = Destination::of(&version(1), at).kept().unwrap();
        for end in 0..text.len() {
            assert!(text.is_char_boundary(end));
            assert!(Destination::from_kept(&text[..end], at).is_none(), "{end}");
        }
        for other in [
            text.replacen(FORM, "1", 1),
            text.replace("https://example.com/", ""),
            text.replace("https://example.com/", "https://example.com/ a"),
            text.replace("https://example.com/", "https://example.com/\\r\\nx: y"),
            text.replace('}', r#","later":1}"#),
            text.replace(r#""v":1"#, r#""v":0"#),
        ] {
            assert!(Destination::from_kept(&other, at).is_none(), "{other}");
        }
    }
}
