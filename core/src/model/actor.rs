//! Who does something, for the audit log.

use std::net::IpAddr;

use crate::model::{ApiKeyId, Principal, UserId};

/// From where somebody asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub address: Option<IpAddr>,
    /// What their program calls itself.
    pub client: Option<String>,
}

/// Who does something, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// `None` when nobody was signed in, or the program itself acts.
    pub user: Option<UserId>,
    /// The e-mail address of the account, or what stands in its place: `system`, `anonymous`.
    pub name: String,
    pub key: Option<ApiKeyId>,
    pub address: Option<IpAddr>,
}

impl Actor {
    /// The program itself, or whoever runs it at a terminal.
    pub fn system() -> Self {
        Self {
            name: "system".to_owned(),
            ..Self::default()
        }
    }

    /// Somebody who is not signed in.
    pub fn anonymous(address: Option<IpAddr>) -> Self {
        Self {
            name: "anonymous".to_owned(),
            address,
            ..Self::default()
        }
    }

    /// Somebody who is.
    pub fn of(principal: &Principal, address: Option<IpAddr>) -> Self {
        Self {
            user: Some(principal.user),
            name: principal.email.to_string(),
            key: principal.credential.key(),
            address,
        }
    }
}
