//! What a change changed, for the audit log.

use serde_json::{Map, Value, json};

use crate::store::links::LinkRow;

/// The fields that differ, each as `[before, after]`.
pub(super) fn differences(before: &LinkRow, after: &LinkRow) -> Value {
    let mut changed = Map::from_iter([("slug".to_owned(), json!(after.slug))]);
    for ((name, old), (_, new)) in fields(before).into_iter().zip(fields(after)) {
        if old != new {
            changed.insert(name.to_owned(), json!([old, new]));
        }
    }
    Value::Object(changed)
}

fn fields(row: &LinkRow) -> [(&'static str, Value); 10] {
    let time = |at: Option<crate::model::Timestamp>| json!(at.map(|at| at.to_string()));
    [
        ("target_url", json!(row.target_url)),
        ("title", json!(row.title)),
        ("notes", json!(row.notes)),
        ("tags", json!(row.tags)),
        ("state", json!(format!("{:?}", row.state).to_lowercase())),
        ("redirect_status", json!(row.redirect_status)),
        ("forward_query", json!(row.forward_query)),
        ("starts_at", time(row.starts_at)),
        ("expires_at", time(row.expires_at)),
        ("max_clicks", json!(row.max_clicks)),
    ]
}
