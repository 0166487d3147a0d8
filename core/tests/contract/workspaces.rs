use terse_core::accounts::{AuthenticationError, NewApiKey};
use terse_core::links::LinkError;
use terse_core::model::{NewLink, WorkspaceChanges};
use terse_core::workspaces::WorkspaceError;
use terse_core::{GoneReason, Resolution};

use crate::fixture::{HOST, Installation, on_both_databases, person};
use crate::people::{Person, by};

on_both_databases![
    a_maker_owns_a_workspace_and_sees_it_after_their_own,
    a_workspace_is_renamed_and_bad_names_are_refused,
    strangers_know_of_no_other_workspace,
    a_deleted_workspaces_links_are_gone_with_the_next_redirect,
    a_deleted_workspaces_keys_are_worth_nothing,
    a_deleted_workspace_is_nobodys_any_more,
    the_only_workspace_of_somebody_stays,
    of_fifty_parallel_deletions_of_all_workspaces_of_somebody_one_is_refused,
    nobody_makes_workspaces_without_end,
];

async fn a_maker_owns_a_workspace_and_sees_it_after_their_own(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("  Team ").await;
    let home = ada.at_home().await;
    assert_eq!(home.workspace, t.workspace);
    let list = t.terse.workspaces().list(&home).await.unwrap();
    let told: Vec<_> = list
        .iter()
        .map(|workspace| {
            (
                workspace.id,
                workspace.name.as_str(),
                workspace.role.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (t.workspace, "ada@example.com", Some("owner")),
            (team.workspace, "Team", Some("owner")),
        ]
    );
    for workspace in &list {
        assert_eq!(workspace.permissions, home.permissions);
    }
    assert_eq!(list[1].created_at, t.now());
    let one = t.terse.workspaces().get(&team).await.unwrap();
    assert_eq!(one, list[1]);
}

async fn a_workspace_is_renamed_and_bad_names_are_refused(t: Installation) {
    let ada = Person::ada(&t).await;
    let home = ada.at_home().await;
    let workspaces = t.terse.workspaces();
    for name in ["", " ", "a\0b", "two\nlines", &"n".repeat(101)] {
        for refused in [
            workspaces.create(&home, &by(&home), name).await,
            workspaces
                .update(&home, &by(&home), WorkspaceChanges::rename(name))
                .await,
        ] {
            let Err(WorkspaceError::Refused(errors)) = refused else {
                panic!("{name:?}: {refused:?}");
            };
            assert_eq!(errors[0].field, "name");
        }
    }
    let longest = "ü".repeat(100);
    let renamed = WorkspaceChanges::rename(&longest);
    let renamed = workspaces.update(&home, &by(&home), renamed).await;
    assert_eq!(renamed.unwrap().name, longest);
    let same = workspaces
        .update(&home, &by(&home), WorkspaceChanges::default())
        .await
        .unwrap();
    assert_eq!(same.name, longest);
    assert_eq!(workspaces.list(&home).await.unwrap().len(), 1);
    assert_eq!(
        t.number("SELECT COUNT(*) FROM audit_log WHERE action = 'workspace.update'")
            .await,
        1
    );
}

async fn strangers_know_of_no_other_workspace(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::new(&t, "bob").await;
    let refused = bob.in_workspace(team.workspace).await;
    assert!(matches!(refused, Err(AuthenticationError::NoSuchWorkspace)));
    let bobs = t.terse.workspaces().list(&bob.at_home().await).await;
    assert!(bobs.unwrap().iter().all(|seen| seen.id != team.workspace));
}

async fn a_deleted_workspaces_links_are_gone_with_the_next_redirect(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let links = t.terse.links();
    let new = || NewLink::to("https://example.com/team").alias("team");
    links.create(&team.workspace, new()).await.unwrap();
    t.link("home").await;
    for path in ["/team", "/home"] {
        let found = t.terse.resolve(HOST, path, &person()).await.unwrap();
        assert!(matches!(found, Resolution::Redirect(_)), "{found:?}");
    }
    let workspaces = t.terse.workspaces();
    workspaces.delete(team.workspace, &by(&team)).await.unwrap();
    let gone = t.terse.resolve(HOST, "/team", &person()).await.unwrap();
    assert!(
        matches!(gone, Resolution::Gone(GoneReason::Deleted)),
        "{gone:?}"
    );
    let other = t.terse.resolve(HOST, "/home", &person()).await.unwrap();
    assert!(matches!(other, Resolution::Redirect(_)), "{other:?}");
    let taken = links.create(&t.workspace, new()).await;
    assert!(matches!(taken, Err(LinkError::SlugRetired)));
    let versions = t
        .number("SELECT version FROM links WHERE slug_key = 'team'")
        .await;
    assert_eq!(versions, 2);
}

async fn a_deleted_workspaces_keys_are_worth_nothing(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let accounts = t.terse.accounts();
    let new = NewApiKey {
        name: "k".to_owned(),
        scopes: vec!["links:read".to_owned()],
        expires_at: None,
    };
    let (_, key) = accounts.create_key(&team, &by(&team), new).await.unwrap();
    let seen = accounts.authenticate_key(&key, None).await.unwrap();
    let list = t.terse.workspaces().list(&seen).await.unwrap();
    assert_eq!(list.len(), 1, "a key knows of its own workspace alone");
    assert_eq!(list[0].permissions, seen.permissions);
    let workspaces = t.terse.workspaces();
    workspaces.delete(team.workspace, &by(&team)).await.unwrap();
    let refused = accounts.authenticate_key(&key, None).await;
    assert!(matches!(refused, Err(AuthenticationError::KeyInvalid)));
}

async fn a_deleted_workspace_is_nobodys_any_more(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "viewer").await;
    let cy = Person::new(&t, "cy").await;
    cy.is_invited(&team, "viewer").await.unwrap();
    let token = crate::people::mailed_token(&t, &cy.email).await;
    let workspaces = t.terse.workspaces();
    workspaces.delete(team.workspace, &by(&team)).await.unwrap();
    for member in [&ada, &bob] {
        let refused = member.in_workspace(team.workspace).await;
        assert!(matches!(refused, Err(AuthenticationError::NoSuchWorkspace)));
        let left = workspaces.list(&member.at_home().await).await.unwrap();
        assert_eq!(left.len(), 1);
    }
    let late = cy.accept(&token).await;
    assert!(matches!(late, Err(WorkspaceError::TokenInvalid)));
    // With requests that began before.
    let late = NewLink::to("https://example.com/");
    let late = t.terse.links().create(&team.workspace, late).await;
    assert!(matches!(late, Err(LinkError::NotFound)), "{late:?}");
    for refused in [
        workspaces.delete(team.workspace, &by(&team)).await,
        workspaces
            .update(&team, &by(&team), WorkspaceChanges::rename("Again"))
            .await
            .map(drop),
        cy.is_invited(&team, "viewer").await,
        workspaces.remove_member(&team, &by(&team), bob.user).await,
    ] {
        assert!(
            matches!(refused, Err(WorkspaceError::NotFound)),
            "{refused:?}"
        );
    }
}

async fn the_only_workspace_of_somebody_stays(t: Installation) {
    let ada = Person::ada(&t).await;
    let home = ada.at_home().await;
    t.link("kept").await;
    let workspaces = t.terse.workspaces();
    let refused = workspaces.delete(home.workspace, &by(&home)).await;
    assert!(matches!(refused, Err(WorkspaceError::LastWorkspace)));
    let found = t.terse.resolve(HOST, "/kept", &person()).await.unwrap();
    assert!(matches!(found, Resolution::Redirect(_)), "{found:?}");

    // Bob gave up his own; Ada has another by now.
    let bob = Person::member(&t, "bob", &home, "viewer").await;
    let bobs = bob.at_home().await;
    workspaces.delete(bobs.workspace, &by(&bobs)).await.unwrap();
    ada.founds("Another").await;
    let refused = workspaces.delete(home.workspace, &by(&home)).await;
    assert!(matches!(refused, Err(WorkspaceError::LastWorkspace)));
    workspaces
        .remove_member(&home, &by(&home), bob.user)
        .await
        .unwrap();
    workspaces.delete(home.workspace, &by(&home)).await.unwrap();
}

async fn of_fifty_parallel_deletions_of_all_workspaces_of_somebody_one_is_refused(t: Installation) {
    let ada = Person::ada(&t).await;
    let mut all = vec![t.workspace];
    for number in 1..5 {
        all.push(ada.founds(&format!("{number}")).await.workspace);
    }
    let actor = by(&ada.at_home().await);
    let attempts = (0..50).map(|attempt| {
        let (terse, actor, workspace) = (t.terse.clone(), actor.clone(), all[attempt % 5]);
        tokio::spawn(async move { terse.workspaces().delete(workspace, &actor).await })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(()) | Err(WorkspaceError::NotFound | WorkspaceError::LastWorkspace) => {}
            Err(WorkspaceError::Store(error)) if error.is_unavailable() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    let left = t.terse.workspaces().list(&ada.at_home().await).await;
    assert_eq!(left.unwrap().len(), 1);
}

async fn nobody_makes_workspaces_without_end(t: Installation) {
    let ada = Person::ada(&t).await;
    for number in 1..100 {
        ada.founds(&format!("{number}")).await;
    }
    let home = ada.at_home().await;
    let one_more = t.terse.workspaces().create(&home, &by(&home), "100").await;
    assert!(matches!(one_more, Err(WorkspaceError::TooMany)));
}
