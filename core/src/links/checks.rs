//! What is refused of a new or changed link: every field is looked at before the answer is given.

use crate::links::{LinkError, redirect_status};
use crate::model::{
    FieldError, LinkChanges, LinkState, LinkStatus, MAX_CLICK_LIMIT, MAX_NOTES_CHARS,
    MAX_TAG_CHARS, MAX_TAGS, MAX_TITLE_CHARS, NewLink, RedirectStatus, Slug, TargetPolicy,
    TargetUrl, Timestamp,
};
use crate::site::Site;
use crate::store::links::LinkRow;

/// A new link whose fields are in order.
pub(super) struct Draft {
    pub(super) target: TargetUrl,
    pub(super) slug: Option<Slug>,
    pub(super) title: Option<String>,
    pub(super) notes: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) redirect_status: RedirectStatus,
}

/// The fields of a link that can be refused, in the order in which refusals are told.
const FIELDS: [&str; 11] = [
    "target_url",
    "slug",
    "domain",
    "title",
    "notes",
    "tags",
    "redirect_status",
    "starts_at",
    "expires_at",
    "max_clicks",
    "status",
];

/// Collects refusals, so that one answer names them all.
struct Refusals(Vec<FieldError>);

impl Refusals {
    fn keep<T>(&mut self, result: Result<T, FieldError>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    fn into_error(mut self) -> LinkError {
        let place = |error: &FieldError| FIELDS.iter().position(|field| *field == error.field);
        self.0.sort_by_key(place);
        LinkError::Refused(self.0)
    }
}

pub(super) fn draft(new: &NewLink, site: &Site, policy: &TargetPolicy) -> Result<Draft, LinkError> {
    let mut refusals = Refusals(new.unreadable.clone());
    let target = refusals.keep(TargetUrl::parse("target_url", &new.target_url, policy));
    let slug = new
        .slug
        .as_deref()
        .map(|slug| refusals.keep(Slug::parse("slug", slug)));
    if let Some(domain) = &new.domain {
        refusals.keep(domain_known(domain, site));
    }
    let title = refusals.keep(title(new.title.clone()));
    let notes = refusals.keep(notes(new.notes.clone()));
    let tags = refusals.keep(tags(new.tags.clone()));
    let redirect_status = refusals.keep(
        new.redirect_status
            .map_or(Ok(RedirectStatus::default()), |code| {
                RedirectStatus::parse("redirect_status", code)
            }),
    );
    refusals.keep(max_clicks(new.max_clicks));
    refusals.keep(window(new.starts_at, new.expires_at));
    match (target, slug, title, notes, tags, redirect_status) {
        (Some(target), slug, Some(title), Some(notes), Some(tags), Some(redirect_status))
            if refusals.0.is_empty() =>
        {
            Ok(Draft {
                target,
                slug: slug.flatten(),
                title,
                notes,
                tags,
                redirect_status,
            })
        }
        _ => Err(refusals.into_error()),
    }
}

/// `current` with the changes made, or why they cannot be.
pub(super) fn apply(
    current: &LinkRow,
    changes: LinkChanges,
    policy: &TargetPolicy,
) -> Result<LinkRow, LinkError> {
    let mut refusals = Refusals(changes.unreadable);
    let mut row = current.clone();
    if let Some(target) = &changes.target_url
        && let Some(target) = refusals.keep(TargetUrl::parse("target_url", target, policy))
    {
        target.as_str().clone_into(&mut row.target_url);
    }
    if let Some(value) = refusals.keep(title(changes.title.apply(row.title.take()))) {
        row.title = value;
    }
    if let Some(value) = refusals.keep(notes(changes.notes.apply(row.notes.take()))) {
        row.notes = value;
    }
    if let Some(wanted) = changes.tags
        && let Some(value) = refusals.keep(tags(wanted))
    {
        row.tags = value;
    }
    if let Some(code) = changes.redirect_status
        && let Some(status) = refusals.keep(RedirectStatus::parse("redirect_status", code))
    {
        row.redirect_status = i64::from(status.code());
    }
    row.forward_query = changes.forward_query.unwrap_or(row.forward_query);
    row.starts_at = changes.starts_at.apply(row.starts_at);
    row.expires_at = changes.expires_at.apply(row.expires_at);
    row.max_clicks = changes.max_clicks.apply(row.max_clicks);
    refusals.keep(max_clicks(row.max_clicks));
    refusals.keep(window(row.starts_at, row.expires_at));
    let state = changes
        .status
        .as_deref()
        .and_then(|status| refusals.keep(wanted_state(status)));
    if !refusals.0.is_empty() {
        return Err(refusals.into_error());
    }
    let state = state.unwrap_or(row.state);
    let touches_block = (state == LinkState::Blocked) != (row.state == LinkState::Blocked);
    if touches_block && !changes.may_block {
        return Err(LinkError::MayNotBlock);
    }
    if changes.only_block && (row != *current || (state != row.state && !touches_block)) {
        return Err(LinkError::MayNotWrite);
    }
    row.state = state;
    debug_assert_eq!(
        i64::from(redirect_status(row.redirect_status).code()),
        row.redirect_status
    );
    Ok(row)
}

fn wanted_state(text: &str) -> Result<LinkState, FieldError> {
    match LinkStatus::parse("status", text)? {
        LinkStatus::Active => Ok(LinkState::Active),
        LinkStatus::Disabled => Ok(LinkState::Disabled),
        LinkStatus::Blocked => Ok(LinkState::Blocked),
        LinkStatus::Scheduled | LinkStatus::Expired | LinkStatus::Exhausted => {
            Err(FieldError::new(
                "status",
                "status_not_settable",
                "can be set to active, disabled or blocked; the others follow from times and clicks",
            ))
        }
    }
}

fn domain_known(domain: &str, site: &Site) -> Result<(), FieldError> {
    site.domain_of(domain).map(|_| ()).ok_or_else(|| {
        FieldError::new(
            "domain",
            "domain_unknown",
            "must be a domain that this server answers on",
        )
    })
}

/// Trims, and turns empty text into none.
fn text(
    field: &'static str,
    value: Option<String>,
    max_chars: usize,
    multiline: bool,
) -> Result<Option<String>, FieldError> {
    let Some(value) = value else { return Ok(None) };
    let value = value.trim();
    let unwanted = |c: char| c.is_control() && !(multiline && matches!(c, '\n' | '\r' | '\t'));
    if value.chars().any(unwanted) {
        return Err(FieldError::new(
            field,
            "text_control_character",
            "must not contain control characters",
        ));
    }
    if value.chars().count() > max_chars {
        return Err(FieldError::new(
            field,
            "text_too_long",
            format!("must be at most {max_chars} characters long"),
        ));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

fn title(value: Option<String>) -> Result<Option<String>, FieldError> {
    text("title", value, MAX_TITLE_CHARS, false)
}

fn notes(value: Option<String>) -> Result<Option<String>, FieldError> {
    text("notes", value, MAX_NOTES_CHARS, true)
}

fn tags(values: Vec<String>) -> Result<Vec<String>, FieldError> {
    let mut tags = Vec::with_capacity(values.len().min(MAX_TAGS));
    for value in values {
        let tag = text("tags", Some(value), MAX_TAG_CHARS, false)?
            .ok_or_else(|| FieldError::new("tags", "tag_empty", "must not contain empty tags"))?;
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        return Err(FieldError::new(
            "tags",
            "tags_too_many",
            format!("must be at most {MAX_TAGS} tags"),
        ));
    }
    Ok(tags)
}

fn max_clicks(value: Option<i64>) -> Result<(), FieldError> {
    match value {
        Some(value) if !(1..=MAX_CLICK_LIMIT).contains(&value) => Err(FieldError::new(
            "max_clicks",
            "max_clicks_out_of_range",
            format!("must be from 1 to {MAX_CLICK_LIMIT}"),
        )),
        _ => Ok(()),
    }
}

fn window(starts_at: Option<Timestamp>, expires_at: Option<Timestamp>) -> Result<(), FieldError> {
    match (starts_at, expires_at) {
        (Some(starts_at), Some(expires_at)) if expires_at <= starts_at => Err(FieldError::new(
            "expires_at",
            "expires_before_start",
            "must be later than starts_at",
        )),
        _ => Ok(()),
    }
}
