//! F40: the name of the database's machine cannot be looked up. Needs root: the server gets name servers of
//! its own, and these say nothing.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, until};
use crate::common::Node;
use crate::partition::wanted;
use crate::scene::{Question, Scene, seconds};

const NAME: &str = "database.terse.test";
const NAME_SERVER: &str = "127.231.40.53";

/// What a server knows of names.
struct Names {
    hosts: PathBuf,
    resolver: PathBuf,
    _silent: UdpSocket,
}

impl Names {
    fn new(dir: &Path) -> Self {
        let names = Self {
            hosts: dir.join("hosts"),
            resolver: dir.join("resolv.conf"),
            _silent: UdpSocket::bind((NAME_SERVER, 53)).unwrap(),
        };
        std::fs::write(&names.resolver, format!("nameserver {NAME_SERVER}\n")).unwrap();
        names.know();
        names
    }

    fn know(&self) {
        std::fs::write(&self.hosts, format!("127.0.0.1 localhost {NAME}\n")).unwrap();
    }

    fn forget(&self) {
        std::fs::write(&self.hosts, "127.0.0.1 localhost\n").unwrap();
    }

    /// Has the server see these instead of the machine's.
    fn are_seen_by(&self, node: &mut Node) {
        let (hosts, resolver) = (self.hosts.display(), self.resolver.display());
        let see = format!(
            "mount --bind {hosts} /etc/hosts && mount --bind {resolver} /etc/resolv.conf && exec \"$0\""
        );
        node.launch_through(&["unshare", "--mount", "sh", "-c", &see]);
    }
}

/// Ends every connection to the database: new ones need the name.
fn disconnect(cluster: &Cluster) {
    cluster.ask(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
}

#[test]
fn while_the_databases_name_cannot_be_looked_up_known_links_go_on_and_every_click_is_counted_after()
{
    if !wanted("F40") {
        return;
    }
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let mut scene = Scene::set_each(cluster, [&[], &[]]);
    let mut apart = Scene::node(scene.cluster.port(), &[]);
    let port = scene.cluster.port();
    let url = format!("postgres://terse@{NAME}:{port}/postgres");
    apart.set("TERSE_DATABASE_URL", &url);
    let names = Names::new(apart.dir());
    names.are_seen_by(&mut apart);
    scene.enter(apart);
    scene.click(100);
    names.forget();
    disconnect(&scene.cluster);
    let (begun, mut asked) = (Instant::now(), 0);
    let (mut slowest, mut slowest_unknown) = (Duration::ZERO, Duration::ZERO);
    while begun.elapsed() < seconds(10, 60) {
        asked += 1;
        scene.wait_for_clicks(50);
        let unknown = Instant::now();
        assert_eq!(scene.nodes[2].get(&format!("/unknown{asked}")), 503);
        slowest_unknown = slowest_unknown.max(unknown.elapsed());
        let (answer, took) = scene.ask(2, &Question::Links);
        assert_eq!(answer.status(), 503);
        slowest = slowest.max(took);
        until("the others have their database", || {
            scene.ask(0, &Question::Links).0.status() == 200
        });
    }
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    let pending = scene.nodes[2].metric("terse_spool_pending");
    names.know();
    let back = Instant::now();
    until("the server has its database again", || {
        scene.ask(2, &Question::Links).0.status() == 200
    });
    scene.stop_clicking();
    scene.wait_until_folded();
    let back = back.elapsed();
    assert!(back < Duration::from_mins(1), "{back:?}");
    let told = format!(
        "pending={pending} slowest_503_of_api={slowest:.1?} of_redirect={slowest_unknown:.1?} all_counted_after={back:.1?}"
    );
    scene.settle("F40", &told);
}
