//! Reading clicks: what a question needs of one moment, and the links it is about.

use std::collections::HashMap;

use sqlx::{FromRow as _, QueryBuilder, Row as _};

use crate::model::{LinkId, WorkspaceId};
use crate::store::chunks::{ChunkHead, DAY_MILLIS, head_columns};
use crate::store::{Store, StoreError, in_snapshot, with_db};

/// Which links a question is about; every link when nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkCondition {
    pub(crate) links: Terms<LinkId>,
    pub(crate) tags: Terms<String>,
    pub(crate) hosts: Terms<String>,
}

/// One of these, unless there are none, and none of those.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms<T> {
    pub(crate) one_of: Vec<T>,
    pub(crate) none_of: Vec<T>,
}

impl<T> Default for Terms<T> {
    fn default() -> Self {
        Self {
            one_of: Vec::new(),
            none_of: Vec::new(),
        }
    }
}

impl<T> Terms<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.one_of.is_empty() && self.none_of.is_empty()
    }
}

impl LinkCondition {
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.tags.is_empty() && self.hosts.is_empty()
    }
}

/// The clicks of a workspace in a period, as they were at one moment.
#[derive(Debug, Default)]
pub(crate) struct StoredClicks {
    /// Every chunk that has clicks of the period, by day.
    pub(crate) chunks: Vec<ChunkHead>,
    /// Every parcel of the tail that has.
    pub(crate) tail: Vec<Vec<u8>>,
    /// The links asked for, in order; every link when `None`.
    pub(crate) links: Option<Vec<i64>>,
}

/// Every click and every counter, as they were at one moment.
#[derive(Debug)]
pub(crate) struct AllClicks {
    /// With the workspace of each.
    pub(crate) chunks: Vec<(WorkspaceId, ChunkHead)>,
    pub(crate) tail: Vec<StoredParcel>,
    /// Humans, bots and previews of each link.
    pub(crate) counters: Vec<(LinkId, i64, i64, i64)>,
}

/// A parcel of the tail, with what is known of it without opening it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct StoredParcel {
    pub(crate) workspace_id: WorkspaceId,
    /// Of its first click.
    pub(crate) stream: i64,
    pub(crate) seq: i64,
    pub(crate) click_count: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) records: Vec<u8>,
}

/// What links go by in a breakdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkNames {
    Tags,
    Domains,
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

/// Adds `AND subject [NOT] IN …` for what a term says; `$open` and `$close` go around the list.
macro_rules! push_terms {
    ($query:ident, $terms:expr, $subject:literal, $open:literal, $close:literal) => {
        if !$terms.one_of.is_empty() {
            $query.push(concat!(" AND ", $subject, " IN ", $open));
            push_in!($query, &$terms.one_of);
            $query.push($close);
        }
        if !$terms.none_of.is_empty() {
            $query.push(concat!(" AND ", $subject, " NOT IN ", $open));
            push_in!($query, &$terms.none_of);
            $query.push($close);
        }
    };
}

macro_rules! links_of {
    ($tx:ident, $workspace:expr, $condition:expr) => {{
        let condition: &LinkCondition = $condition;
        if condition.is_empty() {
            None
        } else {
            let mut query = QueryBuilder::new("SELECT id FROM links WHERE workspace_id = ");
            query.push_bind($workspace);
            push_terms!(query, condition.links, "id", "", "");
            push_terms!(
                query,
                condition.tags,
                "id",
                "(SELECT link_id FROM link_tags WHERE tag IN ",
                ")"
            );
            push_terms!(
                query,
                condition.hosts,
                "domain_id",
                "(SELECT id FROM domains WHERE host IN ",
                ")"
            );
            query.push(" ORDER BY id");
            let links = query.build_query_scalar::<i64>().persistent(false);
            Some(links.fetch_all(&mut *$tx).await?)
        }
    }};
}

impl Store {
    /// What a question needs, on one snapshot: unix milliseconds from `from` until before `to`.
    pub(crate) async fn stored_clicks(
        &self,
        workspace: WorkspaceId,
        from: i64,
        to: i64,
        condition: &LinkCondition,
    ) -> Result<StoredClicks, StoreError> {
        let clicks = in_snapshot!(&self.db, |tx| {
            let chunks = sqlx::query_as(concat!(
                "SELECT ",
                head_columns!(),
                " FROM chunks WHERE workspace_id = $1 AND day >= $2 AND day <= $3 \
                 AND replaced_at IS NULL AND first_at < $4 AND last_at >= $5 ORDER BY day, id"
            ))
            .bind(workspace)
            .bind(from.div_euclid(DAY_MILLIS))
            .bind((to - 1).div_euclid(DAY_MILLIS))
            .bind(to)
            .bind(from)
            .fetch_all(&mut *tx)
            .await?;
            let tail = sqlx::query_scalar(
                "SELECT records FROM tail WHERE workspace_id = $1 \
                 AND first_at < $2 AND last_at >= $3",
            )
            .bind(workspace)
            .bind(to)
            .bind(from)
            .fetch_all(&mut *tx)
            .await?;
            StoredClicks {
                chunks,
                tail,
                links: links_of!(tx, workspace, condition),
            }
        });
        Ok(clicks)
    }

    /// The links that a condition names, in order; every link when `None`.
    pub(crate) async fn links_of(
        &self,
        workspace: WorkspaceId,
        condition: &LinkCondition,
    ) -> Result<Option<Vec<i64>>, StoreError> {
        let links = in_snapshot!(&self.db, |tx| links_of!(tx, workspace, condition));
        Ok(links)
    }

    /// What each link of a workspace goes by, now.
    pub(crate) async fn link_names(
        &self,
        workspace: WorkspaceId,
        names: LinkNames,
    ) -> Result<HashMap<i64, Vec<Box<str>>>, StoreError> {
        let sql = match names {
            LinkNames::Tags => {
                "SELECT l.id, t.tag FROM links l JOIN link_tags t ON t.link_id = l.id \
                 WHERE l.workspace_id = $1"
            }
            LinkNames::Domains => {
                "SELECT l.id, d.host FROM links l JOIN domains d ON d.id = l.domain_id \
                 WHERE l.workspace_id = $1"
            }
        };
        let pairs: Vec<(i64, String)> = with_db!(&self.db, |pool| {
            sqlx::query_as(sql).bind(workspace).fetch_all(pool).await?
        });
        let mut by_link: HashMap<i64, Vec<Box<str>>> = HashMap::new();
        for (link, name) in pairs {
            by_link.entry(link).or_default().push(name.into());
        }
        Ok(by_link)
    }

    /// Everything that must agree, on one snapshot.
    pub(crate) async fn all_clicks(&self) -> Result<AllClicks, StoreError> {
        let all = in_snapshot!(&self.db, |tx| {
            let rows = sqlx::query(concat!(
                "SELECT workspace_id, ",
                head_columns!(),
                " FROM chunks WHERE replaced_at IS NULL ORDER BY id"
            ))
            .fetch_all(&mut *tx)
            .await?;
            let chunks = rows
                .iter()
                .map(|row| Ok((row.try_get(0)?, ChunkHead::from_row(row)?)))
                .collect::<Result<_, sqlx::Error>>()?;
            let tail = sqlx::query_as(
                "SELECT workspace_id, stream, seq, click_count, first_at, last_at, records \
                 FROM tail",
            )
            .fetch_all(&mut *tx)
            .await?;
            let counters =
                sqlx::query_as("SELECT link_id, humans, bots, previews FROM link_counters")
                    .fetch_all(&mut *tx)
                    .await?;
            AllClicks {
                chunks,
                tail,
                counters,
            }
        });
        Ok(all)
    }

    /// Whether a chunk counts still: no other has taken its place.
    pub(crate) async fn is_chunk_in_place(&self, chunk: i64) -> Result<bool, StoreError> {
        let found: i64 = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT COUNT(*) FROM chunks WHERE id = $1 AND replaced_at IS NULL")
                .bind(chunk)
                .fetch_one(pool)
                .await?
        });
        Ok(found > 0)
    }

    /// Whether a chunk has its rows still; `None` when it is gone.
    pub(crate) async fn chunk_has_detail(&self, chunk: i64) -> Result<Option<bool>, StoreError> {
        let detail = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT detail FROM chunks WHERE id = $1")
                .bind(chunk)
                .fetch_optional(pool)
                .await?
        });
        Ok(detail)
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
