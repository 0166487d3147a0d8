//! A database that is older than it was: restored, or a standby that lagged behind.

use crate::database::Database;
use crate::load::Load;
use crate::{CLIENTS, assert_exact};

#[test]
fn a_running_server_gives_a_database_that_went_back_in_time_what_it_lacks() {
    let Some(database) = Database::new() else {
        return;
    };
    let mut node = database.node(&[]);
    node.start();
    node.create_link("x");
    let first = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| first.count() > 300);
    first.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    let older = format!("{}_older", database.name);
    database.administer(&[format!(
        "CREATE DATABASE {older} TEMPLATE {}",
        database.name
    )]);

    node.start();
    let second = Load::named(node.port(), CLIENTS, "/x", "later");
    node.wait_until("there is load", |_| second.count() > 300);
    node.wait_until("some of it is folded", |node| {
        node.metric("terse_clicks_folded_total") > 100
    });
    database.replace_by(&older);
    let before = second.count();
    node.wait_until("redirects go on", |_| second.count() > before + 300);
    second.stop();
    let all = (first.count() + second.count()) as u64;
    node.wait_until("everything is folded again", |node| {
        node.metric("terse_spool_pending") == 0
            && node.metric("terse_clicks_folded_total") >= all - first.count() as u64
    });
    // A server that nobody clicks looks at its cursors once a minute.
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    assert_exact(&node, &[&first, &second], CLIENTS);
}

/// Nothing is made in it either: it may be somebody else's, or a standby.
#[test]
fn of_a_database_without_tables_verify_says_what_to_do() {
    let Some(database) = Database::new() else {
        return;
    };
    let node = database.node(&[]);
    for command in [&["verify"][..], &["spool", "accept-gap", "0"]] {
        let (code, text) = node.run(command, &[]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("not the tables of this release"), "{text}");
        assert!(text.contains("terse-server migrate up"), "{text}");
    }
    assert_eq!(
        database.ask("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"),
        "0"
    );
    let (code, text) = node.run(&["migrate", "up"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = node.run(&["verify"], &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("0 links, 0 clicks"), "{text}");
}
