use terse_core::accounts::{AuthenticationError, NewApiKey};
use terse_core::model::{Permission, Principal};
use terse_core::workspaces::WorkspaceError;

use crate::fixture::{Installation, on_both_databases};
use crate::people::{Person, by};

on_both_databases![
    a_change_of_role_is_in_force_at_once,
    nobody_gives_changes_or_takes_more_than_they_may,
    the_last_owner_stays,
    a_suspended_owner_is_none_to_rely_on,
    two_owners_who_demote_each_other_leave_one,
    fifty_parallel_departures_of_owners_leave_one,
    a_removed_member_is_out_at_once_and_their_keys_for_good,
    members_and_invitations_of_another_workspace_do_not_exist,
    every_change_is_in_the_audit_log,
];

pub(crate) async fn role_of(t: &Installation, of: &Principal, person: &Person) -> Option<String> {
    let members = t.terse.workspaces().members(of.workspace).await.unwrap();
    let member = members
        .into_iter()
        .find(|member| member.user == person.user);
    member.map(|member| member.role)
}

pub(crate) async fn change(
    t: &Installation,
    by_whom: &Principal,
    person: &Person,
    role: &str,
) -> Result<(), WorkspaceError> {
    let workspaces = t.terse.workspaces();
    workspaces
        .change_member(by_whom, &by(by_whom), person.user, role)
        .await?;
    Ok(())
}

pub(crate) async fn remove(
    t: &Installation,
    by_whom: &Principal,
    person: &Person,
) -> Result<(), WorkspaceError> {
    let workspaces = t.terse.workspaces();
    workspaces
        .remove_member(by_whom, &by(by_whom), person.user)
        .await
}

async fn a_change_of_role_is_in_force_at_once(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "viewer").await;
    let may_write = async || {
        let inside = bob.in_workspace(team.workspace).await.unwrap();
        inside.may(Permission::LinksWrite)
    };
    assert!(!may_write().await);
    change(&t, &team, &bob, "editor").await.unwrap();
    assert!(may_write().await);
    change(&t, &team, &bob, "viewer").await.unwrap();
    assert!(!may_write().await);
}

async fn nobody_gives_changes_or_takes_more_than_they_may(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let admin = Person::member(&t, "admin", &team, "admin").await;
    let viewer = Person::member(&t, "viewer", &team, "viewer").await;
    let stranger = Person::new(&t, "stranger").await;
    let inside = admin.in_workspace(team.workspace).await.unwrap();
    for refused in [
        change(&t, &inside, &viewer, "owner").await,
        change(&t, &inside, &admin, "owner").await,
        change(&t, &inside, &ada, "viewer").await,
        remove(&t, &inside, &ada).await,
        stranger.is_invited(&inside, "owner").await,
    ] {
        assert!(
            matches!(refused, Err(WorkspaceError::MoreThanOwn)),
            "{refused:?}"
        );
    }
    assert_eq!(role_of(&t, &team, &ada).await.as_deref(), Some("owner"));
    change(&t, &inside, &viewer, "admin").await.unwrap();
    remove(&t, &inside, &viewer).await.unwrap();
    stranger.is_invited(&inside, "admin").await.unwrap();

    // A key gives no more than its scopes, whoever owns it.
    let new = NewApiKey {
        name: "k".to_owned(),
        scopes: vec!["members:manage".to_owned()],
        expires_at: None,
    };
    let accounts = t.terse.accounts();
    let (_, key) = accounts.create_key(&team, &by(&team), new).await.unwrap();
    let key = accounts.authenticate_key(&key, None).await.unwrap();
    let refused = change(&t, &key, &admin, "viewer").await;
    assert!(matches!(refused, Err(WorkspaceError::MoreThanOwn)));
}

async fn the_last_owner_stays(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "admin").await;
    for refused in [
        change(&t, &team, &ada, "admin").await,
        remove(&t, &team, &ada).await,
    ] {
        assert!(matches!(refused, Err(WorkspaceError::LastOwner)));
    }
    change(&t, &team, &ada, "owner").await.unwrap();
    change(&t, &team, &bob, "owner").await.unwrap();
    remove(&t, &team, &ada).await.unwrap();
    let refused = ada.in_workspace(team.workspace).await;
    assert!(matches!(refused, Err(AuthenticationError::NoSuchWorkspace)));
}

async fn a_suspended_owner_is_none_to_rely_on(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    Person::member(&t, "bob", &team, "owner").await;
    t.sql("UPDATE users SET status = 'suspended' WHERE email = 'bob@example.com'")
        .await;
    let refused = remove(&t, &team, &ada).await;
    assert!(matches!(refused, Err(WorkspaceError::LastOwner)));
}

async fn two_owners_who_demote_each_other_leave_one(t: Installation) {
    let ada = Person::ada(&t).await;
    for round in 0..10 {
        let team = ada.founds("Team").await;
        let bob = Person::member(&t, &format!("bob{round}"), &team, "owner").await;
        let bobs = bob.in_workspace(team.workspace).await.unwrap();
        let (first, second) = tokio::join!(
            change(&t, &team, &bob, "viewer"),
            change(&t, &bobs, &ada, "viewer"),
        );
        let refused = match (first, second) {
            (Ok(()), Err(refused)) | (Err(refused), Ok(())) => refused,
            other => panic!("{other:?}"),
        };
        assert!(matches!(refused, WorkspaceError::LastOwner), "{refused:?}");
    }
}

async fn fifty_parallel_departures_of_owners_leave_one(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let mut owners = vec![team.clone()];
    for number in 1..5 {
        let owner = Person::member(&t, &format!("owner{number}"), &team, "owner").await;
        owners.push(owner.in_workspace(team.workspace).await.unwrap());
    }
    // So that each attempt has a connection of its own, and they do meet.
    let workspaces = t.terse.workspaces();
    let lists = (0..16).map(|_| workspaces.members(team.workspace));
    futures_util::future::join_all(lists).await;
    let attempts = (0..50).map(|attempt| {
        let terse = t.terse.clone();
        let (leaving, demoting) = (owners[attempt % 5].clone(), attempt % 2 == 0);
        tokio::spawn(async move {
            let (actor, user) = (by(&leaving), leaving.user);
            let workspaces = terse.workspaces();
            if demoting {
                let changed = workspaces
                    .change_member(&leaving, &actor, user, "viewer")
                    .await;
                changed.map(drop)
            } else {
                workspaces.remove_member(&leaving, &actor, user).await
            }
        })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(()) | Err(WorkspaceError::LastOwner | WorkspaceError::NotFound) => {}
            Err(WorkspaceError::Store(error)) if error.is_unavailable() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    let members = t.terse.workspaces().members(team.workspace).await.unwrap();
    let owners = members.iter().filter(|member| member.role == "owner");
    assert_eq!(owners.count(), 1);
}

async fn a_removed_member_is_out_at_once_and_their_keys_for_good(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "admin").await;
    let inside = bob.in_workspace(team.workspace).await.unwrap();
    let new = NewApiKey {
        name: "k".to_owned(),
        scopes: vec!["links:read".to_owned()],
        expires_at: None,
    };
    let accounts = t.terse.accounts();
    let (_, key) = accounts
        .create_key(&inside, &by(&inside), new)
        .await
        .unwrap();
    accounts.authenticate_key(&key, None).await.unwrap();

    remove(&t, &team, &bob).await.unwrap();
    let refused = bob.in_workspace(team.workspace).await;
    assert!(matches!(refused, Err(AuthenticationError::NoSuchWorkspace)));
    let refused = remove(&t, &team, &bob).await;
    assert!(matches!(refused, Err(WorkspaceError::NotFound)));
    bob.join(&t, &team, "admin").await;
    let refused = accounts.authenticate_key(&key, None).await;
    assert!(matches!(refused, Err(AuthenticationError::KeyInvalid)));
}

async fn members_and_invitations_of_another_workspace_do_not_exist(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "viewer").await;
    let cy = Person::new(&t, "cy").await;
    cy.is_invited(&team, "viewer").await.unwrap();
    let home = ada.at_home().await;
    let workspaces = t.terse.workspaces();
    let open = workspaces.invitations(team.workspace).await.unwrap();
    for refused in [
        change(&t, &home, &bob, "editor").await,
        remove(&t, &home, &bob).await,
        workspaces
            .revoke_invitation(home.workspace, open[0].id, &by(&home))
            .await,
    ] {
        assert!(matches!(refused, Err(WorkspaceError::NotFound)));
    }
    assert_eq!(role_of(&t, &team, &bob).await.as_deref(), Some("viewer"));
    assert_eq!(workspaces.invitations(team.workspace).await.unwrap(), open);
    assert!(
        workspaces
            .invitations(home.workspace)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn every_change_is_in_the_audit_log(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "viewer").await;
    let workspaces = t.terse.workspaces();
    change(&t, &team, &bob, "editor").await.unwrap();
    remove(&t, &team, &bob).await.unwrap();
    bob.is_invited(&team, "viewer").await.unwrap();
    let open = workspaces.invitations(team.workspace).await.unwrap();
    workspaces
        .revoke_invitation(team.workspace, open[0].id, &by(&team))
        .await
        .unwrap();
    workspaces.delete(team.workspace, &by(&team)).await.unwrap();
    for (question, times) in [
        (
            "SELECT COUNT(*) FROM audit_log WHERE action = 'workspace.create' AND workspace_id IS NOT NULL AND actor = 'ada@example.com'",
            1,
        ),
        (
            "SELECT COUNT(*) FROM audit_log WHERE action = 'invitation.create' AND details LIKE '%bob@example.com%'",
            2,
        ),
        (
            "SELECT COUNT(*) FROM audit_log WHERE action = 'invitation.accept' AND workspace_id IS NOT NULL AND actor = 'bob@example.com'",
            1,
        ),
        (
            "SELECT COUNT(*) FROM audit_log WHERE action = 'member.update' AND details LIKE '%[\"viewer\",\"editor\"]%'",
            1,
        ),
        (
            "SELECT COUNT(*) FROM audit_log WHERE action = 'member.remove' AND object IS NOT NULL",
            1,
        ),
        (
            "SELECT COUNT(*) FROM audit_log WHERE action = 'invitation.revoke'",
            1,
        ),
        (
            "SELECT COUNT(*) FROM audit_log WHERE action = 'workspace.delete'",
            1,
        ),
    ] {
        assert_eq!(t.number(question).await, times, "{question}");
    }
}
