use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use terse_core::accounts::{AccountError, AuthenticationError, RefreshError, SignInError};
use terse_core::model::{Actor, InstanceRole, NewUser, Origin};

use crate::fixture::{Installation, PASSWORD, builder, on_both_databases};

on_both_databases![
    a_user_signs_in_with_the_address_in_any_case,
    a_wrong_password_and_an_unknown_address_look_the_same,
    of_fifty_parallel_refreshes_of_one_token_one_succeeds,
    a_used_refresh_token_ends_the_session,
    signing_out_is_in_force_at_once,
    a_refresh_token_expires,
    of_fifty_parallel_first_administrators_none_is_made_beside_a_user,
    bad_accounts_are_refused_by_field,
    an_address_that_no_account_can_have_signs_nobody_in,
    a_hash_made_with_less_work_is_upgraded_when_its_owner_signs_in,
    a_session_ended_on_one_node_is_out_on_another_within_half_a_second,
];

async fn a_user_signs_in_with_the_address_in_any_case(t: Installation) {
    let accounts = t.terse.accounts();
    let grant = accounts
        .sign_in(
            " ADA@example.com",
            &SecretString::from(PASSWORD),
            &Origin::default(),
        )
        .await
        .unwrap();
    let principal = accounts
        .authenticate(grant.session, grant.user, None)
        .await
        .unwrap();
    assert_eq!(
        (&*principal.email, principal.workspace),
        ("ada@example.com", t.workspace)
    );
}

async fn a_wrong_password_and_an_unknown_address_look_the_same(t: Installation) {
    for (email, password) in [
        ("ada@example.com", "wrong horse battery"),
        ("nobody@example.com", PASSWORD),
        ("", ""),
        ("ada@example.com", &"x".repeat(100_000)),
    ] {
        let error = t
            .terse
            .accounts()
            .sign_in(email, &SecretString::from(password), &Origin::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, SignInError::InvalidCredentials),
            "{error:?}"
        );
    }
}

async fn of_fifty_parallel_refreshes_of_one_token_one_succeeds(t: Installation) {
    let grant = t
        .terse
        .accounts()
        .sign_in(
            "ada@example.com",
            &SecretString::from(PASSWORD),
            &Origin::default(),
        )
        .await
        .unwrap();
    let token = grant.refresh_token.expose_secret().to_owned();
    let attempts = (0..50).map(|_| {
        let (terse, token) = (t.terse.clone(), token.clone());
        tokio::spawn(async move { terse.accounts().refresh(&token, &Origin::default()).await })
    });
    let mut live = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => live += 1,
            Err(RefreshError::Invalid) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(live, 1);
}

async fn a_used_refresh_token_ends_the_session(t: Installation) {
    let accounts = t.terse.accounts();
    let first = accounts
        .sign_in(
            "ada@example.com",
            &SecretString::from(PASSWORD),
            &Origin::default(),
        )
        .await
        .unwrap();
    let second = accounts
        .refresh(first.refresh_token.expose_secret(), &Origin::default())
        .await
        .unwrap();
    assert_eq!(second.session, first.session);
    assert!(
        accounts
            .authenticate(first.session, first.user, None)
            .await
            .is_ok()
    );
    let reused = accounts
        .refresh(first.refresh_token.expose_secret(), &Origin::default())
        .await;
    assert!(matches!(reused, Err(RefreshError::Invalid)));
    let successor = accounts
        .refresh(second.refresh_token.expose_secret(), &Origin::default())
        .await;
    assert!(matches!(successor, Err(RefreshError::Invalid)));
    let ended = accounts.authenticate(first.session, first.user, None).await;
    assert!(matches!(ended, Err(AuthenticationError::Ended)));
}

async fn signing_out_is_in_force_at_once(t: Installation) {
    let accounts = t.terse.accounts();
    let grant = accounts
        .sign_in(
            "ada@example.com",
            &SecretString::from(PASSWORD),
            &Origin::default(),
        )
        .await
        .unwrap();
    let actor = Actor::system();
    let ended = accounts
        .end_session(grant.user, grant.session, &actor)
        .await;
    assert!(ended.unwrap());
    let ended = accounts.authenticate(grant.session, grant.user, None).await;
    assert!(matches!(ended, Err(AuthenticationError::Ended)));
    let refreshed = accounts
        .refresh(grant.refresh_token.expose_secret(), &Origin::default())
        .await;
    assert!(matches!(refreshed, Err(RefreshError::Invalid)));
}

async fn a_refresh_token_expires(t: Installation) {
    let accounts = t.terse.accounts();
    let grant = accounts
        .sign_in(
            "ada@example.com",
            &SecretString::from(PASSWORD),
            &Origin::default(),
        )
        .await
        .unwrap();
    t.clock.set(grant.refresh_expires_at);
    let refreshed = accounts
        .refresh(grant.refresh_token.expose_secret(), &Origin::default())
        .await;
    assert!(matches!(refreshed, Err(RefreshError::Invalid)));
    let ended = accounts.authenticate(grant.session, grant.user, None).await;
    assert!(matches!(ended, Err(AuthenticationError::Ended)));
}

async fn of_fifty_parallel_first_administrators_none_is_made_beside_a_user(t: Installation) {
    let attempts = (0..50).map(|_| {
        let terse = t.terse.clone();
        tokio::spawn(async move { terse.accounts().first_admin(None, None).await.unwrap() })
    });
    for attempt in attempts.collect::<Vec<_>>() {
        assert!(attempt.await.unwrap().is_none());
    }
}

async fn bad_accounts_are_refused_by_field(t: Installation) {
    let account = |email: &str, password: &str| NewUser {
        email: email.to_owned(),
        password: SecretString::from(password),
        role: InstanceRole::User,
        name: None,
    };
    for (email, password, field) in [
        ("no-at-sign", PASSWORD, "email"),
        ("m\u{131}ke@example.org", PASSWORD, "email"),
        ("a@b@c", PASSWORD, "email"),
        ("new@example.com", "short", "password"),
        ("new@example.com", &"x".repeat(1_025), "password"),
    ] {
        let error = t
            .terse
            .accounts()
            .create_user(account(email, password), &Actor::system())
            .await
            .unwrap_err();
        let AccountError::Refused(errors) = error else {
            panic!("{error:?}");
        };
        assert_eq!(errors[0].field, field, "{email}");
    }
    let taken = t
        .terse
        .accounts()
        .create_user(account("ADA@EXAMPLE.COM", PASSWORD), &Actor::system())
        .await;
    assert!(matches!(taken, Err(AccountError::EmailTaken)));
}

async fn an_address_that_no_account_can_have_signs_nobody_in(t: Installation) {
    for email in ["ada@example.com\0", "\0", "", &"a".repeat(300)] {
        let refused = t
            .terse
            .accounts()
            .sign_in(email, &PASSWORD.into(), &Origin::default())
            .await;
        assert!(
            matches!(refused, Err(SignInError::InvalidCredentials)),
            "{email:?}: {refused:?}"
        );
    }
}

async fn a_hash_made_with_less_work_is_upgraded_when_its_owner_signs_in(t: Installation) {
    use argon2::password_hash::PasswordHasher as _;
    // Longer than what other algorithms look at.
    let password = format!("{}a", "correct horse battery ".repeat(4));
    let params = argon2::Params::new(8_192, 1, 1, None).unwrap();
    let weak = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash: argon2::password_hash::phc::PasswordHash = weak
        .hash_password_with_salt(password.as_bytes(), b"sixteen bytes of")
        .unwrap();
    let statement = format!("UPDATE users SET password_hash = '{hash}'");
    t.sql(statement.leak()).await;
    let accounts = t.terse.accounts();
    let sign_in = async |password: &str| {
        let password = SecretString::from(password);
        let origin = Origin::default();
        accounts
            .sign_in("ada@example.com", &password, &origin)
            .await
    };
    let upgraded =
        "SELECT COUNT(*) FROM users WHERE password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%'";
    let other_end = format!("{}b", &password[..password.len() - 1]);
    assert!(sign_in(&other_end).await.is_err());
    assert_eq!(t.number(upgraded).await, 0);
    sign_in(&password).await.unwrap();
    assert_eq!(t.number(upgraded).await, 1);
    sign_in(&password).await.unwrap();
    assert!(sign_in(&other_end).await.is_err());
}

async fn a_session_ended_on_one_node_is_out_on_another_within_half_a_second(t: Installation) {
    let elsewhere = tempfile::tempdir().unwrap();
    let other = builder(&elsewhere, &t.database, &t.clock)
        .open()
        .await
        .unwrap();
    let password = SecretString::from(PASSWORD);
    let grant = t
        .terse
        .accounts()
        .sign_in("ada@example.com", &password, &Origin::default())
        .await
        .unwrap();
    let (session, user) = (grant.session, grant.user);
    let here = async || t.terse.accounts().authenticate(session, user, None).await;
    let there = async || other.accounts().authenticate(session, user, None).await;
    here().await.unwrap();
    there().await.unwrap();
    let actor = Actor::system();
    let ended = t.terse.accounts().end_session(user, session, &actor).await;
    assert!(ended.unwrap());
    assert!(here().await.is_err(), "at once on the same node");
    t.clock.advance(Duration::from_millis(500));
    assert!(there().await.is_err());
    other.close().await;
}
