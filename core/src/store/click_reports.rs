//! Reading clicks: figures, raw rows, and the proof that rows and counters agree.

use std::collections::HashMap;

use sqlx::QueryBuilder;

use crate::classify::Kind;
use crate::model::{LinkId, Timestamp, WorkspaceId};
use crate::store::{Store, StoreError, in_snapshot, with_db};

/// Which clicks a question is about, already checked.
#[derive(Clone, Debug)]
pub(crate) struct ClickSelection {
    pub(crate) workspace: WorkspaceId,
    /// None of these: every link.
    pub(crate) links: Vec<LinkId>,
    pub(crate) tags: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) from: Timestamp,
    /// Exclusive.
    pub(crate) to: Timestamp,
    /// Kinds that are counted as clicks.
    pub(crate) kinds: Vec<Kind>,
}

/// Figures over a selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ClickTotals {
    pub(crate) humans: i64,
    pub(crate) bots: i64,
    pub(crate) previews: i64,
    pub(crate) visitors: i64,
    pub(crate) last_clicked_at: Option<Timestamp>,
}

/// One click as a question sees it.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub(crate) struct ClickPoint {
    pub(crate) at: Timestamp,
    pub(crate) visitor: i64,
}

/// One click as it is stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct ClickRow {
    pub(crate) link_id: LinkId,
    pub(crate) at: Timestamp,
    pub(crate) kind: i16,
    pub(crate) reason: i16,
    pub(crate) stream: i64,
    pub(crate) seq: i64,
    pub(crate) facts: Vec<u8>,
}

/// A link whose rows and counters disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub link: LinkId,
    /// Humans, bots and previews among the rows.
    pub rows: [i64; 3],
    /// Humans, bots and previews in the counters.
    pub counters: [i64; 3],
}

macro_rules! push_in {
    ($query:ident, $values:expr) => {{
        $query.push("(");
        let mut list = $query.separated(", ");
        for value in $values {
            list.push_bind(value.clone());
        }
        $query.push(")");
    }};
}

macro_rules! push_selection {
    ($query:ident, $selection:expr) => {{
        let selection: &ClickSelection = $selection;
        $query
            .push(" FROM clicks WHERE workspace_id = ")
            .push_bind(selection.workspace);
        $query.push(" AND at >= ").push_bind(selection.from);
        $query.push(" AND at < ").push_bind(selection.to);
        if !selection.links.is_empty() {
            $query.push(" AND link_id IN ");
            push_in!($query, &selection.links);
        }
        if !selection.tags.is_empty() {
            $query.push(" AND link_id IN (SELECT link_id FROM link_tags WHERE tag IN ");
            push_in!($query, &selection.tags);
            $query.push(")");
        }
        if !selection.hosts.is_empty() {
            $query.push(
                " AND link_id IN (SELECT l.id FROM links l JOIN domains d ON d.id = l.domain_id \
                 WHERE d.host IN ",
            );
            push_in!($query, &selection.hosts);
            $query.push(")");
        }
    }};
}

fn kind_codes(selection: &ClickSelection) -> Vec<i16> {
    selection.kinds.iter().map(|kind| kind.code()).collect()
}

impl Store {
    /// Counts of every kind, and the distinct visitors and the last moment among the counted kinds.
    pub(crate) async fn click_totals(
        &self,
        selection: &ClickSelection,
    ) -> Result<ClickTotals, StoreError> {
        let kinds = kind_codes(selection);
        let totals = with_db!(&self.db, |pool| {
            let mut query = QueryBuilder::new(
                "SELECT CAST(COALESCE(SUM(CASE WHEN kind = 0 THEN 1 ELSE 0 END), 0) AS BIGINT) \
                 AS humans, \
                 CAST(COALESCE(SUM(CASE WHEN kind = 1 THEN 1 ELSE 0 END), 0) AS BIGINT) AS bots, \
                 CAST(COALESCE(SUM(CASE WHEN kind = 2 THEN 1 ELSE 0 END), 0) AS BIGINT) \
                 AS previews, COUNT(DISTINCT CASE WHEN kind IN ",
            );
            push_in!(query, &kinds);
            query.push(" THEN visitor END) AS visitors, MAX(CASE WHEN kind IN ");
            push_in!(query, &kinds);
            query.push(" THEN at END) AS last_clicked_at");
            push_selection!(query, selection);
            query
                .build_query_as()
                .persistent(false)
                .fetch_one(pool)
                .await?
        });
        Ok(totals)
    }

    /// Every click of the counted kinds, in no order.
    pub(crate) async fn click_points(
        &self,
        selection: &ClickSelection,
        mut each: impl FnMut(ClickPoint) + Send,
    ) -> Result<(), StoreError> {
        use futures_util::StreamExt as _;
        let kinds = kind_codes(selection);
        with_db!(&self.db, |pool| {
            let mut query = QueryBuilder::new("SELECT at, visitor");
            push_selection!(query, selection);
            query.push(" AND kind IN ");
            push_in!(query, &kinds);
            let mut rows = query.build_query_as::<ClickPoint>().fetch(pool);
            while let Some(point) = rows.next().await {
                each(point?);
            }
        });
        Ok(())
    }

    /// Stored clicks of a workspace in the order (at, stream, seq), from after a position.
    pub(crate) async fn click_rows(
        &self,
        workspace: WorkspaceId,
        after: (Timestamp, i64, i64),
        limit: i64,
    ) -> Result<Vec<ClickRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT link_id, at, kind, reason, stream, seq, facts FROM clicks \
                 WHERE workspace_id = $1 AND (at, stream, seq) > ($2, $3, $4) \
                 ORDER BY at, stream, seq LIMIT $5",
            )
            .bind(workspace)
            .bind(after.0)
            .bind(after.1)
            .bind(after.2)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows)
    }

    /// Compares rows and counters of every link on one snapshot.
    /// Returns links compared, clicks counted, and the differences.
    pub(crate) async fn compare_counters(&self) -> Result<(u64, i64, Vec<Difference>), StoreError> {
        let (rows, counters) = in_snapshot!(&self.db, |tx| {
            let rows: Vec<(LinkId, i64, i64, i64)> = sqlx::query_as(
                "SELECT link_id, \
                 CAST(SUM(CASE WHEN kind = 0 THEN 1 ELSE 0 END) AS BIGINT), \
                 CAST(SUM(CASE WHEN kind = 1 THEN 1 ELSE 0 END) AS BIGINT), \
                 CAST(SUM(CASE WHEN kind = 2 THEN 1 ELSE 0 END) AS BIGINT) \
                 FROM clicks GROUP BY link_id",
            )
            .fetch_all(&mut *tx)
            .await?;
            let counters: Vec<(LinkId, i64, i64, i64)> =
                sqlx::query_as("SELECT link_id, humans, bots, previews FROM link_counters")
                    .fetch_all(&mut *tx)
                    .await?;
            (rows, counters)
        });
        Ok(differences(rows, counters))
    }

    /// Records that no longer decode.
    pub(crate) async fn dead_records(&self) -> Result<i64, StoreError> {
        let records = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT COUNT(*) FROM clicks_dead")
                .fetch_one(pool)
                .await?
        });
        Ok(records)
    }

    /// All answered redirects that no store took.
    pub(crate) async fn unrecorded_clicks(&self) -> Result<i64, StoreError> {
        let clicks = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT CAST(COALESCE(SUM(clicks), 0) AS BIGINT) FROM clicks_unrecorded",
            )
            .fetch_one(pool)
            .await?
        });
        Ok(clicks)
    }
}

type Counts = (LinkId, i64, i64, i64);

fn differences(rows: Vec<Counts>, counters: Vec<Counts>) -> (u64, i64, Vec<Difference>) {
    let clicks = rows.iter().map(|row| row.1 + row.2 + row.3).sum();
    let mut by_link: HashMap<LinkId, [i64; 3]> = rows
        .into_iter()
        .map(|(link, humans, bots, previews)| (link, [humans, bots, previews]))
        .collect();
    let mut compared = 0;
    let mut found = Vec::new();
    for (link, humans, bots, previews) in counters {
        compared += 1;
        let counters = [humans, bots, previews];
        let rows = by_link.remove(&link).unwrap_or_default();
        if rows != counters {
            found.push(Difference {
                link,
                rows,
                counters,
            });
        }
    }
    // Rows of links that have no counters at all.
    for (link, rows) in by_link {
        compared += 1;
        found.push(Difference {
            link,
            rows,
            counters: [0; 3],
        });
    }
    found.sort_by_key(|difference| difference.link);
    (compared, clicks, found)
}
