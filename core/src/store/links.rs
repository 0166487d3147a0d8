//! Links, their tags and their counters.

use sqlx::{FromRow, QueryBuilder};

use crate::model::{DomainId, LinkId, LinkState, Timestamp, UserId, VisitorEpoch, WorkspaceId};
use crate::store::audit::{AuditEntry, record};
use crate::store::idempotency::{RepeatableRequest, is_first};
use crate::store::{Store, StoreError, in_tx, with_db};

macro_rules! select_links {
    ($rest:literal) => {
        concat!(
            "SELECT l.id, l.workspace_id, w.visitor_epoch, l.domain_id, d.host, l.slug, l.target_url, l.title, ",
            "l.notes, l.state, CAST(l.redirect_status AS BIGINT) AS redirect_status, ",
            "l.forward_query, l.starts_at, l.expires_at, l.max_clicks, l.version, l.created_at, ",
            "l.updated_at, l.created_by, c.humans, c.last_clicked_at ",
            "FROM links l JOIN domains d ON d.id = l.domain_id ",
            "JOIN link_counters c ON c.link_id = l.id ",
            "JOIN workspaces w ON w.id = l.workspace_id ",
            $rest
        )
    };
}
pub(super) use select_links;

/// A link as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize, serde::Deserialize)]
pub(crate) struct LinkRow {
    pub(crate) id: LinkId,
    pub(crate) workspace_id: WorkspaceId,
    /// The workspace's choice.
    #[serde(default)]
    pub(crate) visitor_epoch: Option<VisitorEpoch>,
    pub(crate) domain_id: DomainId,
    pub(crate) host: String,
    pub(crate) slug: String,
    pub(crate) target_url: String,
    pub(crate) title: Option<String>,
    pub(crate) notes: Option<String>,
    pub(crate) state: LinkState,
    pub(crate) redirect_status: i64,
    pub(crate) forward_query: bool,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) max_clicks: Option<i64>,
    pub(crate) version: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) created_by: Option<UserId>,
    pub(crate) humans: i64,
    pub(crate) last_clicked_at: Option<Timestamp>,
    #[sqlx(skip)]
    pub(crate) tags: Vec<String>,
}

/// The column that orders a list, and where a page begins in it.
#[derive(Clone, Debug)]
pub(crate) struct LinkOrder {
    pub(crate) column: LinkColumn,
    pub(crate) descending: bool,
    pub(crate) after: Option<(SortValue, LinkId)>,
}

/// Columns that a list can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkColumn {
    CreatedAt,
    UpdatedAt,
    Clicks,
    Slug,
}

impl LinkColumn {
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::CreatedAt => "l.created_at",
            Self::UpdatedAt => "l.updated_at",
            Self::Clicks => "c.humans",
            Self::Slug => "l.slug_key",
        }
    }
}

/// A value of the ordering column.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum SortValue {
    Number(i64),
    Text(String),
}

/// What a list asks for, already checked.
#[derive(Clone, Debug)]
pub(crate) struct LinkSelection {
    pub(crate) search: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) status: Option<crate::model::LinkStatus>,
    pub(crate) created_after: Option<Timestamp>,
    pub(crate) created_before: Option<Timestamp>,
    pub(crate) order: LinkOrder,
    pub(crate) limit: i64,
    pub(crate) now: Timestamp,
}

impl Store {
    /// Stores a new link with its tags and an empty counter; [`StoreError::Taken`] when the slug is.
    /// With a `request` that was answered before, does nothing and returns false.
    pub(crate) async fn insert_link(
        &self,
        link: &LinkRow,
        key: &str,
        entry: &AuditEntry<'_>,
        request: Option<&RepeatableRequest>,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            if let Some(request) = request {
                let answer = serde_json::to_string(link).unwrap_or_default();
                if !is_first!(tx, request, answer, entry.at) {
                    return Ok(false);
                }
            }
            sqlx::query(
                "INSERT INTO links (id, workspace_id, domain_id, slug, slug_key, target_url, title, \
                 notes, state, redirect_status, forward_query, starts_at, expires_at, max_clicks, \
                 version, created_at, updated_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, \
                 $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
            )
            .bind(link.id)
            .bind(link.workspace_id)
            .bind(link.domain_id)
            .bind(&link.slug)
            .bind(key)
            .bind(&link.target_url)
            .bind(&link.title)
            .bind(&link.notes)
            .bind(link.state)
            .bind(link.redirect_status)
            .bind(link.forward_query)
            .bind(link.starts_at)
            .bind(link.expires_at)
            .bind(link.max_clicks)
            .bind(link.version)
            .bind(link.created_at)
            .bind(link.updated_at)
            .bind(link.created_by)
            .execute(&mut *tx)
            .await?;
            sqlx::query(
                "INSERT INTO link_counters (link_id, workspace_id, humans, bots, previews) \
                 VALUES ($1, $2, 0, 0, 0)",
            )
            .bind(link.id)
            .bind(link.workspace_id)
            .execute(&mut *tx)
            .await?;
            for tag in &link.tags {
                sqlx::query("INSERT INTO link_tags (link_id, tag) VALUES ($1, $2)")
                    .bind(link.id)
                    .bind(tag)
                    .execute(&mut *tx)
                    .await?;
            }
            record!(tx, entry);
        });
        Ok(true)
    }

    /// The state of whatever holds this slug.
    pub(crate) async fn slug_holder(
        &self,
        domain: DomainId,
        key: &str,
    ) -> Result<Option<LinkState>, StoreError> {
        let state = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT state FROM links WHERE domain_id = $1 AND slug_key = $2")
                .bind(domain)
                .bind(key)
                .fetch_optional(pool)
                .await?
        });
        Ok(state)
    }

    /// A link of this workspace that is not deleted.
    pub(crate) async fn link(
        &self,
        workspace: WorkspaceId,
        id: LinkId,
    ) -> Result<Option<LinkRow>, StoreError> {
        let row = with_db!(&self.db, |pool| {
            sqlx::query_as(select_links!(
                "WHERE l.id = $1 AND l.workspace_id = $2 AND l.state <> 'deleted'"
            ))
            .bind(id)
            .bind(workspace)
            .fetch_optional(pool)
            .await?
        });
        self.with_tags(row).await
    }

    /// The links with these ids, deleted ones too, in no order, without tags.
    pub(crate) async fn links_by_id(&self, ids: &[LinkId]) -> Result<Vec<LinkRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            let mut query = QueryBuilder::new(select_links!("WHERE l.id IN ("));
            let mut separated = query.separated(", ");
            for id in ids {
                separated.push_bind(*id);
            }
            query.push(")");
            // A text of its own for each number of ids: not worth keeping prepared.
            query
                .build_query_as()
                .persistent(false)
                .fetch_all(pool)
                .await?
        });
        Ok(rows)
    }

    /// Whatever holds this slug, deleted links too.
    pub(crate) async fn link_by_slug(
        &self,
        domain: DomainId,
        key: &str,
    ) -> Result<Option<LinkRow>, StoreError> {
        let row = with_db!(&self.db, |pool| {
            sqlx::query_as(select_links!("WHERE l.domain_id = $1 AND l.slug_key = $2"))
                .bind(domain)
                .bind(key)
                .fetch_optional(pool)
                .await?
        });
        Ok(row)
    }

    async fn with_tags(&self, row: Option<LinkRow>) -> Result<Option<LinkRow>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        Ok(self.all_with_tags(vec![row]).await?.pop())
    }

    /// The same links with their tags read.
    pub(crate) async fn all_with_tags(
        &self,
        mut rows: Vec<LinkRow>,
    ) -> Result<Vec<LinkRow>, StoreError> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let tags: Vec<(LinkId, String)> = with_db!(&self.db, |pool| {
            let mut query =
                QueryBuilder::new("SELECT link_id, tag FROM link_tags WHERE link_id IN (");
            let mut ids = query.separated(", ");
            for row in &rows {
                ids.push_bind(row.id);
            }
            query.push(") ORDER BY link_id, tag");
            query
                .build_query_as()
                .persistent(false)
                .fetch_all(pool)
                .await?
        });
        for (link, tag) in tags {
            if let Some(row) = rows.iter_mut().find(|row| row.id == link) {
                row.tags.push(tag);
            }
        }
        Ok(rows)
    }

    /// Stores `changed` if the link still has `expected_version`; its tags too.
    /// Returns whether it did.
    pub(crate) async fn update_link(
        &self,
        changed: &LinkRow,
        expected_version: i64,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            let updated = sqlx::query(
                "UPDATE links SET target_url = $1, title = $2, notes = $3, state = $4, \
                 redirect_status = $5, forward_query = $6, starts_at = $7, expires_at = $8, \
                 max_clicks = $9, version = $10, updated_at = $11 WHERE id = $12 AND version = $13",
            )
            .bind(&changed.target_url)
            .bind(&changed.title)
            .bind(&changed.notes)
            .bind(changed.state)
            .bind(changed.redirect_status)
            .bind(changed.forward_query)
            .bind(changed.starts_at)
            .bind(changed.expires_at)
            .bind(changed.max_clicks)
            .bind(changed.version)
            .bind(changed.updated_at)
            .bind(changed.id)
            .bind(expected_version)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if updated == 0 {
                return Ok(false);
            }
            sqlx::query("DELETE FROM link_tags WHERE link_id = $1")
                .bind(changed.id)
                .execute(&mut *tx)
                .await?;
            for tag in &changed.tags {
                sqlx::query("INSERT INTO link_tags (link_id, tag) VALUES ($1, $2)")
                    .bind(changed.id)
                    .bind(tag)
                    .execute(&mut *tx)
                    .await?;
            }
            record!(tx, entry);
        });
        Ok(true)
    }
}
