//! Administering accounts.

use crate::accounts::{Accounts, check_name, user_of};
use crate::model::{Actor, Change, FieldError, InstanceRole, Page, User, UserId, UserStatus};
use crate::paging;
use crate::store::StoreError;
use crate::store::accounts::{UserOutcome, UserSelection, UserUpdate};

const MAX_SEARCH_CHARS: usize = 255;

/// Which users a list shows.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// Part of the address or the name, in any case of ASCII letters.
    pub search: Option<String>,
    /// `admin` or `user`.
    pub role: Option<String>,
    /// `active` or `suspended`.
    pub status: Option<String>,
    /// 1 to 200, default 50.
    pub limit: Option<i64>,
    /// `next_cursor` of the page before, with the same filter.
    pub cursor: Option<String>,
}

/// Changes to a user; what is not named stays.
#[derive(Clone, Debug, Default)]
pub struct UserChanges {
    pub name: Change<String>,
    /// `admin` or `user`.
    pub role: Option<String>,
    /// `active` or `suspended`.
    pub status: Option<String>,
}

/// Why a user was not found or not changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("the change was refused")]
    Refused(Vec<FieldError>),
    #[error("there is no such user")]
    NotFound,
    /// Nobody could administer the instance any more.
    #[error("the last administrator stays one")]
    LastAdmin,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// One user.
    pub async fn user(&self, user: UserId) -> Result<User, UserError> {
        let row = self.store.user(user).await?;
        row.map(user_of).ok_or(UserError::NotFound)
    }

    /// One page of all users, oldest first.
    pub async fn users(&self, filter: UserFilter) -> Result<Page<User>, UserError> {
        let (selection, limit) = selection(filter).map_err(UserError::Refused)?;
        let rows = self.store.users(&selection).await?;
        Ok(paging::page(rows, limit, user_of, |user| {
            paging::cursor(user.created_at, user.id)
        }))
    }

    /// Changes a user. One who is suspended or gets another role is signed out everywhere at once.
    pub async fn update_user(
        &self,
        user: UserId,
        changes: UserChanges,
        actor: &Actor,
    ) -> Result<User, UserError> {
        let update = update(changes).map_err(UserError::Refused)?;
        let mut entry = self.entry(actor, "user.update");
        entry.object = Some(user.to_string());
        entry.details = serde_json::json!({
            "name": match &update.name {
                Change::Set(name) => Some(name),
                Change::Keep | Change::Clear => None,
            },
            "role": update.role.map(InstanceRole::as_str),
            "status": update.status.map(UserStatus::as_str),
        });
        match self.store.update_user(user, &update, &entry).await? {
            UserOutcome::Done => self.user(user).await,
            UserOutcome::NotFound => Err(UserError::NotFound),
            UserOutcome::LastAdmin => Err(UserError::LastAdmin),
        }
    }
}

fn selection(filter: UserFilter) -> Result<(UserSelection, usize), Vec<FieldError>> {
    let mut refused = Vec::new();
    let mut keep = |error: FieldError| refused.push(error);
    let limit = paging::limit(filter.limit).map_err(&mut keep).ok();
    let after = filter
        .cursor
        .as_deref()
        .map(paging::read_cursor)
        .transpose()
        .map_err(&mut keep)
        .ok()
        .flatten();
    let role = filter
        .role
        .as_deref()
        .map(read_role)
        .transpose()
        .map_err(&mut keep);
    let status = filter
        .status
        .as_deref()
        .map(read_status)
        .transpose()
        .map_err(&mut keep);
    if let Some(search) = &filter.search
        && (search.chars().count() > MAX_SEARCH_CHARS || search.contains('\0'))
    {
        keep(FieldError::new(
            "search",
            "filter_invalid",
            "must be at most 255 characters, without NUL",
        ));
    }
    match (limit, role, status, refused.is_empty()) {
        (Some(limit), Ok(role), Ok(status), true) => Ok((
            UserSelection {
                search: filter.search.filter(|search| !search.is_empty()),
                role,
                status,
                after,
                limit: paging::one_more(limit),
            },
            limit,
        )),
        _ => Err(refused),
    }
}

fn update(changes: UserChanges) -> Result<UserUpdate, Vec<FieldError>> {
    let mut refused = Vec::new();
    if let Change::Set(name) = &changes.name {
        refused.extend(check_name(name).err());
    }
    let mut keep = |error: FieldError| refused.push(error);
    let role = changes
        .role
        .as_deref()
        .map(read_role)
        .transpose()
        .map_err(&mut keep);
    let status = changes
        .status
        .as_deref()
        .map(read_status)
        .transpose()
        .map_err(&mut keep);
    match (role, status, refused.is_empty()) {
        (Ok(role), Ok(status), true) => Ok(UserUpdate {
            name: changes.name,
            role,
            status,
        }),
        _ => Err(refused),
    }
}

/// Reads `admin` or `user`.
pub fn read_role(text: &str) -> Result<InstanceRole, FieldError> {
    match text {
        "admin" => Ok(InstanceRole::Admin),
        "user" => Ok(InstanceRole::User),
        _ => Err(FieldError::new(
            "role",
            "role_unknown",
            "must be admin or user",
        )),
    }
}

fn read_status(text: &str) -> Result<UserStatus, FieldError> {
    match text {
        "active" => Ok(UserStatus::Active),
        "suspended" => Ok(UserStatus::Suspended),
        _ => Err(FieldError::new(
            "status",
            "status_unknown",
            "must be active or suspended",
        )),
    }
}
