//! Accounts, for administrators.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::accounts::{UserChanges, UserFilter, read_role};
use terse_core::model::{FieldError, InstanceRole, NewUser, Principal, User, UserId};
use terse_core::workspaces::Legacy;

use crate::api::body::Body;
use crate::api::params::{change, number};
use crate::api::schema::{Nullable, Optional, Time};
use crate::api::security::Caller;
use crate::api::{Done, PREFIX, Tag};
use crate::app::App;
use crate::problem::Problem;

pub struct UsersApi;

/// An account
#[derive(Object)]
#[oai(rename = "User")]
struct UserBody {
    id: String,
    email: String,
    name: Nullable<String>,
    /// `admin` or `user`, on the whole instance
    role: String,
    /// `active` or `suspended`
    status: String,
    created_at: Time,
}

#[derive(Object)]
#[oai(rename = "UserPage")]
struct UserPage {
    items: Vec<UserBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

/// An account to be made; its address counts as verified
#[derive(Object)]
#[oai(rename = "NewUser", deny_unknown_fields)]
struct NewUserBody {
    email: String,
    /// 8 to 1,024 bytes, and not one that is guessed quickly
    password: String,
    /// `admin` or `user`
    role: String,
    name: Optional<String>,
}

/// Changes to an account: what is absent stays, `null` clears
#[derive(Object)]
#[oai(rename = "UserChanges", deny_unknown_fields)]
struct UserChangesBody {
    name: Optional<String>,
    /// `admin` or `user`
    role: Option<String>,
    /// `active` or `suspended`
    status: Option<String>,
}

#[derive(ApiResponse)]
enum Created {
    /// The account can be signed in to from now on
    #[oai(status = 201)]
    Made(Json<UserBody>, #[oai(header = "Location")] String),
}

#[OpenApi(tag = "Tag::Administration")]
impl UsersApi {
    /// List accounts
    #[oai(path = "/users", method = "get", operation_id = "list_users")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _caller: Caller,
        /// Part of the address or the name
        search: Query<Option<String>>,
        /// `admin` or `user`
        role: Query<Option<String>>,
        /// `active` or `suspended`
        status: Query<Option<String>>,
        /// 1 to 200, default 50
        limit: Query<Option<String>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Result<Json<UserPage>, Problem> {
        let mut refused = Vec::new();
        let filter = UserFilter {
            search: search.0,
            role: role.0,
            status: status.0,
            limit: number("limit", limit.0, &mut refused),
            cursor: cursor.0,
        };
        if !refused.is_empty() {
            return Err(Problem::refused(refused));
        }
        let page = app.terse.accounts().users(filter).await?;
        Ok(Json(UserPage {
            items: page.items.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(page.next_cursor),
        }))
    }

    /// Make an account
    #[oai(path = "/users", method = "post", operation_id = "create_user")]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        body: Body<NewUserBody>,
    ) -> Result<Created, Problem> {
        let role = read_role(&body.0.role).map_err(|error| Problem::refused([error]))?;
        touch(&caller.0, role)?;
        let new = NewUser {
            email: body.0.email,
            password: body.0.password.into(),
            role,
            name: body.0.name.0.take(),
        };
        let accounts = app.terse.accounts();
        let user = accounts.create_user(new, &caller.0.actor()).await?;
        let location = format!("{PREFIX}/users/{}", user.id);
        Ok(Created::Made(Json(user.into()), location))
    }

    /// One account
    #[oai(path = "/users/:id", method = "get", operation_id = "get_user")]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        _caller: Caller,
        id: Path<String>,
    ) -> Result<Json<UserBody>, Problem> {
        let user = app.terse.accounts().user(user_id(&id)?).await?;
        Ok(Json(user.into()))
    }

    /// Change an account
    ///
    /// One that is suspended or gets another role is signed out everywhere at once.
    #[oai(path = "/users/:id", method = "patch", operation_id = "update_user")]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
        body: Body<UserChangesBody>,
    ) -> Result<Json<UserBody>, Problem> {
        let changes = UserChanges {
            name: change(body.0.name),
            role: body.0.role,
            status: body.0.status,
        };
        let accounts = app.terse.accounts();
        let id = user_id(&id)?;
        touch(&caller.0, accounts.user(id).await?.role)?;
        if changes.role.as_deref() == Some("admin") {
            touch(&caller.0, InstanceRole::Admin)?;
        }
        let user = accounts.update_user(id, changes, &caller.0.actor()).await?;
        Ok(Json(user.into()))
    }

    /// Delete an account
    ///
    /// It is signed out everywhere, and its keys end. What it did stays in the audit log.
    #[oai(path = "/users/:id", method = "delete", operation_id = "delete_user")]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
        /// What becomes of workspaces that have no other owner: `transfer` (default) or `delete`,
        /// with their links
        links: Query<Option<String>>,
        /// With `transfer`: the id of the account that owns them from now on; yourself when absent
        to: Query<Option<String>>,
    ) -> Result<Done, Problem> {
        let user = user_id(&id)?;
        let legacy = legacy(links.0.as_deref(), to.0.as_deref(), caller.0.user)
            .map_err(|error| Problem::refused([error]))?;
        touch(&caller.0, app.terse.accounts().user(user).await?.role)?;
        let workspaces = app.terse.workspaces();
        workspaces
            .delete_user(user, legacy, &caller.0.actor())
            .await?;
        Ok(Done::Done)
    }
}

fn legacy(links: Option<&str>, to: Option<&str>, caller: UserId) -> Result<Legacy, FieldError> {
    match (links, to) {
        (None | Some("transfer"), None) => Ok(Legacy::To(caller)),
        (None | Some("transfer"), Some(heir)) => heir.parse().map(Legacy::To).map_err(|_| {
            FieldError::new("to", "user_unknown", "must be the id of another account")
        }),
        (Some("delete"), None) => Ok(Legacy::Deleted),
        (Some("delete"), Some(_)) => Err(FieldError::new(
            "to",
            "field_unknown",
            "goes with links=transfer only",
        )),
        (Some(_), _) => Err(FieldError::new(
            "links",
            "links_unknown",
            "must be transfer or delete",
        )),
    }
}

/// Nobody makes, changes or deletes an account that may do more than they may themselves: a key that
/// manages users is no key to everything.
fn touch(caller: &Principal, role: InstanceRole) -> Result<(), Problem> {
    let enough = caller.on_instance.covers(role.permissions())
        && caller.permissions.covers(role.permissions_everywhere());
    if enough {
        Ok(())
    } else {
        Err(Problem::forbidden(
            "forbidden",
            "Accounts of administrators need all that an administrator may do.",
        ))
    }
}

/// A malformed id is answered exactly like an unknown one.
fn user_id(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

impl From<User> for UserBody {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            email: user.email,
            name: Nullable(user.name),
            role: user.role.as_str().to_owned(),
            status: user.status.as_str().to_owned(),
            created_at: Time(user.created_at),
        }
    }
}
