//! What somebody may do: permissions are data, and roles are nothing but names for sets of them.

use std::fmt;

use crate::model::{FieldError, InstanceRole};

macro_rules! permissions {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// One thing that somebody may do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Permission {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Permission {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name used in the API, as in `links:read`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// What it allows, in a sentence for people.
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)+),)+
                }
            }
        }
    };
}

permissions! {
    /// See links and their tags
    LinksRead = "links:read",
    /// Make, change and delete links
    LinksWrite = "links:write",
    /// Block links, so that they answer 451, and unblock them
    LinksBlock = "links:block",
    /// See who clicked
    AnalyticsRead = "analytics:read",
    /// Rename and delete tags
    TagsWrite = "tags:write",
    /// Make, list and revoke API keys
    KeysManage = "keys:manage",
    /// Invite members, change their roles and remove them
    MembersManage = "members:manage",
    /// Rename and delete the workspace
    WorkspaceManage = "workspace:manage",
    /// Read the audit log
    AuditRead = "audit:read",
    /// Make, change, suspend and delete accounts
    UsersManage = "users:manage",
    /// Make, change and delete roles
    RolesManage = "roles:manage",
    /// Add and remove domains
    DomainsManage = "domains:manage",
    /// See jobs, and have failed ones tried again
    JobsManage = "jobs:manage",
    /// See how the server is doing
    SystemRead = "system:read",
}

impl Permission {
    /// The permission of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|permission| permission.as_str() == name)
    }

    /// Whether it is about the whole instance rather than about one workspace.
    pub const fn is_of_instance(self) -> bool {
        matches!(
            self,
            Self::UsersManage
                | Self::RolesManage
                | Self::DomainsManage
                | Self::JobsManage
                | Self::SystemRead
        )
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// The set of these.
    pub const fn of(permissions: &[Permission]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < permissions.len() {
            bits |= 1 << permissions[index] as u32;
            index += 1;
        }
        Self(bits)
    }

    /// Reads the names; refuses `field` when one of them is unknown.
    pub fn parse<'a>(
        field: &'static str,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, FieldError> {
        let mut set = Self::NONE;
        for name in names {
            let permission = Permission::from_name(name).ok_or_else(|| {
                FieldError::new(
                    field,
                    "permission_unknown",
                    "must be names of permissions, as GET /permissions lists them",
                )
            })?;
            set = set.union(Self::of(&[permission]));
        }
        Ok(set)
    }

    /// Reads what [`Permissions`] displays; what this release does not know is left out.
    pub(crate) fn from_stored(text: &str) -> Self {
        let known = text.split(' ').filter_map(Permission::from_name);
        known.fold(Self::NONE, |set, permission| {
            set.union(Self::of(&[permission]))
        })
    }

    /// Whether `permission` is among them.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & (1 << permission as u32) != 0
    }

    /// Whether all of `others` are among them.
    pub const fn covers(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Those in either.
    #[must_use]
    pub const fn union(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those in both.
    #[must_use]
    pub const fn intersection(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// Each of them, in the order of the documentation.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        let all = Permission::ALL.iter().copied();
        all.filter(move |permission| self.contains(*permission))
    }

    /// Those about one workspace.
    #[must_use]
    pub fn of_workspace(self) -> Self {
        self.iter()
            .filter(|permission| !permission.is_of_instance())
            .fold(Self::NONE, |set, permission| {
                set.union(Self::of(&[permission]))
            })
    }
}

/// Names separated by spaces.
impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, permission) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(permission.as_str())?;
        }
        Ok(())
    }
}

/// The name of a role, and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub permissions: Permissions,
    /// Whether it comes with Terse and stays as it is.
    pub built_in: bool,
}

const VIEWER: Permissions = Permissions::of(&[Permission::LinksRead, Permission::AnalyticsRead]);
const EDITOR: Permissions = VIEWER.union(Permissions::of(&[
    Permission::LinksWrite,
    Permission::TagsWrite,
]));
const ADMIN: Permissions = EDITOR.union(Permissions::of(&[
    Permission::KeysManage,
    Permission::MembersManage,
    Permission::AuditRead,
]));
const OWNER: Permissions = ADMIN.union(Permissions::of(&[Permission::WorkspaceManage]));

/// The role of a workspace's owners; each workspace keeps at least one.
pub const OWNER_ROLE: &str = "owner";

/// Roles that every workspace has. None may block links: what an administrator blocked, its owner
/// must not open again.
pub const BUILT_IN_ROLES: [(&str, Permissions); 4] = [
    (OWNER_ROLE, OWNER),
    ("admin", ADMIN),
    ("editor", EDITOR),
    ("viewer", VIEWER),
];

/// What the built-in role of this name allows.
pub(crate) fn built_in_role(name: &str) -> Option<Permissions> {
    BUILT_IN_ROLES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, permissions)| *permissions)
}

impl InstanceRole {
    /// What it allows on the instance.
    pub fn permissions(self) -> Permissions {
        match self {
            Self::User => Permissions::NONE,
            Self::Admin => Permission::ALL
                .iter()
                .filter(|permission| permission.is_of_instance())
                .fold(
                    Permissions::of(&[Permission::AuditRead]),
                    |set, permission| set.union(Permissions::of(&[*permission])),
                ),
        }
    }

    /// What it allows in every workspace, a member or not.
    pub const fn permissions_everywhere(self) -> Permissions {
        match self {
            Self::User => Permissions::NONE,
            Self::Admin => Permissions::of(&[
                Permission::LinksRead,
                Permission::LinksBlock,
                Permission::AuditRead,
            ]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_survives_its_text_form_and_names_are_unique() {
        for (index, permission) in Permission::ALL.iter().enumerate() {
            let name = permission.as_str();
            assert_eq!(Permission::from_name(name), Some(*permission));
            assert_eq!(*permission as usize, index);
            assert!(!permission.description().is_empty());
        }
        for (_, role) in BUILT_IN_ROLES {
            assert_eq!(Permissions::from_stored(&role.to_string()), role);
            assert_eq!(role.of_workspace(), role);
        }
        assert!(Permissions::parse("scopes", ["links:read", "links:fly"]).is_err());
    }

    #[test]
    fn each_role_covers_the_next_and_none_may_block() {
        for pair in BUILT_IN_ROLES.windows(2) {
            assert!(pair[0].1.covers(pair[1].1) && !pair[1].1.covers(pair[0].1));
            assert!(!pair[0].1.contains(Permission::LinksBlock));
        }
    }
}
