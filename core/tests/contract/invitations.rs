use terse_core::model::Permission;
use terse_core::workspaces::{INVITATION_LIFETIME, WorkspaceError};

use crate::fixture::{Installation, on_both_databases};
use crate::members::{change, remove, role_of};
use crate::people::{Person, by, mailed_token};

on_both_databases![
    an_invited_person_becomes_a_member_with_that_role,
    a_new_member_may_at_once_what_their_role_says,
    only_the_account_of_the_invited_address_accepts,
    of_fifty_parallel_acceptances_one_makes_a_member,
    a_later_invitation_takes_the_place_of_an_earlier_one,
    of_fifty_parallel_invitations_of_one_address_one_is_open,
    an_invitation_ends_when_it_is_revoked_or_old,
    nobody_gets_what_the_sender_may_not_give_any_more,
    a_member_is_not_invited_again,
    bad_invitations_are_refused_by_field,
    an_invitation_queues_its_mail,
];

async fn an_invited_person_becomes_a_member_with_that_role(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::new(&t, "bob").await;
    let workspaces = t.terse.workspaces();
    let invited = workspaces
        .invite(&team, &by(&team), " BOB@example.com ", "editor")
        .await
        .unwrap();
    assert_eq!(
        (invited.email.as_str(), invited.role.as_str()),
        ("BOB@example.com", "editor")
    );
    assert_eq!(invited.expires_at, t.now().plus(INVITATION_LIFETIME));
    assert_eq!(
        workspaces.invitations(team.workspace).await.unwrap(),
        [invited]
    );

    let token = mailed_token(&t, &bob.email).await;
    bob.accept(&token).await.unwrap();
    assert!(
        workspaces
            .invitations(team.workspace)
            .await
            .unwrap()
            .is_empty()
    );
    let members = workspaces.members(team.workspace).await.unwrap();
    let told: Vec<_> = members
        .iter()
        .map(|member| (member.email.as_str(), member.role.as_str()))
        .collect();
    assert_eq!(
        told,
        [("ada@example.com", "owner"), ("bob@example.com", "editor")]
    );
    assert_eq!(members[1].joined_at, t.now());
}

async fn a_new_member_may_at_once_what_their_role_says(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::new(&t, "bob").await;
    bob.is_invited(&team, "editor").await.unwrap();
    let token = mailed_token(&t, &bob.email).await;
    let joined = bob.accept(&token).await.unwrap();
    assert_eq!(
        (joined.id, joined.role.as_deref()),
        (team.workspace, Some("editor"))
    );
    assert!(joined.permissions.contains(Permission::LinksWrite));

    let inside = bob.in_workspace(team.workspace).await.unwrap();
    assert_eq!(inside.permissions, joined.permissions);
    assert_ne!(
        bob.at_home().await.workspace,
        team.workspace,
        "his own stays his own"
    );
}

async fn only_the_account_of_the_invited_address_accepts(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::new(&t, "bob").await;
    let eve = Person::new(&t, "eve").await;
    bob.is_invited(&team, "editor").await.unwrap();
    let token = mailed_token(&t, &bob.email).await;
    for refused in [
        eve.accept(&token).await,
        ada.accept(&token).await,
        bob.accept("").await,
        bob.accept("another token").await,
    ] {
        assert!(matches!(refused, Err(WorkspaceError::TokenInvalid)));
    }
    assert_eq!(role_of(&t, &team, &eve).await, None);
    bob.accept(&token).await.expect("nobody else used it up");
}

async fn of_fifty_parallel_acceptances_one_makes_a_member(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::new(&t, "bob").await;
    bob.is_invited(&team, "viewer").await.unwrap();
    let token = mailed_token(&t, &bob.email).await;
    let home = bob.at_home().await;
    let attempts = (0..50).map(|_| {
        let (terse, home, token) = (t.terse.clone(), home.clone(), token.as_str().into());
        tokio::spawn(async move {
            let workspaces = terse.workspaces();
            workspaces
                .accept_invitation(&home, &by(&home), &token)
                .await
        })
    });
    let mut accepted = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => accepted += 1,
            Err(WorkspaceError::TokenInvalid) => {}
            Err(WorkspaceError::Store(error)) if error.is_unavailable() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(accepted, 1);
    assert_eq!(role_of(&t, &team, &bob).await.as_deref(), Some("viewer"));
    let told = "SELECT COUNT(*) FROM audit_log WHERE action = 'invitation.accept'";
    assert_eq!(t.number(told).await, 1);
}

async fn a_later_invitation_takes_the_place_of_an_earlier_one(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::new(&t, "bob").await;
    bob.is_invited(&team, "admin").await.unwrap();
    let first = mailed_token(&t, &bob.email).await;
    bob.is_invited(&team, "viewer").await.unwrap();
    let second = mailed_token(&t, &bob.email).await;
    let open = t.terse.workspaces().invitations(team.workspace).await;
    assert_eq!(open.unwrap().len(), 1);
    let refused = bob.accept(&first).await;
    assert!(matches!(refused, Err(WorkspaceError::TokenInvalid)));
    bob.accept(&second).await.unwrap();
    assert_eq!(role_of(&t, &team, &bob).await.as_deref(), Some("viewer"));
}

async fn of_fifty_parallel_invitations_of_one_address_one_is_open(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let attempts = (0..50).map(|_| {
        let (terse, team) = (t.terse.clone(), team.clone());
        tokio::spawn(async move {
            let workspaces = terse.workspaces();
            workspaces
                .invite(&team, &by(&team), "bob@example.com", "viewer")
                .await
        })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => {}
            Err(WorkspaceError::Store(error)) if error.is_unavailable() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    let open = t.terse.workspaces().invitations(team.workspace).await;
    assert_eq!(open.unwrap().len(), 1);
}

async fn an_invitation_ends_when_it_is_revoked_or_old(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::new(&t, "bob").await;
    let workspaces = t.terse.workspaces();

    bob.is_invited(&team, "viewer").await.unwrap();
    let token = mailed_token(&t, &bob.email).await;
    let open = workspaces.invitations(team.workspace).await.unwrap();
    let team_actor = by(&team);
    let revoke = || workspaces.revoke_invitation(team.workspace, open[0].id, &team_actor);
    revoke().await.unwrap();
    let again = revoke().await;
    assert!(matches!(again, Err(WorkspaceError::NotFound)));
    let refused = bob.accept(&token).await;
    assert!(matches!(refused, Err(WorkspaceError::TokenInvalid)));

    bob.is_invited(&team, "viewer").await.unwrap();
    let token = mailed_token(&t, &bob.email).await;
    t.clock.set(t.now().plus(INVITATION_LIFETIME));
    assert!(
        workspaces
            .invitations(team.workspace)
            .await
            .unwrap()
            .is_empty()
    );
    let refused = bob.accept(&token).await;
    assert!(matches!(refused, Err(WorkspaceError::TokenInvalid)));
    assert_eq!(role_of(&t, &team, &bob).await, None);
}

async fn nobody_gets_what_the_sender_may_not_give_any_more(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let mallory = Person::member(&t, "mallory", &team, "admin").await;
    let friend = Person::new(&t, "friend").await;
    let inside = mallory.in_workspace(team.workspace).await.unwrap();
    friend.is_invited(&inside, "admin").await.unwrap();
    let token = mailed_token(&t, &friend.email).await;
    for lessened in ["viewer", "editor"] {
        change(&t, &team, &mallory, lessened).await.unwrap();
        let refused = friend.accept(&token).await;
        assert!(matches!(refused, Err(WorkspaceError::TokenInvalid)));
    }
    remove(&t, &team, &mallory).await.unwrap();
    let refused = friend.accept(&token).await;
    assert!(matches!(refused, Err(WorkspaceError::TokenInvalid)));
    mallory.join(&t, &team, "admin").await;
    friend.accept(&token).await.unwrap();
}

async fn a_member_is_not_invited_again(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let bob = Person::member(&t, "bob", &team, "viewer").await;
    let refused = bob.is_invited(&team, "editor").await;
    assert!(matches!(refused, Err(WorkspaceError::MemberExists)));
    assert_eq!(role_of(&t, &team, &bob).await.as_deref(), Some("viewer"));
}

async fn bad_invitations_are_refused_by_field(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let workspaces = t.terse.workspaces();
    for (email, role, field) in [
        ("no-at-sign", "viewer", "email"),
        ("two\r\nBcc: all@example.com", "viewer", "email"),
        ("m\u{131}ke@example.org", "viewer", "email"),
        ("bob@example.com", "king", "role"),
        ("bob@example.com", "Viewer", "role"),
        ("bob@example.com", "a\0b", "role"),
        ("bob@example.com", "", "role"),
    ] {
        let refused = workspaces.invite(&team, &by(&team), email, role).await;
        let Err(WorkspaceError::Refused(errors)) = refused else {
            panic!("{email:?} {role:?}: {refused:?}");
        };
        assert_eq!(errors[0].field, field, "{email:?} {role:?}");
    }
    let bob = Person::new(&t, "bob").await;
    let refused = change(&t, &team, &bob, "a\0b").await;
    assert!(matches!(refused, Err(WorkspaceError::Refused(_))));
    assert!(
        workspaces
            .invitations(team.workspace)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(t.number("SELECT COUNT(*) FROM jobs").await, 0);
}

async fn an_invitation_queues_its_mail(t: Installation) {
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let workspaces = t.terse.workspaces();
    for email in ["nobody@example.com", "ada2@example.com"] {
        workspaces
            .invite(&team, &by(&team), email, "viewer")
            .await
            .unwrap();
    }
    let queued = "SELECT COUNT(*) FROM jobs WHERE kind = 'mail' AND state = 'queued' \
         AND payload LIKE '%invitation%'";
    assert_eq!(t.number(queued).await, 2);
}
