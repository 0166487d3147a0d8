//! Reading a list's filters, and the cursors between its pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::links::LinkError;
use crate::model::{FieldError, LinkFilter, LinkId, LinkStatus, Timestamp};
use crate::paging;
use crate::store::links::{LinkColumn, LinkOrder, LinkRow, LinkSelection, SortValue};

const MAX_SEARCH_CHARS: usize = 255;

/// Where a page begins, as the client carries it: meaningful only with the same order.
#[derive(Serialize, Deserialize)]
struct Cursor {
    sort: String,
    desc: bool,
    value: SortValue,
    id: String,
}

pub(super) struct ListQuery {
    pub(super) selection: LinkSelection,
    sort: &'static str,
    limit: usize,
}

impl ListQuery {
    pub(super) fn parse(filter: LinkFilter, now: Timestamp) -> Result<Self, LinkError> {
        let mut refused = Vec::new();
        let mut keep = |error: FieldError| refused.push(error);
        let limit = paging::limit(filter.limit).unwrap_or_else(|error| {
            keep(error);
            1
        });
        let (column, sort) = column(filter.sort.as_deref()).unwrap_or_else(|error| {
            keep(error);
            (LinkColumn::CreatedAt, "created_at")
        });
        let descending = descending(filter.order.as_deref()).unwrap_or_else(|error| {
            keep(error);
            true
        });
        let status = filter
            .status
            .as_deref()
            .and_then(|status| LinkStatus::parse("status", status).map_err(&mut keep).ok());
        for (field, value) in [
            ("search", &filter.search),
            ("tag", &filter.tag),
            ("domain", &filter.domain),
        ] {
            if let Some(value) = value {
                plain(field, value).unwrap_or_else(&mut keep);
            }
        }
        let after = filter.cursor.as_deref().and_then(|cursor| {
            read_cursor(cursor, column, sort, descending)
                .map_err(&mut keep)
                .ok()
        });
        if !refused.is_empty() {
            return Err(LinkError::Refused(refused));
        }
        Ok(Self {
            selection: LinkSelection {
                search: filter.search.filter(|search| !search.is_empty()),
                tag: filter.tag,
                host: filter.domain.map(|host| host.to_ascii_lowercase()),
                status,
                created_after: filter.created_after,
                created_before: filter.created_before,
                order: LinkOrder {
                    column,
                    descending,
                    after,
                },
                limit: paging::one_more(limit),
                now,
            },
            sort,
            limit,
        })
    }

    /// The rows of this page, and the cursor of the next if there is one.
    pub(super) fn page(&self, mut rows: Vec<LinkRow>) -> (Vec<LinkRow>, Option<String>) {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = rows.last().filter(|_| more).map(|last| {
            let cursor = Cursor {
                sort: self.sort.to_owned(),
                desc: self.selection.order.descending,
                value: sort_value(self.selection.order.column, last),
                id: last.id.to_string(),
            };
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
        });
        (rows, next)
    }
}

fn column(sort: Option<&str>) -> Result<(LinkColumn, &'static str), FieldError> {
    match sort.unwrap_or("created_at") {
        "created_at" => Ok((LinkColumn::CreatedAt, "created_at")),
        "updated_at" => Ok((LinkColumn::UpdatedAt, "updated_at")),
        "clicks" => Ok((LinkColumn::Clicks, "clicks")),
        "slug" => Ok((LinkColumn::Slug, "slug")),
        _ => Err(FieldError::new(
            "sort",
            "sort_unknown",
            "must be created_at, updated_at, clicks or slug",
        )),
    }
}

fn descending(order: Option<&str>) -> Result<bool, FieldError> {
    match order.unwrap_or("desc") {
        "desc" => Ok(true),
        "asc" => Ok(false),
        _ => Err(FieldError::new(
            "order",
            "order_unknown",
            "must be asc or desc",
        )),
    }
}

fn plain(field: &'static str, value: &str) -> Result<(), FieldError> {
    if value.contains('\0') || value.chars().count() > MAX_SEARCH_CHARS {
        return Err(FieldError::new(
            field,
            "filter_invalid",
            "must be at most 255 characters, without NUL",
        ));
    }
    Ok(())
}

fn read_cursor(
    text: &str,
    column: LinkColumn,
    sort: &str,
    descending: bool,
) -> Result<(SortValue, LinkId), FieldError> {
    let read = || -> Option<(SortValue, LinkId)> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let cursor: Cursor = serde_json::from_slice(&bytes).ok()?;
        let fits = match (&cursor.value, column) {
            (SortValue::Text(text), LinkColumn::Slug) => !text.contains('\0'),
            (SortValue::Number(_), LinkColumn::Slug) | (SortValue::Text(_), _) => false,
            (SortValue::Number(_), _) => true,
        };
        let same = cursor.sort == sort && cursor.desc == descending;
        (fits && same)
            .then(|| cursor.id.parse().ok().map(|id| (cursor.value, id)))
            .flatten()
    };
    read().ok_or_else(|| {
        FieldError::new(
            "cursor",
            "cursor_invalid",
            "must be the next_cursor of a list with the same sort and order",
        )
    })
}

fn sort_value(column: LinkColumn, row: &LinkRow) -> SortValue {
    match column {
        LinkColumn::CreatedAt => SortValue::Number(row.created_at.as_millis()),
        LinkColumn::UpdatedAt => SortValue::Number(row.updated_at.as_millis()),
        LinkColumn::Clicks => SortValue::Number(row.humans),
        LinkColumn::Slug => SortValue::Text(row.slug.to_ascii_lowercase()),
    }
}
