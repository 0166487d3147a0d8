//! Nodes that start at the same moment, as `docker compose up` has it.

use crate::database::Database;

#[test]
fn of_nodes_that_start_together_on_an_empty_database_one_makes_the_administrator_and_all_serve() {
    let Some(database) = Database::new() else {
        return;
    };
    let mut nodes: Vec<_> = (0..4).map(|_| database.node(&[])).collect();
    for node in &mut nodes {
        node.spawn();
    }
    for node in &nodes {
        node.wait_until("it serves", |node| node.get("/health/ready") == 200);
        assert!(!node.token().is_empty(), "the administrator signs in");
    }
    assert_eq!(database.ask("SELECT count(*) FROM users"), "1");
    for node in &mut nodes {
        assert_eq!(node.stop(), Some(0));
    }
}
