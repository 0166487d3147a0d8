//! What becomes of workspaces when an account is deleted.

use crate::accounts::UserError;
use crate::model::{Actor, FieldError, UserId};
use crate::store::departures::Departure;
use crate::workspaces::{Forgetting, Workspaces};

/// What becomes of the workspaces that have no other owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legacy {
    /// This user owns them from now on, links, keys of others, figures and all.
    To(UserId),
    /// They are deleted: their links answer 410 and their slugs are never issued again.
    Deleted,
}

impl Workspaces {
    /// Deletes an account: sessions, keys and memberships end at once, and what it did stays in the
    /// audit log. The last administrator stays.
    pub async fn delete_user(
        &self,
        user: UserId,
        legacy: Legacy,
        actor: &Actor,
    ) -> Result<(), UserError> {
        if legacy == Legacy::To(user) {
            return Err(UserError::Refused(vec![heir_unknown()]));
        }
        let mut entry = self.entry(actor, None, "user.delete");
        entry.object = Some(user.to_string());
        match self.store.delete_user(user, legacy, &entry).await? {
            Departure::Gone { closed } => {
                for workspace in closed {
                    drop(Forgetting {
                        resolver: &self.resolver,
                        workspace,
                    });
                }
                Ok(())
            }
            Departure::NotFound => Err(UserError::NotFound),
            Departure::LastAdmin => Err(UserError::LastAdmin),
            Departure::NoHeir => Err(UserError::Refused(vec![heir_unknown()])),
        }
    }
}

fn heir_unknown() -> FieldError {
    FieldError::new("to", "user_unknown", "must be the id of another account")
}
