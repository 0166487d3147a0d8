//! Oneself: profile, password, sessions.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::accounts::{Session, UserChanges};
use terse_core::model::{Permissions, Principal, User};

use crate::api::body::Body;
use crate::api::params::change;
use crate::api::schema::{Nullable, Optional, Time};
use crate::api::security::Caller;
use crate::api::{Done, Tag};
use crate::app::App;
use crate::limits::LimitKey;
use crate::problem::Problem;

pub struct MeApi;

/// Whoever asks
#[derive(Object)]
struct Me {
    id: String,
    email: String,
    name: Nullable<String>,
    /// `admin` or `user`, on the whole instance
    role: String,
    status: String,
    created_at: Time,
    /// The workspace that this request acts in
    workspace_id: String,
    /// What this request may do: in that workspace, and on the instance
    permissions: Vec<String>,
}

/// Changes to oneself
#[derive(Object)]
#[oai(rename = "MeChanges", deny_unknown_fields)]
struct MeChanges {
    /// At most 100 characters; `null` clears it
    name: Optional<String>,
}

/// A new password for who knows the current one
#[derive(Object)]
#[oai(rename = "PasswordChange", deny_unknown_fields)]
struct PasswordChange {
    current_password: String,
    /// 8 to 1,024 bytes, and not one that is guessed quickly
    new_password: String,
}

/// One place where somebody is signed in
#[derive(Object)]
#[oai(rename = "Session")]
struct SessionBody {
    id: String,
    /// Whether it is the one that asks
    current: bool,
    created_at: Time,
    last_used_at: Nullable<Time>,
    expires_at: Time,
    /// What the program calls itself
    client: Nullable<String>,
    /// From where it began
    address: Nullable<String>,
}

#[derive(Object)]
#[oai(rename = "SessionPage")]
struct SessionPage {
    items: Vec<SessionBody>,
    next_cursor: Nullable<String>,
}

#[derive(ApiResponse)]
enum Changed {
    /// The new password is in force; other sessions have ended
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Tag::Auth")]
impl MeApi {
    /// Who am I?
    #[oai(path = "/me", method = "get", operation_id = "get_me")]
    async fn get(&self, app: Data<&Arc<App>>, caller: Caller) -> Result<Json<Me>, Problem> {
        let user = app.terse.accounts().user(caller.0.user).await?;
        Ok(Json(me(user, &caller.0)))
    }

    /// Change one's profile
    #[oai(path = "/me", method = "patch", operation_id = "update_me")]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        body: Body<MeChanges>,
    ) -> Result<Json<Me>, Problem> {
        let changes = UserChanges {
            name: change(body.0.name),
            ..UserChanges::default()
        };
        let accounts = app.terse.accounts();
        let user = accounts
            .update_user(caller.0.user, changes, &caller.0.actor())
            .await?;
        Ok(Json(me(user, &caller.0)))
    }

    /// Change one's password
    ///
    /// Every other session of the account ends.
    #[oai(
        path = "/auth/password/change",
        method = "post",
        operation_id = "change_password"
    )]
    async fn change_password(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        body: Body<PasswordChange>,
    ) -> Result<Changed, Problem> {
        // Whoever stole a session could guess the password here.
        let account = LimitKey::of_name(&caller.0.user.to_string());
        if let Err(limited) = app.limits.password.take(account).await {
            app.metrics.limited_auth.up();
            return Err(Problem::limited(&limited));
        }
        let accounts = app.terse.accounts();
        let (current, new) = (body.0.current_password, body.0.new_password);
        accounts
            .change_password(&caller.0, current.into(), new.into(), &caller.0.actor())
            .await?;
        Ok(Changed::Done)
    }

    /// Where one is signed in
    #[oai(
        path = "/auth/sessions",
        method = "get",
        operation_id = "list_sessions"
    )]
    async fn sessions(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
    ) -> Result<Json<SessionPage>, Problem> {
        let sessions = app.terse.accounts().sessions(caller.0.user).await?;
        let current = caller.0.credential.session();
        Ok(Json(SessionPage {
            items: sessions
                .into_iter()
                .map(|session| SessionBody {
                    current: Some(session.id) == current,
                    ..session.into()
                })
                .collect(),
            next_cursor: Nullable(None),
        }))
    }

    /// Sign out everywhere, here too
    #[oai(
        path = "/auth/sessions",
        method = "delete",
        operation_id = "end_sessions"
    )]
    async fn end_sessions(&self, app: Data<&Arc<App>>, caller: Caller) -> Result<Done, Problem> {
        let accounts = app.terse.accounts();
        accounts
            .end_all_sessions(caller.0.user, &caller.0.actor())
            .await?;
        Ok(Done::Done)
    }

    /// Sign out in one place
    #[oai(
        path = "/auth/sessions/:id",
        method = "delete",
        operation_id = "end_session"
    )]
    async fn end_session(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
    ) -> Result<Done, Problem> {
        let session = id.0.parse().map_err(|_| Problem::not_found())?;
        let accounts = app.terse.accounts();
        let ended = accounts
            .end_session(caller.0.user, session, &caller.0.actor())
            .await?;
        if ended {
            Ok(Done::Done)
        } else {
            Err(Problem::not_found())
        }
    }
}

fn me(user: User, caller: &Principal) -> Me {
    let permissions: Permissions = caller.permissions.union(caller.on_instance);
    Me {
        id: user.id.to_string(),
        email: user.email,
        name: Nullable(user.name),
        role: user.role.as_str().to_owned(),
        status: user.status.as_str().to_owned(),
        created_at: Time(user.created_at),
        workspace_id: caller.workspace.to_string(),
        permissions: permissions
            .iter()
            .map(|permission| permission.as_str().to_owned())
            .collect(),
    }
}

impl From<Session> for SessionBody {
    fn from(session: Session) -> Self {
        Self {
            id: session.id.to_string(),
            current: false,
            created_at: Time(session.created_at),
            last_used_at: Nullable(session.last_used_at.map(Time)),
            expires_at: Time(session.expires_at),
            client: Nullable(session.client),
            address: Nullable(session.address),
        }
    }
}
