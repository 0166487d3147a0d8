use terse_core::{MigrationState, OpenError, Terse};

use crate::fixture::{Installation, builder, on_both_databases};

on_both_databases![
    the_schema_goes_down_and_up_again_on_data,
    another_public_url_is_refused,
];

async fn the_schema_goes_down_and_up_again_on_data(t: Installation) {
    t.link("launch").await;
    t.terse.close().await;
    let tools = Terse::builder()
        .database(t.database.clone())
        .tools()
        .await
        .unwrap();
    let states = async || {
        let migrations = tools.migrations().await.unwrap();
        migrations.into_iter().map(|m| m.state).collect::<Vec<_>>()
    };
    assert!(
        states()
            .await
            .iter()
            .all(|state| *state == MigrationState::Applied)
    );
    tools.migrate_down(0).await.unwrap();
    assert!(
        states()
            .await
            .iter()
            .all(|state| *state == MigrationState::Pending)
    );
    tools.migrate_up().await.unwrap();
    assert!(
        states()
            .await
            .iter()
            .all(|state| *state == MigrationState::Applied)
    );
    tools.close().await;
    let terse = builder(&t.dir, &t.database, &t.clock).open().await.unwrap();
    let admin = terse.accounts().first_admin(None, None).await.unwrap();
    assert!(admin.is_some(), "the database is empty again");
    terse.close().await;
}

async fn another_public_url_is_refused(t: Installation) {
    t.terse.close().await;
    let opened = builder(&t.dir, &t.database, &t.clock)
        .public_url("https://other.example")
        .open()
        .await;
    assert!(
        matches!(opened, Err(OpenError::PublicUrlDiffers { stored }) if stored == "https://go.example")
    );
}
