//! Four validators of which one tells its peers different things: the others agree, prove it on the
//! ledger, and go on without its vote. Real processes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::four::{Four, agree, folders, grant, under_load};
use crate::harness::{Fabric, eventually, up};

/// Its place among the four.
const LIAR: usize = 3;

/// What the liar says when it begins, and no build of `nexus` can say.
const CONFESSION: &str = "this validator lies to its peers";

/// The node that lies, which cargo builds beside `nexus` for tests.
fn program() -> PathBuf {
    let nexus = Path::new(env!("CARGO_BIN_EXE_nexus"));
    let program = nexus.parent().unwrap().join("examples/equivocator");
    assert!(
        program.is_file(),
        "{} is missing: build it with `cargo build --package nexus --example equivocator`",
        program.display()
    );
    program
}

fn start() -> Four {
    Four::start_as(folders(|_, _| {}), |index, folder, address, founding| {
        if index != LIAR {
            return up(folder, &["--stoq", address, "--founding", founding]);
        }
        let log = File::create(folder.join("node.log")).unwrap();
        let mut command = Command::new(program());
        command
            .arg(folder.join("data"))
            .args([address, founding])
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    })
}

fn validators(at: &Fabric) -> Value {
    at.nexus(&["validator", "list", "-o", "json"]).json()
}

#[test]
fn a_validator_that_tells_different_things_loses_its_vote_and_forks_nobody() {
    let four = start();
    let (honest, liar) = four.nodes.split_at(LIAR);
    let liar = &liar[0];
    assert!(liar.log().contains(CONFESSION), "{}", liar.log());
    let id = liar.nexus(&["node", "status", "-o", "json"]).json()["node"]
        .as_str()
        .unwrap()
        .to_owned();
    let folders: Vec<_> = honest.iter().map(Fabric::data).collect();
    let mut acknowledged = under_load(&folders, || {
        for node in honest {
            eventually("the lie is proven on the ledger", || {
                let list = validators(node);
                let convicted = list["convicted"].as_array().unwrap().clone();
                let only = convicted.len() == 1 && convicted[0]["node"] == id.as_str();
                assert!(convicted.is_empty() || only, "{list}");
                only.then_some(())
            });
        }
        // On a busy machine the epoch takes longer than anything else does.
        for reached in [32, 64, 96] {
            eventually("blocks go on", || {
                let status = honest[0].nexus(&["ledger", "status", "-o", "json"]);
                let height = status.json()["height"].as_u64()?;
                (height >= reached).then_some(())
            });
        }
        for node in honest {
            eventually("three validators are left", || {
                let list = validators(node);
                let left = list["validators"].as_array().unwrap();
                let gone = left.iter().all(|one| one["node"] != id.as_str());
                (gone && left.len() == LIAR).then_some(())
            });
        }
    });
    shunned(honest, liar, &id);
    // Three are left, and all are needed from now on.
    let last = "ef".repeat(32);
    assert!(grant(&mut honest[1].command(&[]), &last));
    acknowledged.push(last);
    let honest: Vec<_> = honest.iter().collect();
    let height = agree(&honest, &acknowledged);
    println!("{} transactions in {height} blocks", acknowledged.len());
    let key = format!("conviction/{id}");
    for node in honest {
        let entry = node.nexus(&["ledger", "get", &key, "-o", "json"]).json();
        let at = entry["record"]["at"].as_u64();
        assert!(at.is_some_and(|at| at < height), "{entry}");
        let shown = node.nexus(&["validator", "list"]).ok();
        assert!(
            shown.contains(&format!("{id} contradicted itself")),
            "{shown}"
        );
    }
}

/// Who heard both of two votes that contradict each other hears nothing more from the liar, which
/// knocks on and is told why; the log says so once.
fn shunned(honest: &[Fabric], liar: &Fabric, id: &str) {
    let mut blocked_by = 0;
    for node in honest {
        let log = node.log();
        let told = log.matches("a peer is blocked").count();
        assert!(told <= 1, "{log}");
        if told == 0 {
            continue;
        }
        blocked_by += 1;
        let sessions = node.nexus(&["stoq", "sessions", "-o", "json"]).json();
        assert!(!sessions.to_string().contains(id), "{sessions}");
    }
    assert!(blocked_by > 0, "nobody blocks the liar");
    eventually("the liar is told why it is refused", || {
        liar.log().contains("is blocked: ").then_some(())
    });
}

/// Whoever installs `nexus` cannot lie with it.
#[test]
fn nexus_holds_nothing_of_the_validator_that_lies() {
    let holds = |program: &Path| {
        let bytes = fs::read(program).unwrap();
        let mut windows = bytes.windows(CONFESSION.len());
        windows.any(|window| window == CONFESSION.as_bytes())
    };
    assert!(holds(&program()));
    assert!(!holds(Path::new(env!("CARGO_BIN_EXE_nexus"))));
}
