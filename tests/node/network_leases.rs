//! Leased transport between real nodes: connections that this node or another one dials for a guest,
//! only where both may, within the rate, and until the lease ends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use crate::assets::{heavy, workload};
use crate::four::{Four, folders};
use crate::guests;
use crate::harness::{Fabric, eventually, up};

const MANIFEST: &str = r#"
name = "caller"

[[component]]
name = "hand"
source = "network.wat"
replicas = 4
placement = { apart = true }

[component.limits]
wall_time = "2m"

[component.capabilities]
tcp = ["127.0.0.1"]
network = "1MiB"
"#;

/// Long enough for any of these tests.
const TERM_MS: &str = "600000";

/// A server that sends back what it gets, and ends when its peer does.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 4_096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Four nodes with a guest each that may lease. The first has transport that every node may lease, and
/// dials to `allowed` for others.
fn callers(allowed: Option<SocketAddr>) -> (Four, String) {
    let four = Four::start_as(folders(|_, _| {}), |index, folder, address, founding| {
        let allowed = allowed.filter(|_| index == 0).map(|to| to.to_string());
        let mut arguments = vec!["--stoq", address, "--founding", founding];
        if let Some(allowed) = &allowed {
            arguments.extend(["--dial-for-leases", allowed]);
        }
        up(folder, &arguments)
    });
    let first = &four.nodes[0];
    first.write("network.wat", &guests::network_user());
    first.write("caller.toml", MANIFEST);
    first.nexus(&["deploy", "caller.toml"]).ok();
    for node in &four.nodes {
        eventually("the guest answers", || {
            let closed = node.nexus(&["invoke", "caller", "close"]);
            (closed.code == 0).then_some(())
        });
    }
    // What a large component takes to reach the others is what sessions show.
    first.write("load.wat", &heavy());
    first.write("app.toml", &workload(4));
    first.nexus(&["deploy", "app.toml"]).ok();
    let asset = eventually("sessions have carried enough to be measured", || {
        let register = [
            "asset",
            "register",
            "network",
            "--privacy",
            "public-network",
        ];
        let report = first.nexus(&[&register[..], &["-o", "json"]].concat());
        (report.code == 0).then(|| report.json()["asset"].as_str().unwrap().to_owned())
    });
    for node in &four.nodes {
        leased(node, &asset, 0);
    }
    (four, asset)
}

#[track_caller]
fn call(node: &Fabric, export: &str, args: &[&str]) -> String {
    let words = [&["invoke", "caller", export], args].concat();
    node.nexus(&words).ok().trim_end().to_owned()
}

#[track_caller]
fn connect(node: &Fabric, to: SocketAddr) -> String {
    let host = format!("\"{}\"", to.ip());
    call(node, "connect", &[&host, &to.port().to_string()])
}

/// A number of what a link says that it carried.
#[track_caller]
fn used(node: &Fabric, name: &str) -> u64 {
    let usage = call(node, "usage", &[]);
    let rest = usage.split_once(&format!("{name}: ")).map(|(_, rest)| rest);
    let digits = rest.map(|rest| rest.chars().take_while(char::is_ascii_digit));
    let number = digits.and_then(|digits| digits.collect::<String>().parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {usage}"))
}

#[track_caller]
fn leased(node: &Fabric, asset: &str, bytes_per_s: u64) {
    eventually("the ledger says what is leased", || {
        let shown = node.nexus(&["asset", "show", asset, "-o", "json"]).json();
        (shown["leased"].as_u64() == Some(bytes_per_s)).then_some(())
    });
}

#[test]
fn guests_connect_over_links_of_this_node_and_of_another_within_the_rate() {
    let server = echo();
    let (four, asset) = callers(Some(server));
    let (here, elsewhere) = (&four.nodes[0], &four.nodes[2]);
    for node in [here, elsewhere] {
        assert_eq!(call(node, "allocate", &["20000", TERM_MS]), "ok");
        assert_eq!(connect(node, server), "ok");
        assert_eq!(call(node, "write", &["[1, 2, 3]"]), "ok");
        assert_eq!(call(node, "read", &["3"]), "ok([1, 2, 3])");
        assert_eq!(used(node, "sent-bytes"), 3);
        assert_eq!(used(node, "received-bytes"), 3);
        assert_eq!(used(node, "connections"), 1);
        // The end of one way is not the end of the other.
        assert_eq!(call(node, "write", &["[4]"]), "ok");
        assert_eq!(call(node, "finish", &[]), "ok");
        assert_eq!(call(node, "read", &["100"]), "ok([4])");
        assert_eq!(call(node, "read", &["100"]), "ok([])");
        // No sooner than the rate allows: both ways count, the first burst of 64 KiB goes at once.
        assert_eq!(connect(node, server), "ok");
        let begun = Instant::now();
        assert_eq!(call(node, "flood", &["16384", "5"]), "ok");
        eventually("all of it went", || {
            (used(node, "sent-bytes") == 4 + 5 * 16_384).then_some(())
        });
        let least = Duration::from_millis((5 * 16_384 - 65_536) * 1_000 / 20_000);
        assert!(
            begun.elapsed() >= least,
            "{:?} of {least:?}",
            begun.elapsed()
        );
        call(node, "hang-up", &[]);
        eventually("the connection is gone", || {
            (used(node, "connections") == 0).then_some(())
        });
    }
    leased(here, &asset, 40_000);
    let over = call(here, "allocate", &["1048576", TERM_MS]);
    assert!(over.starts_with("err(quota("), "{over}");
    // A link that is given back takes its connections with it.
    for node in [here, elsewhere] {
        assert_eq!(connect(node, server), "ok");
        call(node, "close", &[]);
        assert_eq!(call(node, "read", &["1"]), "err(ended)");
    }
    leased(elsewhere, &asset, 0);
    assert_eq!(call(here, "allocate", &["20000", TERM_MS]), "ok");
    leased(elsewhere, &asset, 20_000);
    assert_ne!(here.nexus(&["invoke", "caller", "trap"]).code, 0);
    leased(elsewhere, &asset, 0);
}

#[test]
fn another_node_dials_only_where_its_operator_allows_it_and_guests_only_where_their_manifest_does()
{
    let server = echo();
    let (four, _) = callers(None);
    let (here, elsewhere) = (&four.nodes[0], &four.nodes[2]);
    for node in [here, elsewhere] {
        assert_eq!(call(node, "allocate", &["20000", TERM_MS]), "ok");
        let denied = call(node, "connect", &["\"127.0.0.2\"", "80"]);
        assert!(denied.starts_with("err(denied("), "{denied}");
        assert!(denied.contains("capabilities.tcp"), "{denied}");
    }
    // The node's own guests need no word of its operator beside the manifest.
    assert_eq!(connect(here, server), "ok");
    let denied = connect(elsewhere, server);
    assert!(denied.starts_with("err(denied("), "{denied}");
    assert!(denied.contains("--dial-for-leases"), "{denied}");
    assert_eq!(used(elsewhere, "connections"), 0);
}

#[test]
fn a_link_ends_is_renewed_and_is_lost_with_its_host() {
    let server = echo();
    let (mut four, asset) = callers(Some(server));
    let (second, third) = (&four.nodes[1], &four.nodes[2]);
    for node in [second, third] {
        assert_eq!(call(node, "allocate", &["20000", "10000"]), "ok");
        assert_eq!(connect(node, server), "ok");
    }
    assert_eq!(call(third, "renew", &[TERM_MS]), "ok");
    assert!(used(third, "left-ms") > 10_000);
    // What waits for bytes that do not come ends with its lease.
    assert_eq!(call(second, "read", &["1"]), "err(ended)");
    assert_eq!(connect(second, server), "err(ended)");
    assert_eq!(call(third, "write", &["[9]"]), "ok");
    assert_eq!(call(third, "read", &["1"]), "ok([9])");
    call(second, "close", &[]);
    leased(second, &asset, 20_000);

    // A port where nobody listens.
    let refused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let denied = connect(third, refused);
    assert!(denied.starts_with("err(denied("), "another port: {denied}");

    let mut reading = third.command(&["invoke", "caller", "read", "1"]);
    let ended = thread::scope(|scope| {
        let reading = scope.spawn(move || crate::harness::run(&mut reading));
        thread::sleep(Duration::from_millis(500));
        four.kill(0);
        reading.join().unwrap()
    });
    let said = ended.ok();
    assert!(said.starts_with("err(lost("), "{said}");
    let none = call(&four.nodes[2], "allocate", &["64", TERM_MS]);
    let typed = ["err(exhausted(", "err(unavailable("];
    assert!(typed.iter().any(|case| none.starts_with(case)), "{none}");
}

#[test]
fn a_port_where_nobody_listens_is_told_as_such() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (four, _) = callers(Some(nobody));
    for node in [&four.nodes[0], &four.nodes[3]] {
        assert_eq!(call(node, "allocate", &["20000", TERM_MS]), "ok");
        let failed = connect(node, nobody);
        assert!(failed.starts_with("err(failed("), "{failed}");
        assert!(failed.contains("refused"), "{failed}");
    }
}
