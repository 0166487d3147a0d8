use std::time::Duration;

use terse_core::VisitorEpoch;
use terse_core::model::{Change, NewLink, Workspace, WorkspaceChanges};
use terse_core::workspaces::WorkspaceError;

use crate::fixture::{HOST, Installation, all, on_both_databases, person_at};
use crate::people::{Person, by};

on_both_databases![
    a_visitor_of_several_days_counts_once_or_once_a_day_as_the_workspace_chooses,
    a_choice_is_told_audited_and_cleared,
    unknown_epochs_are_refused,
    limited_and_new_links_follow_the_choice,
];

async fn choose(t: &Installation, epoch: Change<String>) -> Result<Workspace, WorkspaceError> {
    let home = Person::ada(t).await.at_home().await;
    let changes = WorkspaceChanges {
        visitor_epoch: epoch,
        ..WorkspaceChanges::default()
    };
    t.terse
        .workspaces()
        .update(&home, &by(&home), changes)
        .await
}

fn day() -> Change<String> {
    Change::Set("day".to_owned())
}

async fn visit(t: &Installation, path: &str) {
    t.terse.resolve(HOST, path, &person_at(1)).await.unwrap();
}

async fn visitors(t: &Installation) -> Option<i64> {
    t.folded().await;
    let summary = t.terse.analytics().summary(&t.workspace, all(), None);
    summary.await.unwrap().visitors
}

async fn a_visitor_of_several_days_counts_once_or_once_a_day_as_the_workspace_chooses(
    t: Installation,
) {
    t.link("launch").await;
    for _ in 0..3 {
        visit(&t, "/launch").await;
        t.clock.advance(Duration::from_hours(24));
    }
    assert_eq!(visitors(&t).await, Some(1));
    choose(&t, day()).await.unwrap();
    for sum in 2..=4 {
        visit(&t, "/launch").await;
        visit(&t, "/launch").await;
        assert_eq!(visitors(&t).await, Some(sum));
        t.clock.advance(Duration::from_hours(24));
    }
    // Back again, they are who they were in this month.
    choose(&t, Change::Clear).await.unwrap();
    visit(&t, "/launch").await;
    assert_eq!(visitors(&t).await, Some(4));
}

async fn a_choice_is_told_audited_and_cleared(t: Installation) {
    let told = choose(&t, Change::Keep).await.unwrap();
    assert_eq!(told.visitor_epoch, None);
    let told = choose(&t, day()).await.unwrap();
    assert_eq!(told.visitor_epoch, Some(VisitorEpoch::Day));
    let month = Change::Set("month".to_owned());
    let told = choose(&t, month).await.unwrap();
    assert_eq!(told.visitor_epoch, Some(VisitorEpoch::Month));
    let told = choose(&t, Change::Clear).await.unwrap();
    assert_eq!(told.visitor_epoch, None);
    let question = "SELECT COUNT(*) FROM audit_log WHERE action = 'workspace.update' \
                    AND details IN ('{\"visitor_epoch\":[null,\"day\"]}', \
                    '{\"visitor_epoch\":[\"day\",\"month\"]}', \
                    '{\"visitor_epoch\":[\"month\",null]}')";
    assert_eq!(t.number(question).await, 3);
}

async fn unknown_epochs_are_refused(t: Installation) {
    for name in ["", "Day", "week", "day ", "a\0b"] {
        let refused = choose(&t, Change::Set(name.to_owned())).await;
        let Err(WorkspaceError::Refused(errors)) = refused else {
            panic!("{name:?}: {refused:?}");
        };
        assert_eq!(errors[0].code, "visitor_epoch_unknown");
    }
}

async fn limited_and_new_links_follow_the_choice(t: Installation) {
    choose(&t, day()).await.unwrap();
    t.link("new").await;
    t.create(NewLink {
        max_clicks: Some(9),
        ..NewLink::to("https://example.com/").alias("limited")
    })
    .await;
    for sum in 1..=2 {
        visit(&t, "/new").await;
        visit(&t, "/limited").await;
        assert_eq!(visitors(&t).await, Some(sum));
        t.clock.advance(Duration::from_hours(24));
    }
}
