//! `terse-server backup`, and what a restored backup lacks.

use std::os::unix::fs::PermissionsExt as _;

use crate::common::Node;
use crate::load::Load;
use crate::{CLIENTS, assert_exact};

#[test]
fn a_backup_under_load_is_restored_with_the_old_spool_and_lacks_no_click() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 300);
    let to = node.data().join("copy.db");
    let (code, text) = node.run(&["backup", "--to", to.to_str().unwrap()], &[]);
    assert_eq!(code, Some(0), "{text}");
    let before = load.count();
    node.wait_until("clicks go on", |_| load.count() > before + 300);
    node.kill();
    load.stop();

    assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let mut fresh = Node::new(&[]);
    std::fs::create_dir(fresh.data()).unwrap();
    std::fs::rename(&to, fresh.data().join("terse.db")).unwrap();
    std::fs::rename(node.data().join("spool"), fresh.data().join("spool")).unwrap();
    fresh.start();
    fresh.wait_until_folded();
    assert!(fresh.metric("terse_clicks_folded_total") > 200);
    let after = Load::named(fresh.port(), CLIENTS, "/x", "after");
    fresh.wait_until("it serves", |_| after.count() > 100);
    after.stop();
    fresh.wait_until_folded();
    assert_eq!(fresh.stop(), Some(0));
    assert_exact(&fresh, &[&load, &after], CLIENTS);
}

#[test]
fn a_backup_replaces_no_file_and_leaves_none_behind_when_it_fails() {
    let mut node = Node::new(&[]);
    node.start();
    let to = node.data().join("copy.db");
    std::fs::write(&to, "precious").unwrap();
    let (code, text) = node.run(&["backup", "--to", to.to_str().unwrap()], &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("exists already"), "{text}");
    assert_eq!(std::fs::read(&to).unwrap(), b"precious");
    let nowhere = node.data().join("missing/copy.db");
    let (code, _) = node.run(&["backup", "--to", nowhere.to_str().unwrap()], &[]);
    assert_eq!(code, Some(1));
    let names = std::fs::read_dir(node.data()).unwrap();
    let mut names = names.map(|file| file.unwrap().file_name());
    assert!(!names.any(|name| name.to_string_lossy().ends_with(".unfinished")));
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn of_postgresql_it_says_how_and_tells_no_password() {
    let node = Node::new(&[
        (
            "TERSE_DATABASE_URL",
            "postgres://terse:hunter2@db.example:5433/links?sslpassword=hunter3",
        ),
        ("TERSE_JWT_SECRET", crate::database::SECRET),
    ]);
    let (code, text) = node.run(&["backup", "--to", "/backups/terse dump"], &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("pg_dump --format=custom --exclude-table-data=visitor_salts --file='/backups/terse dump' 'postgres://terse@db.example:5433/links'"),
        "{text}"
    );
    assert!(!text.contains("hunter"), "{text}");
}
