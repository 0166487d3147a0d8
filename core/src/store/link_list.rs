//! Lists of links: filters, order and pages.

use sqlx::QueryBuilder;

use crate::model::{LinkStatus, WorkspaceId};
use crate::store::links::{LinkRow, LinkSelection, SortValue, select_links};
use crate::store::{Store, StoreError, with_db};

macro_rules! push_status {
    ($query:ident, $status:expr, $now:expr) => {{
        // In the order in which a link's status is decided: each row has exactly one.
        match $status {
            LinkStatus::Blocked => $query.push(" AND l.state = 'blocked'"),
            LinkStatus::Disabled => $query.push(" AND l.state = 'disabled'"),
            _ => $query.push(" AND l.state = 'active'"),
        };
        match $status {
            LinkStatus::Blocked | LinkStatus::Disabled => {}
            LinkStatus::Expired => {
                $query.push(" AND l.expires_at <= ").push_bind($now);
            }
            status => {
                $query
                    .push(" AND (l.expires_at IS NULL OR l.expires_at > ")
                    .push_bind($now)
                    .push(")");
                match status {
                    LinkStatus::Exhausted => {
                        $query.push(" AND c.humans >= l.max_clicks");
                    }
                    status => {
                        $query.push(" AND (l.max_clicks IS NULL OR c.humans < l.max_clicks)");
                        if status == LinkStatus::Scheduled {
                            $query.push(" AND l.starts_at > ").push_bind($now);
                        } else {
                            $query
                                .push(" AND (l.starts_at IS NULL OR l.starts_at <= ")
                                .push_bind($now)
                                .push(")");
                        }
                    }
                }
            }
        }
    }};
}

/// `text` inside a `LIKE … ESCAPE '\'` pattern, meaning only itself.
pub(crate) fn like_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

impl Store {
    /// Up to `limit` links of the workspace; ask for one more than a page to see whether another follows.
    pub(crate) async fn list_links(
        &self,
        workspace: WorkspaceId,
        selection: &LinkSelection,
    ) -> Result<Vec<LinkRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            let mut query = QueryBuilder::new(select_links!(
                "WHERE l.state <> 'deleted' AND l.workspace_id = "
            ));
            query.push_bind(workspace);
            if let Some(search) = &selection.search {
                let pattern = like_pattern(search);
                query.push(" AND (");
                for (index, column) in ["l.slug", "l.target_url", "l.title", "l.notes"]
                    .into_iter()
                    .enumerate()
                {
                    if index > 0 {
                        query.push(" OR ");
                    }
                    query
                        .push("LOWER(")
                        .push(column)
                        .push(") LIKE LOWER(")
                        .push_bind(pattern.clone())
                        .push(") ESCAPE '\\'");
                }
                query.push(")");
            }
            if let Some(tag) = &selection.tag {
                query
                    .push(" AND l.id IN (SELECT link_id FROM link_tags WHERE tag = ")
                    .push_bind(tag.clone())
                    .push(")");
            }
            if let Some(host) = &selection.host {
                query.push(" AND d.host = ").push_bind(host.clone());
            }
            if let Some(status) = selection.status {
                push_status!(query, status, selection.now);
            }
            if let Some(after) = selection.created_after {
                query.push(" AND l.created_at > ").push_bind(after);
            }
            if let Some(before) = selection.created_before {
                query.push(" AND l.created_at < ").push_bind(before);
            }
            let column = selection.order.column.sql();
            let (comparison, direction) = if selection.order.descending {
                (" < ", " DESC")
            } else {
                (" > ", " ASC")
            };
            if let Some((value, id)) = &selection.order.after {
                query
                    .push(" AND (")
                    .push(column)
                    .push(", l.id)")
                    .push(comparison)
                    .push("(");
                match value {
                    SortValue::Number(number) => query.push_bind(*number),
                    SortValue::Text(text) => query.push_bind(text.clone()),
                };
                query.push(", ").push_bind(*id).push(")");
            }
            query.push(" ORDER BY ").push(column).push(direction);
            query.push(", l.id").push(direction);
            query.push(" LIMIT ").push_bind(selection.limit);
            query
                .build_query_as()
                .persistent(false)
                .fetch_all(pool)
                .await?
        });
        self.all_with_tags(rows).await
    }
}
