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
