//! Leased processors between real nodes: components run under a lease of this node or of another one,
//! within it, only for whom they are, and until it ends.

use std::time::Duration;

use crate::four::Four;
use crate::guests;
use crate::harness::{Fabric, eventually};

const CALLER: &str = r#"
name = "caller"

[[component]]
name = "hand"
source = "cpu.wat"
replicas = 4
placement = { apart = true }

[component.limits]
wall_time = "2m"

[component.capabilities]
cpu = 500
"#;

const CALLED: &str = r#"
name = "NAME"

[[component]]
name = "main"
source = "numbers.wat"
deterministic_seed = 7
"#;

/// Long enough for any of these tests.
const TERM_MS: &str = "600000";

/// Four nodes with a guest each that may lease; the first has processors that every node may lease. The
/// operator of the first deployed `numbers`, the one of the second `foreign`.
fn callers() -> (Four, String) {
    let four = Four::start();
    let first = &four.nodes[0];
    let register = ["asset", "register", "cpu", "--privacy", "public-network"];
    let report = first.nexus(&[&register[..], &["-o", "json"]].concat());
    let asset = report.json()["asset"].as_str().unwrap().to_owned();
    first.write("cpu.wat", &guests::cpu_user());
    first.write("caller.toml", CALLER);
    first.nexus(&["deploy", "caller.toml"]).ok();
    for (node, name) in [(first, "numbers"), (&four.nodes[1], "foreign")] {
        node.write("numbers.wat", guests::deterministic());
        node.write("called.toml", &CALLED.replace("NAME", name));
        node.nexus(&["deploy", "called.toml"]).ok();
    }
    for node in &four.nodes {
        eventually("the guest answers", || {
            let closed = node.nexus(&["invoke", "caller", "close"]);
            (closed.code == 0).then_some(())
        });
    }
    (four, asset)
}

#[track_caller]
fn call(node: &Fabric, export: &str, args: &[&str]) -> String {
    let words = [&["invoke", "caller", export], args].concat();
    node.nexus(&words).ok().trim_end().to_owned()
}

/// A call of a workload, as its guest is told of it.
fn wave(workload: &str, component: &str, rounds: &str, fuel: &str, wall_ms: &str) -> String {
    format!(
        "{{workload: \"{workload}\", component: \"{component}\", function: \"run\", \
         arguments: [\"{rounds}\"], fuel-max: {fuel}, wall-ms-max: {wall_ms}}}"
    )
}

/// A short call of what the guest may call.
fn short() -> String {
    wave("numbers", "main", "20000", "100000000", "60000")
}

/// A number of a record.
#[track_caller]
fn field(text: &str, name: &str) -> u64 {
    let rest = text.split_once(&format!(" {name}: "));
    let rest = rest.or_else(|| text.split_once(&format!("{{{name}: ")));
    let digits = rest.map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit));
    let number = digits.and_then(|digits| digits.collect::<String>().parse().ok());
    number.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[track_caller]
fn leased(node: &Fabric, asset: &str, millicores: u64) {
    eventually("the ledger says what is leased", || {
        let shown = node.nexus(&["asset", "show", asset, "-o", "json"]).json();
        (shown["leased"].as_u64() == Some(millicores)).then_some(())
    });
}

#[test]
fn components_run_under_leases_here_and_elsewhere_within_what_was_leased() {
    let (four, asset) = callers();
    let (here, elsewhere) = (&four.nodes[0], &four.nodes[2]);
    // Wherever it is placed.
    let plain = eventually("the component answers", || {
        let ran = |node: &Fabric| node.nexus(&["invoke", "numbers", "run", "20000"]);
        let mut ran = four.nodes.iter().map(ran);
        ran.find(|ran| ran.code == 0).map(|ran| ran.out)
    });
    for node in [here, elsewhere] {
        assert_eq!(call(node, "allocate", &["250", TERM_MS]), "ok");
        let ran = call(node, "run", &[&short()]);
        let output = format!("ok({{output: \"{}\", fuel: ", plain.trim_end());
        assert!(ran.starts_with(&output), "{ran}");
        assert!(ran.contains("receipt: [0, "), "{ran}");
        let usage = call(node, "usage", &[]);
        assert_eq!(field(&usage, "millicores"), 250);
        assert_eq!(field(&usage, "calls"), 1);
        assert_eq!(field(&usage, "fuel"), field(&ran, "fuel"));
        assert_eq!(field(&usage, "cpu-us"), field(&ran, "cpu-us"));
        // Its own fuel, below what its component has.
        let little = wave("numbers", "main", "20000", "1000", "60000");
        let failed = call(node, "run", &[&little]);
        assert!(
            failed.starts_with("err(failed(") && failed.contains("fuel"),
            "{failed}"
        );
    }
    leased(here, &asset, 500);

    // Two at once under one lease, on the other node: counted together they keep within it.
    let before = field(&call(elsewhere, "usage", &[]), "cpu-us");
    let endless = wave("numbers", "main", "4294967295", "9000000000", "3000");
    for number in ["ok(0)", "ok(1)"] {
        assert_eq!(call(elsewhere, "start", &[&endless]), number);
    }
    for number in ["0", "1"] {
        let failed = call(elsewhere, "wait", &[number]);
        assert!(
            failed.starts_with("err(failed(") && failed.contains("wall"),
            "{failed}"
        );
    }
    let used = field(&call(elsewhere, "usage", &[]), "cpu-us") - before;
    assert!(used > 10_000, "{used} us");
    // 250 of 1000 for three seconds and a bit; alone, each would have had up to three.
    assert!(used < 1_500_000, "{used} us");
    // The other lease of the same machine is another account.
    assert_eq!(field(&call(here, "usage", &[]), "calls"), 2);

    let over = call(here, "allocate", &["251", TERM_MS]);
    assert!(over.starts_with("err(quota("), "{over}");
    call(elsewhere, "close", &[]);
    leased(here, &asset, 250);
    assert_ne!(here.nexus(&["invoke", "caller", "trap"]).code, 0);
    leased(elsewhere, &asset, 0);
}

#[test]
fn a_guest_has_nothing_run_that_its_principal_did_not_deploy_or_nobody_could_repeat() {
    let (four, _) = callers();
    for node in [&four.nodes[0], &four.nodes[3]] {
        assert_eq!(call(node, "allocate", &["100", TERM_MS]), "ok");
        let refused = |workload, component, rounds| {
            let wave = wave(workload, component, rounds, "1000", "1000");
            call(node, "run", &[&wave])
        };
        for (workload, component, why) in [
            ("foreign", "main", "another principal"),
            ("caller", "hand", "not deterministic"),
            ("absent", "main", "no workload"),
            ("numbers", "absent", "no component"),
        ] {
            let denied = refused(workload, component, "1");
            assert!(denied.starts_with("err(denied("), "{denied}");
            assert!(denied.contains(why), "{denied}");
        }
        let no_name = refused("No Name", "main", "1");
        assert!(no_name.starts_with("err(invalid("), "{no_name}");
        let no_number = refused("numbers", "main", "many");
        assert!(no_number.starts_with("err(invalid("), "{no_number}");
        assert_eq!(field(&call(node, "usage", &[]), "cpu-us"), 0);
    }
}

#[test]
fn a_lease_of_processors_ends_is_renewed_and_is_lost_with_its_host() {
    let (mut four, asset) = callers();
    let elsewhere = &four.nodes[2];
    assert_eq!(call(elsewhere, "allocate", &["100", "10000"]), "ok");
    assert_eq!(call(elsewhere, "renew", &[TERM_MS]), "ok");
    assert!(field(&call(elsewhere, "usage", &[]), "left-ms") > 10_000);
    let no_longer = call(elsewhere, "renew", &["10000"]);
    assert!(no_longer.starts_with("err(invalid("), "{no_longer}");
    // What is under way ends with its lease.
    let second = &four.nodes[1];
    assert_eq!(call(second, "allocate", &["100", "10000"]), "ok");
    let endless = wave("numbers", "main", "4294967295", "9000000000", "60000");
    assert_eq!(call(second, "run", &[&endless]), "err(ended)");
    let ended = call(second, "run", &[&short()]);
    assert_eq!(ended, "err(ended)");
    // The other one goes on.
    assert!(call(elsewhere, "run", &[&short()]).starts_with("ok("));
    call(second, "close", &[]);
    leased(second, &asset, 100);

    let mut running = elsewhere.command(&["invoke", "caller", "run", &endless]);
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(move || crate::harness::run(&mut running));
        std::thread::sleep(Duration::from_millis(500));
        four.kill(0);
        running.join().unwrap()
    });
    let said = ended.ok();
    assert!(said.starts_with("err(lost("), "{said}");
    let none = call(&four.nodes[2], "allocate", &["10", TERM_MS]);
    let typed = ["err(exhausted(", "err(unavailable("];
    assert!(typed.iter().any(|case| none.starts_with(case)), "{none}");
}

#[test]
fn processors_that_are_not_shared_are_leased_by_nobody_else() {
    let four = Four::start();
    let first = &four.nodes[0];
    let report = first.nexus(&["asset", "register", "cpu", "-o", "json"]);
    let asset = report.json()["asset"].as_str().unwrap().to_owned();
    first.write("cpu.wat", &guests::cpu_user());
    first.write("caller.toml", CALLER);
    first.nexus(&["deploy", "caller.toml"]).ok();
    let second = &four.nodes[1];
    eventually("the guest is told", || {
        let said = second.nexus(&["invoke", "caller", "allocate", "10", TERM_MS]);
        (said.code == 0 && said.out.starts_with("err(exhausted(")).then_some(())
    });
    leased(second, &asset, 0);
}
