//! Calls that several nodes run, one of which lies about what it ran, and receipts that are checked
//! and challenged. Real processes.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::components::LIBRARY;
use crate::four::{Four, folders, status};
use crate::harness::{Fabric, Ran, Running, binary, eventually, run, up};

const GUEST: &str = include_str!("../../host/runtime/tests/guests/deterministic.wat");

/// Its place among the four.
const LIAR: usize = 3;

/// What the liar says when it begins, and no build of `nexus` can say.
const CONFESSION: &str = "this node lies about what it ran";

/// Calls until chance has drawn a certain node of four: not once in a million it has not by then.
const DRAWS: u32 = 60;

/// The node that lies, which cargo builds beside `nexus` for tests.
fn program() -> PathBuf {
    let nexus = Path::new(env!("CARGO_BIN_EXE_nexus"));
    let program = nexus.parent().unwrap().join("examples/falsifier");
    assert!(
        program.is_file(),
        "{} is missing: build it with `cargo build --package nexus --example falsifier`",
        program.display()
    );
    program
}

/// Four nodes, of which the last one lies.
fn with_liar(lie: &str) -> Four {
    let four = Four::start_as(folders(|_, _| {}), |index, folder, address, founding| {
        if index != LIAR {
            return up(folder, &["--stoq", address, "--founding", founding]);
        }
        let log = File::create(folder.join("node.log")).unwrap();
        let mut command = Command::new(program());
        command
            .arg(folder.join("data"))
            .args([address, founding, lie])
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    });
    assert!(four.nodes[LIAR].log().contains(CONFESSION));
    four
}

fn id(node: &Fabric) -> String {
    status(node)["node"].as_str().unwrap().to_owned()
}

/// Deploys the deterministic guest, and waits until all nodes know of it and of each other.
fn deploy(four: &Four, settings: &str) {
    let at = &four.nodes[0];
    at.write("det.wat", GUEST);
    let component = "[[component]]\nname = \"main\"\nsource = \"det.wat\"\n";
    at.write(
        "det.toml",
        &format!("name = \"det\"\n{component}deterministic_seed = 7\n{settings}"),
    );
    at.nexus(&["deploy", "det.toml"]).ok();
    for node in &four.nodes {
        eventually("it is known, and so are the others", || {
            let sessions = node.nexus(&["stoq", "sessions", "-o", "json"]).json();
            let met = sessions["sessions"].as_array().unwrap().len() == 3;
            (met && node.state("det").is_some()).then_some(())
        });
    }
}

fn invoke(node: &Fabric, arguments: &[&str]) -> Ran {
    node.nexus(&[&["invoke", "det"], arguments].concat())
}

/// What the replica that was placed says, which states nothing to others and so tells no lie.
fn truth(four: &Four, rounds: &str) -> String {
    let arguments = ["run", rounds, "--replicate", "one"];
    let mut said = four.nodes.iter().map(|node| invoke(node, &arguments));
    let said = said.find(|ran| ran.code == 0).unwrap();
    said.out.trim_end().to_owned()
}

/// How a node stands to the result of a call; none if it was not drawn.
fn verdict<'a>(answer: &'a Value, node: &str) -> Option<&'a Value> {
    let nodes = answer["replication"]["nodes"].as_array().unwrap();
    nodes.iter().find(|outcome| outcome["node"] == node)
}

/// Calls until `wanted` is drawn and stands so to the result; the number of the call.
fn until(four: &Four, wanted: &str, stands: &str, dial: &[&str]) -> (String, Value) {
    for round in 0..DRAWS {
        let rounds = (1_000 + round).to_string();
        let arguments = [&["run", &rounds, "-o", "json"], dial].concat();
        let answer = invoke(&four.nodes[0], &arguments).json();
        if verdict(&answer, wanted).is_some_and(|node| node["verdict"] == stands) {
            return (rounds, answer);
        }
    }
    panic!("{wanted} was never drawn, or never {stands}");
}

#[test]
fn two_of_three_agree_on_the_truth_and_name_who_lies() {
    let four = with_liar("output");
    deploy(&four, "replicate = \"2/3\"\n");
    let (at, liar) = (&four.nodes[0], id(&four.nodes[LIAR]));
    // The manifest's dial.
    let receipt = ["--receipt", "two.receipt"];
    let (rounds, answer) = until(&four, &liar, "outvoted", &receipt);
    assert_eq!(answer["result"], truth(&four, &rounds));
    assert_eq!(answer["replication"]["replication"], "2/3");
    assert_eq!(answer["replication"]["nodes"].as_array().unwrap().len(), 3);
    assert!(answer.get("receipt").is_none(), "it is in the file");
    assert!(at.log().contains("a node's receipt is outvoted"));
    on_record(&four, &liar);
    let verified = at.nexus(&["receipt", "verify", "two.receipt", "-o", "json"]);
    let verified = verified.json();
    assert_eq!(verified["outvoted"], serde_json::json!([liar]));
    assert_eq!(verified["agreed"].as_array().unwrap().len(), 2);
    assert_eq!(verified["draw_checked"], true, "{verified}");
    let shown = at.nexus(&["receipt", "show", "two.receipt"]).ok();
    assert!(shown.contains(&liar) && shown.contains("2/3"), "{shown}");
    // For people, on standard error: the result stands alone.
    let (rounds, said) = told_again(&four, &liar);
    assert_eq!(said.out.trim_end(), truth(&four, &rounds));
    assert!(said.err.contains("2 of 3 nodes agree"), "{}", said.err);
    // All cannot agree, and each is named with what it got.
    let all = invoke(at, &["run", &rounds, "--replicate", "all"]).failed(5);
    for node in &four.nodes {
        assert!(all.contains(&format!("node {}: output", id(node))), "{all}");
    }
    checked_without_a_node(&four, &answer);
    challenged(&four, &liar);
}

/// A call whose caller is told in words that the liar is outvoted, and its number. In an idle fabric the
/// same call draws the same nodes again.
fn told_again(four: &Four, liar: &str) -> (String, Ran) {
    for round in 0..DRAWS {
        let rounds = (2_000 + round).to_string();
        let ran = invoke(&four.nodes[0], &["run", &rounds]);
        if ran.code == 0 && ran.err.contains(&format!("outvoted: {liar}")) {
            return (rounds, ran);
        }
    }
    panic!("{liar} was never drawn, or never heard");
}

/// That it was outvoted is a fact of the ledger, on every node; of nobody else there is any.
fn on_record(four: &Four, liar: &str) {
    let honest = id(&four.nodes[0]);
    for node in &four.nodes {
        eventually("the fault is on record", || {
            let entry = node.nexus(&["ledger", "get", &format!("fault/{liar}"), "-o", "json"]);
            let times = (entry.code == 0).then(|| entry.json()["record"]["outvoted"].as_u64());
            times.flatten().filter(|times| *times > 0)
        });
        node.nexus(&["ledger", "get", &format!("fault/{honest}")])
            .failed(4);
    }
}

/// A file is checked without any node, but for the draw; a changed one is refused.
fn checked_without_a_node(four: &Four, answer: &Value) {
    let at = &four.nodes[0];
    let fabric = status(at)["fabric"].as_str().unwrap().to_owned();
    let file = at.folder.path().join("two.receipt");
    let verify = |arguments: &[&str]| {
        let mut command = binary();
        let nowhere = at.folder.path().join("nowhere");
        command.arg("--data").arg(nowhere);
        run(command.args(["receipt", "verify"]).args(arguments))
    };
    let path = file.to_str().unwrap();
    let alone = verify(&[path, "--fabric", &fabric, "-o", "json"]).json();
    assert_eq!(alone["draw_checked"], false);
    assert_eq!(alone["order"], answer["replication"]["order"]);
    let other = format!("blake3:{}", "ab".repeat(32));
    let refused = verify(&[path, "--fabric", &other]).failed(5);
    assert!(refused.contains("not of"), "{refused}");
    let bytes = fs::read(&file).unwrap();
    let result = answer["result"].as_str().unwrap().as_bytes();
    let place = bytes.windows(result.len()).position(|part| part == result);
    let mut changed = bytes.clone();
    changed[place.unwrap()] ^= 1;
    let forged = at.folder.path().join("forged.receipt");
    for bytes in [&changed[..], &bytes[..bytes.len() - 1], b""] {
        fs::write(&forged, bytes).unwrap();
        verify(&[forged.to_str().unwrap()]).failed(5);
    }
}

/// The liar's own receipt is refuted by others; that of an honest node is confirmed.
fn challenged(four: &Four, liar: &str) {
    let at = &four.nodes[0];
    let own = ["--replicate", "one", "--receipt", "own.receipt"];
    let (rounds, answer) = until(four, liar, "agreed", &own);
    assert_ne!(answer["result"], truth(four, &rounds), "nobody checked it");
    at.nexus(&["receipt", "verify", "own.receipt"]).ok();
    let refuted = at.nexus(&["receipt", "challenge", "own.receipt"]);
    assert!(
        refuted
            .out
            .contains(&format!("receipt of node {liar}: refuted")),
        "{refuted:#?}"
    );
    assert!(refuted.out.contains("  output blake3:"), "{refuted:#?}");
    refuted.failed(5);
    let honest = id(at);
    let (rounds, answer) = until(four, &honest, "agreed", &own);
    assert_eq!(answer["result"], truth(four, &rounds));
    let confirmed = at.nexus(&["receipt", "challenge", "own.receipt", "-o", "json"]);
    let confirmed = confirmed.json();
    assert_eq!(
        confirmed["receipts"][0]["verdict"], "confirmed",
        "{confirmed}"
    );
    assert_eq!(confirmed["again"].as_array().unwrap().len(), 3);
    // What nobody runs any more is not run again.
    at.nexus(&["stop", "det"]).ok();
    let stopped = at.nexus(&["receipt", "challenge", "own.receipt"]).failed(1);
    assert!(stopped.contains("stopped or paused"), "{stopped}");
}

#[test]
fn who_understates_its_fuel_is_refuted() {
    let four = with_liar("fuel");
    deploy(&four, "");
    let (at, liar) = (&four.nodes[0], id(&four.nodes[LIAR]));
    let dial = ["--replicate", "2/3"];
    let (rounds, answer) = until(&four, &liar, "outvoted", &dial);
    assert_eq!(
        answer["result"],
        truth(&four, &rounds),
        "its result is true"
    );
    let outvoted = verdict(&answer, &liar).unwrap();
    assert!(outvoted["fuel_used"].as_u64() < answer["fuel_used"].as_u64());
    let own = ["--replicate", "one", "--receipt", "own.receipt"];
    let (_, answer) = until(&four, &liar, "agreed", &own);
    let claimed = answer["fuel_used"].as_u64().unwrap();
    let refuted = at.nexus(&["receipt", "challenge", "own.receipt", "-o", "json"]);
    let report: Value = serde_json::from_str(&refuted.out).unwrap();
    let judged = &report["receipts"][0];
    assert_eq!(judged["verdict"], "refuted");
    for difference in judged["differences"].as_array().unwrap() {
        assert_eq!(difference["field"], "fuel");
        assert_eq!(difference["claimed"], claimed.to_string());
        let found: u64 = difference["found"].as_str().unwrap().parse().unwrap();
        assert!(found > claimed, "{difference}");
    }
    refuted.failed(5);
}

#[test]
fn a_node_that_is_down_is_silent_and_the_others_agree() {
    let mut four = Four::start();
    deploy(&four, "");
    let gone = id(&four.nodes[2]);
    let everyone = invoke(&four.nodes[1], &["run", "1", "--replicate", "all"]);
    assert!(everyone.err.contains("4 of 4 nodes agree"), "{everyone:#?}");
    let result = everyone.ok();
    four.kill(2);
    let dial = ["--replicate", "2/3"];
    let (_, answer) = until(&four, &gone, "silent", &dial);
    let reason = verdict(&answer, &gone).unwrap()["reason"].as_str().unwrap();
    assert!(!reason.is_empty());
    let again = invoke(&four.nodes[0], &["run", "1", "--replicate", "2/3"]);
    assert_eq!(again.ok(), result, "as before");
    eventually(
        "its session is gone, so that all is decided at once",
        || {
            let sessions = four.nodes[0].nexus(&["stoq", "sessions", "-o", "json"]);
            (!sessions.ok().contains(&gone)).then_some(())
        },
    );
    let all = invoke(&four.nodes[0], &["run", "1", "--replicate", "all"]).failed(5);
    assert!(all.contains("4 must"), "{all}");
    assert!(
        all.contains(&format!("node {gone}: there is no session")),
        "{all}"
    );
}

#[test]
fn what_nobody_can_repeat_is_refused_with_what_to_do() {
    let fabric = Fabric::start();
    fabric.write("lib.wat", LIBRARY);
    fabric.nexus(&["deploy", "lib.wat"]).ok();
    let several = ["invoke", "lib", "add", "1", "2", "--replicate", "2/3"];
    let refused = fabric.nexus(&several).failed(5);
    assert!(refused.contains("set deterministic_seed"), "{refused}");
    fabric.write("det.wat", GUEST);
    let manifest = "name = \"det\"\n[[component]]\nname = \"main\"\nsource = \"det.wat\"\n";
    fabric.write("det.toml", &format!("{manifest}replicate = \"2/3\"\n"));
    let refused = fabric.nexus(&["deploy", "det.toml"]).failed(5);
    assert!(refused.contains("set deterministic_seed"), "{refused}");
    fabric.write("det.toml", &format!("{manifest}replicate = \"1/2\"\n"));
    let refused = fabric.nexus(&["deploy", "det.toml"]).failed(5);
    assert!(refused.contains("more than half"), "{refused}");
    fabric.write("det.toml", &format!("{manifest}deterministic_seed = 7\n"));
    fabric.nexus(&["deploy", "det.toml"]).ok();
    let few = invoke(&fabric, &["run", "1", "--replicate", "2/3"]).failed(5);
    assert!(few.contains("the fabric has 1"), "{few}");
    let unknown = invoke(&fabric, &["nothing", "--replicate", "all"]).failed(4);
    assert!(unknown.contains("no export `nothing`"), "{unknown}");
    invoke(&fabric, &["run", "1", "2", "--replicate", "all"]).failed(2);
    // A node alone can be believed, and says what it says in a file, too.
    let alone = invoke(&fabric, &["run", "1", "--receipt", "one.receipt"]).ok();
    assert_eq!(alone, invoke(&fabric, &["run", "1"]).ok());
    fabric.nexus(&["receipt", "verify", "one.receipt"]).ok();
    let nobody = fabric.nexus(&["receipt", "challenge", "one.receipt"]);
    assert!(nobody.failed(5).contains("nobody is left"));
    fabric.stop();
}

/// Cpu that four nodes have used together.
fn cpu(four: &Four) -> Duration {
    let used = four.nodes.iter().map(|node| node.process.cpu());
    used.sum()
}

#[test]
fn orders_beyond_the_bound_are_refused_and_given_up_ones_stop() {
    let four = Four::start();
    deploy(
        &four,
        "[component.limits]\nwall_time = \"10m\"\nfuel = 1000000000000000\n",
    );
    let at = &four.nodes[0];
    let all = |rounds: &str| invoke(at, &["run", rounds, "--replicate", "all"]);
    // Everybody has compiled it.
    all("1").ok();
    let mut given_up = Vec::new();
    let busy = eventually("no place is left anywhere", || {
        // It never ends here, and takes a place wherever one is left.
        let arguments = ["invoke", "det", "run", "4000000000", "--replicate", "all"];
        let mut endless = at.command(&arguments);
        let endless = endless.stdout(Stdio::null()).stderr(Stdio::null());
        given_up.push(Running::new(endless));
        let ran = all("1");
        let busy = |node: &Fabric| ran.err.contains(&format!("node {}: busy", id(node)));
        four.nodes.iter().all(busy).then_some(ran)
    });
    // For one member a node runs eight at once.
    assert!(given_up.len() >= 8, "{}", given_up.len());
    busy.failed(1);
    let before = cpu(&four);
    eventually("they compute", || {
        (cpu(&four) - before > Duration::from_millis(500)).then_some(())
    });
    drop(given_up);
    eventually("places are free again", || {
        (all("1").code == 0).then_some(())
    });
    eventually("nothing computes any more", || {
        let before = cpu(&four);
        std::thread::sleep(Duration::from_secs(1));
        (cpu(&four) - before < Duration::from_millis(250)).then_some(())
    });
}

/// The script that newcomers paste.
#[test]
fn the_example_of_a_liar_runs_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/verified-compute/run.sh"
    );
    let free = |base: &u16| {
        let bound = (1..=4).map(|number| UdpSocket::bind(("127.0.0.1", base + number)));
        bound.collect::<Result<Vec<_>, _>>().is_ok()
    };
    // Elsewhere than where the system hands out ports, and not where another such test looks first.
    let first = 10_004 + u16::try_from(std::process::id() % 2_000).unwrap() * 8;
    let base = (first..30_000).step_by(8).find(free).unwrap();
    let mut example = Command::new("sh");
    example
        .arg(script)
        .env("NEXUS", binary().get_program())
        .env("FALSIFIER", program())
        .env("PORT", base.to_string())
        .env("HOME", "/nonexistent")
        .env("TMPDIR", folder.path())
        .current_dir(folder.path());
    let said = run(&mut example).ok();
    for line in [
        "2 of 3 nodes agree",
        "outvoted: ",
        "refuted",
        "  output blake3:",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "the script leaves its folder behind");
}

/// Whoever installs `nexus` cannot lie with it.
#[test]
fn nexus_holds_nothing_of_the_node_that_lies() {
    let holds = |program: &Path| {
        let bytes = fs::read(program).unwrap();
        let mut windows = bytes.windows(CONFESSION.len());
        windows.any(|window| window == CONFESSION.as_bytes())
    };
    assert!(holds(&program()));
    assert!(!holds(Path::new(env!("CARGO_BIN_EXE_nexus"))));
}
