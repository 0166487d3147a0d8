//! Appending clicks to the tail: the one statement that is written twice, because PostgreSQL takes
//! whole columns (`UNNEST`) several times faster than rows, and SQLite has no arrays.

use std::sync::OnceLock;

use sqlx::{PgConnection, SqliteConnection};

use crate::store::StoreError;
use crate::store::clicks::ClickRows;

/// Appends rows to the tail inside the connection's transaction.
pub(crate) trait AppendClicks {
    /// Appends all `rows` as clicks of the stream with this number.
    async fn append_clicks(&mut self, rows: &ClickRows, stream: i64) -> Result<(), StoreError>;
}

const COLUMNS: usize = 9;
// Few distinct statements, so that each is prepared once per connection. The largest binds 1,152
// values, far below SQLite's 32,766.
const CHUNKS: [usize; 3] = [128, 16, 1];

fn insert_sql(chunk: usize) -> &'static str {
    static TEXTS: [OnceLock<String>; CHUNKS.len()] = [const { OnceLock::new() }; CHUNKS.len()];
    let index = CHUNKS.iter().position(|&size| size == chunk).unwrap_or(0);
    TEXTS[index].get_or_init(|| {
        let mut sql = String::from(
            "INSERT INTO clicks \
             (workspace_id, link_id, at, kind, reason, visitor, stream, seq, facts) VALUES ",
        );
        for row in 0..chunk {
            // Unnumbered: the driver asks SQLite for the name of every numbered parameter, which
            // takes forty times as long as inserting the rows.
            sql.push_str(if row == 0 { "(?" } else { ", (?" });
            sql.push_str(&", ?".repeat(COLUMNS - 1));
            sql.push(')');
        }
        sql
    })
}

impl AppendClicks for SqliteConnection {
    async fn append_clicks(&mut self, rows: &ClickRows, stream: i64) -> Result<(), StoreError> {
        let mut done = 0;
        while done < rows.len() {
            let left = rows.len() - done;
            let chunk = CHUNKS.into_iter().find(|&size| size <= left).unwrap_or(1);
            let mut query = sqlx::query(insert_sql(chunk));
            for row in done..done + chunk {
                query = query
                    .bind(rows.workspace[row])
                    .bind(rows.link[row])
                    .bind(rows.at[row])
                    .bind(rows.kind[row])
                    .bind(rows.reason[row])
                    .bind(rows.visitor[row])
                    .bind(stream)
                    .bind(rows.seq[row])
                    .bind(rows.facts[row].as_slice());
            }
            query.execute(&mut *self).await?;
            done += chunk;
        }
        Ok(())
    }
}

impl AppendClicks for PgConnection {
    async fn append_clicks(&mut self, rows: &ClickRows, stream: i64) -> Result<(), StoreError> {
        if rows.len() == 0 {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO clicks \
             (workspace_id, link_id, at, kind, reason, visitor, stream, seq, facts) \
             SELECT workspace_id, link_id, at, kind, reason, visitor, $7, seq, facts \
             FROM UNNEST($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], \
             $5::smallint[], $6::bigint[], $8::bigint[], $9::bytea[]) \
             AS t (workspace_id, link_id, at, kind, reason, visitor, seq, facts)",
        )
        .bind(&rows.workspace)
        .bind(&rows.link)
        .bind(&rows.at)
        .bind(&rows.kind)
        .bind(&rows.reason)
        .bind(&rows.visitor)
        .bind(stream)
        .bind(&rows.seq)
        .bind(&rows.facts)
        .execute(&mut *self)
        .await?;
        Ok(())
    }
}
