//! Reading the audit log: who did what to what, when, and from where.

use crate::model::{ApiKeyId, FieldError, Page, Timestamp, UserId, WorkspaceId};
use crate::paging;
use crate::store::audit::{AuditRow, AuditSelection};
use crate::store::{Store, StoreError};

const MAX_FILTER_CHARS: usize = 100;

/// The audit log of an installation. Whoever changes something writes into it.
#[derive(Clone, Debug)]
pub struct AuditLog {
    store: Store,
}

/// Which entries a page shows.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// The identifier of whoever did it.
    pub user_id: Option<String>,
    /// As in `link.create`, or only the first part, as in `link`.
    pub action: Option<String>,
    /// The identifier of what it was done to.
    pub object: Option<String>,
    pub from: Option<Timestamp>,
    /// Exclusive.
    pub to: Option<Timestamp>,
    /// 1 to 200, default 50.
    pub limit: Option<i64>,
    pub cursor: Option<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub id: i64,
    pub at: Timestamp,
    pub user: Option<UserId>,
    /// The e-mail address at that time, or `system` or `anonymous`.
    pub actor: String,
    pub key: Option<ApiKeyId>,
    pub address: Option<String>,
    pub workspace: Option<WorkspaceId>,
    pub action: String,
    pub object: Option<String>,
    /// A JSON object.
    pub details: String,
}

/// Why the log shows nothing.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the filter was refused")]
    Refused(Vec<FieldError>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AuditLog {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// A page of the entries of one workspace, or of the whole instance, newest first.
    pub async fn entries(
        &self,
        workspace: Option<WorkspaceId>,
        filter: AuditFilter,
    ) -> Result<Page<AuditEntry>, AuditError> {
        let (mut selection, limit) = selection(filter).map_err(AuditError::Refused)?;
        selection.workspace = workspace;
        let rows = self.store.audit_log(&selection).await?;
        Ok(paging::page(rows, limit, shown, |row| row.id.to_string()))
    }
}

fn shown(row: AuditRow) -> AuditEntry {
    AuditEntry {
        id: row.id,
        at: row.at,
        user: row.user_id,
        actor: row.actor,
        key: row.key_id,
        address: row.address,
        workspace: row.workspace_id,
        action: row.action,
        object: row.object,
        details: row.details,
    }
}

fn selection(filter: AuditFilter) -> Result<(AuditSelection, usize), Vec<FieldError>> {
    let mut refused = Vec::new();
    let mut keep = |error: FieldError| refused.push(error);
    let limit = paging::limit(filter.limit).map_err(&mut keep);
    let before = filter.cursor.as_deref().map(|cursor| {
        let number = cursor.parse::<i64>().ok().filter(|number| *number > 0);
        number.ok_or_else(paging::cursor_invalid)
    });
    let before = before.transpose().map_err(&mut keep);
    for (field, value) in [("action", &filter.action), ("object", &filter.object)] {
        if let Some(value) = value
            && (value.chars().count() > MAX_FILTER_CHARS || value.contains('\0'))
        {
            keep(FieldError::new(
                field,
                "filter_invalid",
                "must be at most 100 characters, without NUL",
            ));
        }
    }
    let user = filter.user_id.as_deref().map(|id| {
        id.parse::<UserId>()
            .map_err(|_| FieldError::new("user_id", "id_invalid", "must be the id of a user"))
    });
    let user = user.transpose().map_err(&mut keep);
    match (limit, before, user, refused.is_empty()) {
        (Ok(limit), Ok(before), Ok(user), true) => Ok((
            AuditSelection {
                workspace: None,
                user,
                action: filter.action,
                object: filter.object,
                from: filter.from,
                to: filter.to,
                before,
                limit: paging::one_more(limit),
            },
            limit,
        )),
        _ => Err(refused),
    }
}
