//! F38, F39: the network between a server and its database takes everything and says nothing. Needs root:
//! the server gets a network of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, until};
use crate::proxy::Proxy;
use crate::scene::{Question, Scene, long, seconds};

fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(output.status.success(), "{command}: {output:?}");
}

/// A network with two addresses: this machine's, and that of a server inside.
struct Network {
    name: String,
    here: Ipv4Addr,
    inside: Ipv4Addr,
}

impl Network {
    /// Numbers keep the networks of tests apart that run at the same time.
    fn new(number: u8) -> Self {
        let network = Self {
            name: format!("terse{}n{number}", std::process::id()),
            here: Ipv4Addr::new(10, 231, number, 1),
            inside: Ipv4Addr::new(10, 231, number, 2),
        };
        let Self { name, here, inside } = &network;
        let (outer, inner) = (network.cable("o"), network.cable("i"));
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add {outer} type veth peer name {inner}"));
        run(&format!("ip link set {inner} netns {name}"));
        run(&format!("ip addr add {here}/30 dev {outer}"));
        run(&format!("ip link set {outer} up"));
        run(&format!("ip -n {name} addr add {inside}/30 dev {inner}"));
        run(&format!("ip -n {name} link set {inner} up"));
        run(&format!("ip -n {name} link set lo up"));
        network
    }

    /// Names of interfaces are short.
    fn cable(&self, end: &str) -> String {
        format!("t{}{end}", &self.name["terse".len()..])
    }

    /// What arrives from this port, and what is sent to it, is gone without a word.
    fn cut(&self, port: u16) {
        self.filter("-A", port);
    }

    fn mend(&self, port: u16) {
        self.filter("-D", port);
    }

    fn filter(&self, action: &str, port: u16) {
        let tool = format!("ip netns exec {} iptables -w", self.name);
        run(&format!(
            "{tool} {action} INPUT -p tcp --sport {port} -j DROP"
        ));
        run(&format!(
            "{tool} {action} OUTPUT -p tcp --dport {port} -j DROP"
        ));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut delete = Command::new("ip");
        let _ = delete.args(["netns", "del", &self.name]).output();
        let mut delete = Command::new("ip");
        let _ = delete.args(["link", "del", &self.cable("o")]).output();
    }
}

/// Whether these run. Without `scripts/faults --all` they say so and pass.
pub(crate) fn wanted(faults: &str) -> bool {
    if !long() {
        println!("{faults} not run: needs scripts/faults --all, as root");
        return false;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "scripts/faults --all must run as root: it makes networks"
    );
    true
}

/// Two servers, and a third in a network of its own, whose clients reach it by another way than its database.
fn scene_in(network: &Network) -> Option<(Scene, Proxy)> {
    let cluster = Cluster::start_for(Some((network.here, network.inside)))?;
    let mut scene = Scene::set_each(cluster, [&[], &[]]);
    let mut apart = Scene::node(scene.cluster.port(), &[]);
    let port = apart.port();
    let listen = format!("{}:{port}", network.inside);
    let url = format!(
        "postgres://terse@{}:{}/postgres",
        network.here,
        scene.cluster.port()
    );
    apart.set("TERSE_LISTEN", &listen);
    apart.set("TERSE_DATABASE_URL", &url);
    apart.launch_through(&["ip", "netns", "exec", &network.name]);
    let way = Proxy::between(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((network.inside, port)),
    );
    scene.enter(apart);
    Some((scene, way))
}

#[test]
fn a_server_that_is_cut_off_from_its_database_goes_on_and_all_is_counted_when_it_is_back() {
    if !wanted("F38") {
        return;
    }
    let network = Network::new(1);
    let Some((mut scene, way)) = scene_in(&network) else {
        return;
    };
    scene.click(100);
    let port = scene.cluster.port();
    network.cut(port);
    let begun = Instant::now();
    let mut asked = 0;
    while begun.elapsed() < seconds(10, 120) {
        asked += 1;
        scene.wait_for_clicks(50);
        let slug = format!("made{asked}");
        assert_eq!(scene.nodes[2].get(&format!("/unknown{asked}")), 503);
        assert_eq!(scene.ask(2, &Question::Links).0.status(), 503);
        let made = scene.ask(0, &Question::Create(&slug)).0.status();
        assert_eq!(made, 201, "the others have their database");
    }
    let pending = scene.nodes[2].metric("terse_spool_pending");
    network.mend(port);
    let back = Instant::now();
    scene.stop_clicking();
    scene.wait_until_folded();
    let back = back.elapsed();
    assert!(back < Duration::from_mins(1), "{back:?}");
    scene.settle(
        "F38",
        &format!("pending={pending} all_counted_after={back:.1?}"),
    );
    drop(way);
}

#[test]
fn connections_that_are_open_at_one_end_only_are_noticed_in_time() {
    if !wanted("F39") {
        return;
    }
    let network = Network::new(2);
    let Some((mut scene, way)) = scene_in(&network) else {
        return;
    };
    scene.click(100);
    let port = scene.cluster.port();
    let of_it = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE client_addr = '{}'",
        network.inside
    );
    assert_ne!(scene.cluster.ask(&of_it), "0");
    network.cut(port);
    let begun = Instant::now();
    scene.wait_for_clicks(300);
    until("PostgreSQL has let go of its connections", || {
        scene.cluster.ask(&of_it) == "0"
    });
    let noticed = begun.elapsed();
    assert!(noticed < Duration::from_secs(15), "{noticed:?}");
    network.mend(port);
    let back = Instant::now();
    until("the server has connections again", || {
        scene.ask(2, &Question::Links).0.status() == 200
    });
    let told = format!(
        "noticed_after={noticed:.1?} back_after={:.1?}",
        back.elapsed()
    );
    scene.settle("F39", &told);
    drop(way);
}
