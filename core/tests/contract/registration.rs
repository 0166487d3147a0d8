use std::time::Duration;

use secrecy::SecretString;
use terse_core::Terse;
use terse_core::accounts::{
    AccountError, MailedTokenError, NewRegistration, PasswordError, RegistrationPolicy, SignInError,
};
use terse_core::model::{Actor, Grant, Origin};

use crate::fixture::{Installation, PASSWORD, on_both_databases};
use crate::mail::{Manner, all_done, next, token, with_mailer};

on_both_databases![
    an_account_exists_once_its_address_is_verified,
    of_fifty_parallel_verifications_one_makes_an_account,
    registering_an_address_that_has_an_account_tells_its_owner_and_changes_nothing,
    of_two_who_register_with_one_address_its_owner_chooses_the_password,
    a_registration_is_forgotten_after_a_day,
    only_whoever_may_register_does,
    a_reset_ends_every_session_and_its_token_works_once,
    of_fifty_parallel_resets_one_is_in_force,
    a_reset_token_ends_with_time_with_a_newer_one_and_with_a_changed_password,
    a_refresh_that_races_with_signing_out_leaves_no_session_alive,
    a_sign_in_that_races_with_a_reset_leaves_no_session_alive,
    a_session_that_is_refreshed_outlives_its_first_end,
];

const NEW: &str = "entirely new staple";

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn registration(email: &str, password: &str) -> NewRegistration {
    NewRegistration {
        email: email.to_owned(),
        password: secret(password),
        name: None,
    }
}

async fn register(t: &Installation, email: &str, password: &str) {
    let new = registration(email, password);
    let registered = t
        .terse
        .accounts()
        .register(new, RegistrationPolicy::Open, true);
    registered.await.unwrap();
}

async fn sign_in(terse: &Terse, email: &str, password: &str) -> Result<Grant, SignInError> {
    let accounts = terse.accounts();
    accounts
        .sign_in(email, &secret(password), &Origin::default())
        .await
}

async fn is_alive(terse: &Terse, grant: &Grant) -> bool {
    let accounts = terse.accounts();
    let asked = accounts.authenticate(grant.session, grant.user, None).await;
    asked.is_ok()
}

async fn verify(terse: &Terse, token: &str) -> bool {
    let accounts = terse.accounts();
    match accounts
        .verify_email(&secret(token), &Origin::default())
        .await
    {
        Ok(_) => true,
        Err(MailedTokenError::Invalid) => false,
        Err(error) => panic!("{error:?}"),
    }
}

async fn reset(terse: &Terse, token: &str, password: &str) -> bool {
    let accounts = terse.accounts();
    let (token, password) = (secret(token), secret(password));
    match accounts
        .reset_password(&token, password, &Origin::default())
        .await
    {
        Ok(()) => true,
        Err(PasswordError::TokenInvalid) => false,
        Err(error) => panic!("{error:?}"),
    }
}

async fn an_account_exists_once_its_address_is_verified(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    register(&t, "Eve@example.com", PASSWORD).await;
    assert!(
        sign_in(&t.terse, "eve@example.com", PASSWORD)
            .await
            .is_err()
    );
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "Eve@example.com");
    let token = token(&mail, "verify").to_owned();
    assert!(!verify(&t.terse, "another").await);
    assert!(verify(&t.terse, &token).await);
    let grant = sign_in(&t.terse, "EVE@example.com", PASSWORD)
        .await
        .unwrap();
    assert!(is_alive(&t.terse, &grant).await);
    assert!(!verify(&t.terse, &token).await, "once");
    let wrong = reset(&t.terse, &token, NEW).await;
    assert!(!wrong, "a token is good for one purpose");
}

async fn of_fifty_parallel_verifications_one_makes_an_account(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    register(&t, "eve@example.com", PASSWORD).await;
    let token = token(&next(&mut mails).await, "verify").to_owned();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (terse, token) = (t.terse.clone(), token.clone());
            tokio::spawn(async move { verify(&terse, &token).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 1);
    sign_in(&t.terse, "eve@example.com", PASSWORD)
        .await
        .unwrap();
}

async fn registering_an_address_that_has_an_account_tells_its_owner_and_changes_nothing(
    t: Installation,
) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    register(&t, "ADA@example.com", NEW).await;
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "ada@example.com", "the address as stored");
    assert!(!mail.text.contains("token="));
    sign_in(&t.terse, "ada@example.com", PASSWORD)
        .await
        .unwrap();
    assert!(sign_in(&t.terse, "ada@example.com", NEW).await.is_err());
    t.terse
        .accounts()
        .forgot_password("nobody@example.com", true)
        .await
        .unwrap();
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "nobody@example.com");
    assert!(!mail.text.contains("token="));
}

async fn of_two_who_register_with_one_address_its_owner_chooses_the_password(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    register(&t, "eve@example.com", "what a stranger chose").await;
    let strangers = token(&next(&mut mails).await, "verify").to_owned();
    t.clock.advance(Duration::from_secs(1));
    register(&t, "eve@example.com", PASSWORD).await;
    let own = token(&next(&mut mails).await, "verify").to_owned();
    assert!(verify(&t.terse, &own).await);
    assert!(!verify(&t.terse, &strangers).await);
    for password in [PASSWORD, "what a stranger chose", "none", ""] {
        let signed_in = sign_in(&t.terse, "eve@example.com", password).await;
        assert!(signed_in.is_err(), "{password}");
    }
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "eve@example.com");
    assert!(reset(&t.terse, token(&mail, "reset"), NEW).await);
    sign_in(&t.terse, "eve@example.com", NEW).await.unwrap();
}

async fn a_registration_is_forgotten_after_a_day(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    register(&t, "eve@example.com", PASSWORD).await;
    let token = token(&next(&mut mails).await, "verify").to_owned();
    t.clock.advance(Duration::from_hours(24));
    assert!(!verify(&t.terse, &token).await);
    t.terse
        .accounts()
        .resend_verification("eve@example.com", true)
        .await
        .unwrap();
    let mail = next(&mut mails).await;
    assert!(!mail.text.contains("token="), "there is nothing to verify");
}

async fn only_whoever_may_register_does(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let accounts = t.terse.accounts();
    let new = || registration("eve@example.com", PASSWORD);
    let closed = accounts
        .register(new(), RegistrationPolicy::Closed, true)
        .await;
    assert!(matches!(closed, Err(AccountError::RegistrationClosed)));
    accounts
        .register(new(), RegistrationPolicy::Invite, true)
        .await
        .unwrap();
    accounts
        .register(new(), RegistrationPolicy::Open, false)
        .await
        .unwrap();
    all_done(&t).await;
    t.sql(
        "INSERT INTO invitations (id, workspace_id, email, email_key, role, invited_by, created_at, \
         expires_at) SELECT 6, workspace_id, 'eve@example.com', 'eve@example.com', 'editor', \
         user_id, 0, 4102444800000 FROM memberships",
    )
    .await;
    accounts
        .register(new(), RegistrationPolicy::Invite, true)
        .await
        .unwrap();
    let mail = next(&mut mails).await;
    assert!(verify(&t.terse, token(&mail, "verify")).await);
    assert!(mails.try_recv().is_err(), "nobody else got a mail");
    let weak = registration("weak@example.com", "password1");
    let refused = accounts
        .register(weak, RegistrationPolicy::Open, true)
        .await;
    assert!(matches!(refused, Err(AccountError::Refused(_))));
}

async fn a_reset_ends_every_session_and_its_token_works_once(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let before = sign_in(&t.terse, "ada@example.com", PASSWORD)
        .await
        .unwrap();
    let forgot = t.terse.accounts().forgot_password("Ada@example.com", true);
    forgot.await.unwrap();
    let mail = next(&mut mails).await;
    let token = token(&mail, "reset");
    assert!(is_alive(&t.terse, &before).await);
    let (held, weak) = (secret(token), secret("12345678"));
    let accounts = t.terse.accounts();
    let refused = accounts
        .reset_password(&held, weak, &Origin::default())
        .await;
    assert!(matches!(refused, Err(PasswordError::Refused(_))));
    assert!(reset(&t.terse, token, NEW).await);
    assert!(!reset(&t.terse, token, PASSWORD).await, "once");
    assert!(!is_alive(&t.terse, &before).await);
    let refreshed = {
        use secrecy::ExposeSecret as _;
        let accounts = t.terse.accounts();
        let token = before.refresh_token.expose_secret();
        accounts.refresh(token, &Origin::default()).await
    };
    assert!(refreshed.is_err());
    assert!(
        sign_in(&t.terse, "ada@example.com", PASSWORD)
            .await
            .is_err()
    );
    sign_in(&t.terse, "ada@example.com", NEW).await.unwrap();
    let notice = next(&mut mails).await;
    assert_eq!(notice.to, "ada@example.com");
    assert!(!notice.text.contains("token="));
}

async fn of_fifty_parallel_resets_one_is_in_force(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let forgot = t.terse.accounts().forgot_password("ada@example.com", true);
    forgot.await.unwrap();
    let token = token(&next(&mut mails).await, "reset").to_owned();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let (terse, token) = (t.terse.clone(), token.clone());
            let password = format!("{NEW} {number}");
            tokio::spawn(async move {
                let done = reset(&terse, &token, &password).await;
                done.then_some(password)
            })
        })
        .collect();
    let mut chosen = Vec::new();
    for task in tasks {
        chosen.extend(task.await.unwrap());
    }
    assert_eq!(chosen.len(), 1, "{chosen:?}");
    sign_in(&t.terse, "ada@example.com", &chosen[0])
        .await
        .unwrap();
}

async fn a_reset_token_ends_with_time_with_a_newer_one_and_with_a_changed_password(
    t: Installation,
) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let accounts = t.terse.accounts();
    let mut tokens = Vec::new();
    for _ in 0..3 {
        accounts
            .forgot_password("ada@example.com", true)
            .await
            .unwrap();
        tokens.push(token(&next(&mut mails).await, "reset").to_owned());
        all_done(&t).await;
    }
    assert!(
        !reset(&t.terse, &tokens[0], NEW).await,
        "a newer one exists"
    );
    t.clock.advance(Duration::from_mins(31));
    assert!(
        !reset(&t.terse, &tokens[2], NEW).await,
        "half an hour is over"
    );
    accounts
        .forgot_password("ada@example.com", true)
        .await
        .unwrap();
    let last = token(&next(&mut mails).await, "reset").to_owned();
    let grant = sign_in(&t.terse, "ada@example.com", PASSWORD)
        .await
        .unwrap();
    let ada = accounts.authenticate(grant.session, grant.user, None);
    let ada = ada.await.unwrap();
    let actor = Actor::of(&ada, None);
    let other = sign_in(&t.terse, "ada@example.com", PASSWORD)
        .await
        .unwrap();
    let changed = accounts.change_password(&ada, secret(PASSWORD), secret(NEW), &actor);
    changed.await.unwrap();
    assert!(
        !reset(&t.terse, &last, PASSWORD).await,
        "the password was changed"
    );
    assert!(is_alive(&t.terse, &grant).await);
    assert!(!is_alive(&t.terse, &other).await);
}

async fn a_refresh_that_races_with_signing_out_leaves_no_session_alive(t: Installation) {
    use secrecy::ExposeSecret as _;
    for _ in 0..25 {
        let grant = sign_in(&t.terse, "ada@example.com", PASSWORD)
            .await
            .unwrap();
        let (terse, token) = (t.terse.clone(), grant.refresh_token.clone());
        let refresh = tokio::spawn(async move {
            let accounts = terse.accounts();
            accounts
                .refresh(token.expose_secret(), &Origin::default())
                .await
        });
        let accounts = t.terse.accounts();
        let actor = Actor::system();
        accounts
            .end_session(grant.user, grant.session, &actor)
            .await
            .unwrap();
        let refreshed = refresh.await.unwrap();
        assert!(!is_alive(&t.terse, &grant).await);
        if let Ok(refreshed) = refreshed {
            assert!(!is_alive(&t.terse, &refreshed).await);
            let token = refreshed.refresh_token.expose_secret();
            assert!(accounts.refresh(token, &Origin::default()).await.is_err());
        }
    }
}

async fn a_sign_in_that_races_with_a_reset_leaves_no_session_alive(t: Installation) {
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let mut password = PASSWORD.to_owned();
    for round in 0..8 {
        let accounts = t.terse.accounts();
        accounts
            .forgot_password("ada@example.com", true)
            .await
            .unwrap();
        let mail = loop {
            let mail = next(&mut mails).await;
            if mail.text.contains("token=") {
                break mail;
            }
        };
        let thieves: Vec<_> = (0..6)
            .map(|_| {
                let (terse, password) = (t.terse.clone(), password.clone());
                tokio::spawn(async move { sign_in(&terse, "ada@example.com", &password).await })
            })
            .collect();
        password = format!("{NEW} {round}");
        assert!(reset(&t.terse, token(&mail, "reset"), &password).await);
        for thief in thieves {
            if let Ok(grant) = thief.await.unwrap() {
                assert!(!is_alive(&t.terse, &grant).await, "round {round}");
            }
        }
    }
}

async fn a_session_that_is_refreshed_outlives_its_first_end(t: Installation) {
    use secrecy::ExposeSecret as _;
    let grant = sign_in(&t.terse, "ada@example.com", PASSWORD)
        .await
        .unwrap();
    assert!(is_alive(&t.terse, &grant).await);
    t.clock.advance(Duration::from_hours(20 * 24));
    let accounts = t.terse.accounts();
    let token = grant.refresh_token.expose_secret();
    accounts.refresh(token, &Origin::default()).await.unwrap();
    t.clock.advance(Duration::from_hours(20 * 24));
    assert!(is_alive(&t.terse, &grant).await);
    t.clock.advance(Duration::from_hours(20 * 24));
    assert!(!is_alive(&t.terse, &grant).await);
}
