//! What a workspace is called, and how it keeps its clicks.

use serde_json::{Map, Value, json};

use crate::model::{
    Actor, Change, FieldError, Principal, VisitorEpoch, Workspace, WorkspaceChanges,
};
use crate::store::workspaces::WorkspaceSettings;
use crate::workspaces::{Forgetting, WorkspaceError, Workspaces, checked_name};

/// A hundred years.
const MAX_RETENTION_DAYS: i64 = 36_500;

impl Workspaces {
    /// Changes the workspace that the principal acts in; without changes it stays as it is.
    ///
    /// A shorter retention shrinks old days to their counts soon after, and for good: a longer one
    /// brings no click back. Another visitors' epoch is in force with the next redirect on this node,
    /// on others when they hear of it, within 30 seconds; whoever comes again then counts as somebody new.
    pub async fn update(
        &self,
        principal: &Principal,
        actor: &Actor,
        changes: WorkspaceChanges,
    ) -> Result<Workspace, WorkspaceError> {
        let id = principal.workspace;
        let before = self.seen(id, principal).await?;
        if changes == WorkspaceChanges::default() {
            return Ok(before);
        }
        let (settings, details) = checked(&before, &changes)?;
        let mut entry = self.entry(actor, Some(id), "workspace.update");
        entry.object = Some(id.to_string());
        entry.details = details;
        // Also when nobody waits for the answer any more: the database may have done it all the same.
        let _forgetting = (settings.visitor_epoch != Change::Keep).then(|| Forgetting {
            resolver: &self.resolver,
            workspace: id,
        });
        if !self.store.update_workspace(id, &settings, &entry).await? {
            return Err(WorkspaceError::NotFound);
        }
        if settings.retention_days != Change::Keep {
            self.errands.retention_changed();
        }
        self.seen(id, principal).await
    }
}

/// What is to be stored, and what the audit log tells of it.
fn checked(
    before: &Workspace,
    changes: &WorkspaceChanges,
) -> Result<(WorkspaceSettings, Value), WorkspaceError> {
    let mut refused = Vec::new();
    let name = changes.name.as_deref().map(checked_name).transpose();
    let settings = WorkspaceSettings {
        name: accepted(name, &mut refused).map(str::to_owned),
        retention_days: accepted(checked_retention(&changes.retention_days), &mut refused),
        visitor_epoch: accepted(checked_epoch(&changes.visitor_epoch), &mut refused),
    };
    if !refused.is_empty() {
        return Err(WorkspaceError::Refused(refused));
    }
    let mut details = Map::new();
    if let Some(name) = &settings.name {
        details.insert("name".to_owned(), json!([before.name, name]));
    }
    if settings.retention_days != Change::Keep {
        let days = settings.retention_days.clone().apply(None);
        let told = json!([before.retention_days, days]);
        details.insert("retention_days".to_owned(), told);
    }
    if settings.visitor_epoch != Change::Keep {
        let epoch = settings.visitor_epoch.clone().apply(None);
        let told = [before.visitor_epoch, epoch].map(|epoch| epoch.map(VisitorEpoch::as_str));
        details.insert("visitor_epoch".to_owned(), json!(told));
    }
    Ok((settings, Value::Object(details)))
}

fn accepted<T: Default>(checked: Result<T, FieldError>, refused: &mut Vec<FieldError>) -> T {
    checked.unwrap_or_else(|error| {
        refused.push(error);
        T::default()
    })
}

fn checked_retention(change: &Change<i64>) -> Result<Change<i64>, FieldError> {
    match change {
        Change::Set(days) if !(1..=MAX_RETENTION_DAYS).contains(days) => Err(FieldError::new(
            "retention_days",
            "retention_days_out_of_range",
            "must be from 1 to 36,500, or null to keep every click for ever",
        )),
        change => Ok(change.clone()),
    }
}

fn checked_epoch(change: &Change<String>) -> Result<Change<VisitorEpoch>, FieldError> {
    match change {
        Change::Keep => Ok(Change::Keep),
        Change::Clear => Ok(Change::Clear),
        Change::Set(name) => VisitorEpoch::from_name(name)
            .map(Change::Set)
            .ok_or_else(|| {
                FieldError::new(
                    "visitor_epoch",
                    "visitor_epoch_unknown",
                    "must be month or day, or null for the installation's",
                )
            }),
    }
}
