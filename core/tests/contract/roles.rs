use terse_core::model::{Actor, Permission, Permissions};
use terse_core::workspaces::{INVITATION_LIFETIME, RoleError, WorkspaceError};

use crate::fixture::{Installation, on_both_databases};
use crate::people::{Person, by};

on_both_databases![
    an_own_role_stands_beside_the_built_in_ones,
    bad_roles_are_refused_by_field,
    the_built_in_roles_stay_as_they_are,
    a_change_of_a_role_is_in_force_at_once,
    a_role_that_somebody_has_is_not_deleted,
    of_parallel_grants_and_deletions_of_a_role_nobody_is_left_with_a_lost_one,
    an_own_role_is_given_by_nobody_who_may_less,
];

fn names(permissions: &[&str]) -> Vec<String> {
    permissions.iter().map(|&name| name.to_owned()).collect()
}

async fn make(t: &Installation, name: &str, permissions: &[&str]) {
    let workspaces = t.terse.workspaces();
    workspaces
        .create_role(&Actor::system(), name, &names(permissions))
        .await
        .unwrap();
}

async fn an_own_role_stands_beside_the_built_in_ones(t: Installation) {
    make(
        &t,
        "zz-helper",
        &["links:write", "links:read", "links:read"],
    )
    .await;
    make(&t, "0", &[]).await;
    let roles = t.terse.workspaces().roles().await.unwrap();
    let told: Vec<_> = roles
        .iter()
        .map(|role| (role.name.as_str(), role.built_in))
        .collect();
    assert_eq!(
        told,
        [
            ("owner", true),
            ("admin", true),
            ("editor", true),
            ("viewer", true),
            ("0", false),
            ("zz-helper", false),
        ]
    );
    assert_eq!(
        roles[5].permissions,
        Permissions::of(&[Permission::LinksRead, Permission::LinksWrite])
    );
    let again = t
        .terse
        .workspaces()
        .create_role(&Actor::system(), "zz-helper", &[])
        .await;
    assert!(matches!(again, Err(RoleError::Exists)));
}

async fn bad_roles_are_refused_by_field(t: Installation) {
    let workspaces = t.terse.workspaces();
    make(&t, "there", &["links:read"]).await;
    for (name, permission, code) in [
        ("", "links:read", "name_invalid"),
        ("Upper", "links:read", "name_invalid"),
        ("a b", "links:read", "name_invalid"),
        ("a\0", "links:read", "name_invalid"),
        ("\u{e4}", "links:read", "name_invalid"),
        (&"n".repeat(41), "links:read", "name_invalid"),
        ("there", "links:fly", "permission_unknown"),
        ("there", "users:manage", "permission_of_instance"),
        ("there", "roles:manage", "permission_of_instance"),
    ] {
        let permissions = names(&["links:read", permission]);
        let refused = workspaces
            .create_role(&Actor::system(), name, &permissions)
            .await;
        let Err(RoleError::Refused(errors)) = refused else {
            panic!("{name:?} {permission}: {refused:?}");
        };
        assert_eq!(errors[0].code, code, "{name:?} {permission}");
        let changed = workspaces
            .update_role(&Actor::system(), name, Some(&permissions))
            .await;
        match changed {
            Err(RoleError::NotFound) => assert_eq!(code, "name_invalid"),
            Err(RoleError::Refused(errors)) => assert_eq!(errors[0].code, code),
            other => panic!("{name:?} {permission}: {other:?}"),
        }
    }
    let roles = workspaces.roles().await.unwrap();
    assert_eq!(roles.len(), 5);
    assert_eq!(
        roles[4].permissions,
        Permissions::of(&[Permission::LinksRead])
    );
}

async fn the_built_in_roles_stay_as_they_are(t: Installation) {
    let workspaces = t.terse.workspaces();
    let system = Actor::system();
    let before = workspaces.roles().await.unwrap();
    for role in ["owner", "admin", "editor", "viewer"] {
        let made = workspaces.create_role(&system, role, &[]).await;
        assert!(matches!(made, Err(RoleError::Exists)));
        let changed = workspaces.update_role(&system, role, Some(&[])).await;
        assert!(matches!(changed, Err(RoleError::BuiltIn)));
        let deleted = workspaces.delete_role(&system, role).await;
        assert!(matches!(deleted, Err(RoleError::BuiltIn)));
    }
    assert_eq!(workspaces.roles().await.unwrap(), before);
}

async fn a_change_of_a_role_is_in_force_at_once(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    make(&t, "helper", &["links:read"]).await;
    let bob = Person::member(&t, "bob", &team, "helper").await;
    let workspaces = t.terse.workspaces();
    for wanted in [&["links:write"][..], &[], &["links:read", "tags:write"]] {
        let changed = workspaces
            .update_role(&Actor::system(), "helper", Some(&names(wanted)))
            .await
            .unwrap();
        let inside = bob.in_workspace(team.workspace).await.unwrap();
        assert_eq!(inside.permissions, changed.permissions);
        let listed = workspaces.list(&bob.at_home().await).await.unwrap();
        assert_eq!(listed[1].permissions, changed.permissions);
    }
    let same = workspaces
        .update_role(&Actor::system(), "helper", None)
        .await;
    let same = same.unwrap().permissions;
    assert!(same.contains(Permission::TagsWrite));
    let unknown = workspaces
        .update_role(&Actor::system(), "nobody", Some(&[]))
        .await;
    assert!(matches!(unknown, Err(RoleError::NotFound)));
    let told = "SELECT COUNT(*) FROM audit_log WHERE action = 'role.update' AND object = 'helper'";
    assert_eq!(t.number(told).await, 3);
}

async fn a_role_that_somebody_has_is_not_deleted(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    make(&t, "helper", &["links:read"]).await;
    let workspaces = t.terse.workspaces();
    let delete = async || workspaces.delete_role(&Actor::system(), "helper").await;

    let bob = Person::new(&t, "bob").await;
    bob.is_invited(&team, "helper").await.unwrap();
    assert!(matches!(delete().await, Err(RoleError::InUse)));
    bob.join(&t, &team, "helper").await;
    assert!(matches!(delete().await, Err(RoleError::InUse)));
    workspaces
        .change_member(&team, &by(&team), bob.user, "viewer")
        .await
        .unwrap();
    let cy = Person::new(&t, "cy").await;
    cy.is_invited(&team, "helper").await.unwrap();
    assert!(matches!(delete().await, Err(RoleError::InUse)));
    t.clock.set(t.now().plus(INVITATION_LIFETIME));
    delete().await.unwrap();
    assert!(matches!(delete().await, Err(RoleError::NotFound)));
    let refused = workspaces
        .change_member(&team, &by(&team), bob.user, "helper")
        .await;
    assert!(matches!(refused, Err(WorkspaceError::Refused(_))));
}

async fn of_parallel_grants_and_deletions_of_a_role_nobody_is_left_with_a_lost_one(
    t: Installation,
) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "viewer").await;
    for round in 0..20 {
        let name = format!("role-{round}");
        make(&t, &name, &["links:read"]).await;
        let workspaces = t.terse.workspaces();
        let actor = by(&team);
        let (granted, deleted) = tokio::join!(
            workspaces.change_member(&team, &actor, bob.user, &name),
            workspaces.delete_role(&actor, &name),
        );
        match (granted, deleted) {
            (Ok(_), Err(RoleError::InUse)) | (Err(WorkspaceError::Refused(_)), Ok(())) => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn an_own_role_is_given_by_nobody_who_may_less(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    make(&t, "blocker", &["links:block"]).await;
    let bob = Person::member(&t, "bob", &team, "viewer").await;
    let workspaces = t.terse.workspaces();
    let refused = workspaces
        .change_member(&team, &by(&team), bob.user, "blocker")
        .await;
    assert!(matches!(refused, Err(WorkspaceError::MoreThanOwn)));
    let cy = Person::new(&t, "cy").await;
    let refused = cy.is_invited(&team, "blocker").await;
    assert!(matches!(refused, Err(WorkspaceError::MoreThanOwn)));
}
