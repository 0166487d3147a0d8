//! API keys: for programs.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use secrecy::ExposeSecret as _;
use terse_core::accounts::{ApiKey, NewApiKey};

use crate::api::body::Body;
use crate::api::params::time;
use crate::api::schema::{Nullable, Optional, Time};
use crate::api::security::Caller;
use crate::api::{Done, PREFIX, Tag};
use crate::app::App;
use crate::problem::Problem;

pub struct KeysApi;

/// A key to be made
#[derive(Object)]
#[oai(rename = "NewApiKey", deny_unknown_fields)]
struct NewKeyBody {
    /// 1 to 100 characters
    name: String,
    /// Permissions, at least one, none that you lack
    scopes: Vec<String>,
    /// RFC 3339; good until revoked when absent
    expires_at: Optional<String>,
}

/// A key, without its secret
#[derive(Object)]
#[oai(rename = "ApiKey")]
struct KeyBody {
    id: String,
    name: String,
    scopes: Vec<String>,
    /// Whose permissions limit it
    owner_id: String,
    created_at: Time,
    expires_at: Nullable<Time>,
    /// To the minute
    last_used_at: Nullable<Time>,
}

/// A key that has just been made
#[derive(Object)]
#[oai(rename = "MadeApiKey")]
struct MadeKey {
    id: String,
    name: String,
    scopes: Vec<String>,
    owner_id: String,
    created_at: Time,
    expires_at: Nullable<Time>,
    last_used_at: Nullable<Time>,
    /// The key itself, shown this once
    key: String,
}

#[derive(Object)]
#[oai(rename = "ApiKeyPage")]
struct KeyPage {
    items: Vec<KeyBody>,
    next_cursor: Nullable<String>,
}

#[derive(ApiResponse)]
enum Created {
    /// Keep the key: nobody can show it again
    #[oai(status = 201)]
    Made(
        Json<MadeKey>,
        #[oai(header = "Location")] String,
        #[oai(header = "Cache-Control")] String,
    ),
}

#[OpenApi(tag = "Tag::Keys")]
impl KeysApi {
    /// List the workspace's keys
    #[oai(path = "/api-keys", method = "get", operation_id = "list_api_keys")]
    async fn list(&self, app: Data<&Arc<App>>, caller: Caller) -> Result<Json<KeyPage>, Problem> {
        let keys = app.terse.accounts().keys(caller.0.workspace).await?;
        Ok(Json(KeyPage {
            items: keys.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(None),
        }))
    }

    /// Make a key
    ///
    /// It acts in this workspace only. At any time it may do what its scopes name and its owner may do.
    #[oai(path = "/api-keys", method = "post", operation_id = "create_api_key")]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        body: Body<NewKeyBody>,
    ) -> Result<Created, Problem> {
        let mut refused = Vec::new();
        let new = NewApiKey {
            name: body.0.name,
            scopes: body.0.scopes,
            expires_at: time("expires_at", body.0.expires_at.0.take(), &mut refused),
        };
        if !refused.is_empty() {
            return Err(Problem::refused(refused));
        }
        let accounts = app.terse.accounts();
        let (key, text) = accounts
            .create_key(&caller.0, &caller.0.actor(), new)
            .await?;
        let key = KeyBody::from(key);
        let location = format!("{PREFIX}/api-keys/{}", key.id);
        let made = MadeKey {
            id: key.id,
            name: key.name,
            scopes: key.scopes,
            owner_id: key.owner_id,
            created_at: key.created_at,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            key: text.expose_secret().to_owned(),
        };
        Ok(Created::Made(Json(made), location, "no-store".to_owned()))
    }

    /// Revoke a key
    #[oai(
        path = "/api-keys/:id",
        method = "delete",
        operation_id = "revoke_api_key"
    )]
    async fn revoke(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
    ) -> Result<Done, Problem> {
        let key = id.0.parse().map_err(|_| Problem::not_found())?;
        let accounts = app.terse.accounts();
        accounts
            .revoke_key(caller.0.workspace, key, &caller.0.actor())
            .await?;
        Ok(Done::Done)
    }
}

impl From<ApiKey> for KeyBody {
    fn from(key: ApiKey) -> Self {
        let scopes = key.scopes.iter();
        Self {
            id: key.id.to_string(),
            name: key.name,
            scopes: scopes.map(|scope| scope.as_str().to_owned()).collect(),
            owner_id: key.owner.to_string(),
            created_at: Time(key.created_at),
            expires_at: Nullable(key.expires_at.map(Time)),
            last_used_at: Nullable(key.last_used_at.map(Time)),
        }
    }
}
