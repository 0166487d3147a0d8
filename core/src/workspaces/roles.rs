//! Roles: the built-in ones, and those that an installation makes of permissions.

use crate::model::{Actor, BUILT_IN_ROLES, FieldError, Permissions, Role, built_in_role};
use crate::store::StoreError;
use crate::store::roles::{RoleDeletion, RoleRow};
use crate::workspaces::Workspaces;

const MAX_NAME_BYTES: usize = 40;

/// Why a role was not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error("the role was refused")]
    Refused(Vec<FieldError>),
    #[error("there is a role of this name")]
    Exists,
    #[error("there is no such role")]
    NotFound,
    #[error("the built-in roles stay as they are")]
    BuiltIn,
    /// A member or an open invitation has it.
    #[error("somebody has this role")]
    InUse,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Workspaces {
    /// All roles, the built-in ones first.
    pub async fn roles(&self) -> Result<Vec<Role>, RoleError> {
        let built_in = BUILT_IN_ROLES.iter().map(|(name, permissions)| Role {
            name: (*name).to_owned(),
            permissions: *permissions,
            built_in: true,
        });
        let own = self.store.roles().await?.into_iter().map(|row| Role {
            permissions: Permissions::from_stored(&row.permissions).of_workspace(),
            name: row.name,
            built_in: false,
        });
        Ok(built_in.chain(own).collect())
    }

    /// Makes a role of permissions in workspaces. Its name has 1 to 40 of `a-z`, `0-9` and `-`.
    pub async fn create_role(
        &self,
        actor: &Actor,
        name: &str,
        permissions: &[String],
    ) -> Result<Role, RoleError> {
        let role = checked(name, permissions)?;
        if built_in_role(name).is_some() {
            return Err(RoleError::Exists);
        }
        let row = row(&role);
        let mut entry = self.entry(actor, None, "role.create");
        entry.object = Some(row.name.clone());
        entry.details = serde_json::json!({ "permissions": row.permissions });
        match self.store.insert_role(&row, &entry).await {
            Ok(()) => Ok(role),
            Err(StoreError::Taken) => Err(RoleError::Exists),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what a role allows, at once for everybody who has it; without permissions it stays as
    /// it is.
    pub async fn update_role(
        &self,
        actor: &Actor,
        name: &str,
        permissions: Option<&[String]>,
    ) -> Result<Role, RoleError> {
        check_own(name)?;
        let Some(permissions) = permissions else {
            let mut roles = self.roles().await?.into_iter();
            return roles
                .find(|role| role.name == name)
                .ok_or(RoleError::NotFound);
        };
        let role = checked(name, permissions)?;
        let mut entry = self.entry(actor, None, "role.update");
        entry.object = Some(role.name.clone());
        if self.store.update_role(&row(&role), &entry).await? {
            Ok(role)
        } else {
            Err(RoleError::NotFound)
        }
    }

    /// Deletes a role that no member and no open invitation has.
    pub async fn delete_role(&self, actor: &Actor, name: &str) -> Result<(), RoleError> {
        check_own(name)?;
        let mut entry = self.entry(actor, None, "role.delete");
        entry.object = Some(name.to_owned());
        match self.store.delete_role(name, entry.at, &entry).await? {
            RoleDeletion::Done => Ok(()),
            RoleDeletion::Unknown => Err(RoleError::NotFound),
            RoleDeletion::InUse => Err(RoleError::InUse),
        }
    }
}

/// The refusal of a role that does not exist.
pub(super) fn unknown() -> FieldError {
    FieldError::new(
        "role",
        "role_unknown",
        "must be the name of a role, as GET /roles lists them",
    )
}

/// Refuses what no role can be called, before a database is asked that has no such text.
pub(super) fn check_known_name(name: &str) -> Result<(), FieldError> {
    if is_name(name) {
        Ok(())
    } else {
        Err(unknown())
    }
}

fn check_own(name: &str) -> Result<(), RoleError> {
    if built_in_role(name).is_some() {
        return Err(RoleError::BuiltIn);
    }
    if is_name(name) {
        Ok(())
    } else {
        Err(RoleError::NotFound)
    }
}

fn is_name(name: &str) -> bool {
    let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(known)
}

fn checked(name: &str, permissions: &[String]) -> Result<Role, RoleError> {
    let mut refused = Vec::new();
    if !is_name(name) {
        refused.push(FieldError::new(
            "name",
            "name_invalid",
            "must be 1 to 40 of the characters a-z, 0-9 and -",
        ));
    }
    let names = permissions.iter().map(String::as_str);
    let permissions = Permissions::parse("permissions", names)
        .map_err(|error| refused.push(error))
        .unwrap_or_default();
    if permissions != permissions.of_workspace() {
        refused.push(FieldError::new(
            "permissions",
            "permission_of_instance",
            "must be permissions in a workspace, as GET /permissions lists them",
        ));
    }
    if !refused.is_empty() {
        return Err(RoleError::Refused(refused));
    }
    Ok(Role {
        name: name.to_owned(),
        permissions,
        built_in: false,
    })
}

fn row(role: &Role) -> RoleRow {
    RoleRow {
        name: role.name.clone(),
        permissions: role.permissions.to_string(),
    }
}
