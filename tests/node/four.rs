//! Four validators that founded a fabric together, and what must be true of them whatever happened
//! to one of them. Does not make anything happen.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::admin_api::ask;
use crate::harness::{Fabric, binary, eventually, run, up};

/// The first of those used here, none of which systems hand out.
const PORT: u16 = 17_400;

/// Committees of this process.
static COMMITTEES: AtomicU8 = AtomicU8::new(0);

/// Four nodes, each at an address that it keeps when it is started again.
pub(crate) struct Four {
    pub(crate) nodes: Vec<Fabric>,
    addresses: Vec<String>,
}

/// Loopback addresses that no other test uses: those bind 127.0.0.1, and each process has a number of
/// its own.
fn addresses() -> Vec<String> {
    let number = COMMITTEES.fetch_add(1, Ordering::Relaxed);
    let [_, page, high, low] = std::process::id().to_be_bytes();
    let port = PORT + u16::from(page);
    let address = |node| format!("127.{high}.{low}.{}:{port}", number * 4 + node + 1);
    (0..4).map(address).collect()
}

/// Folders of four nodes that are about to be founded; what `prepared` does comes before.
pub(crate) fn folders(prepared: impl Fn(usize, &Path)) -> Vec<TempDir> {
    let folder = |index| {
        let folder = tempfile::tempdir().unwrap();
        prepared(index, folder.path());
        folder
    };
    (0..4).map(folder).collect()
}

/// Writes the founding of four nodes into the first folder.
pub(crate) fn found(folders: &[TempDir], addresses: &[String]) -> PathBuf {
    let written = folders[0].path().join("fabric.json");
    let mut found = binary();
    found.args(["fabric", "found"]).arg(&written);
    for (folder, address) in folders.iter().zip(addresses) {
        let mut prepare = binary();
        prepare.arg("--data").arg(folder.path().join("data"));
        let ids = run(prepare.args(["node", "prepare", "-o", "json"])).json();
        let (node, operator) = (ids["node"].as_str().unwrap(), ids["operator"].as_str());
        found.args(["--validator", &format!("{node}@{address}")]);
        found.args(["--operator", operator.unwrap()]);
    }
    run(&mut found).ok();
    written
}

impl Four {
    pub(crate) fn start() -> Self {
        Self::start_in(folders(|_, _| {}))
    }

    pub(crate) fn start_in(folders: Vec<TempDir>) -> Self {
        Self::start_as(folders, |_, folder, address, founding| {
            up(folder, &["--stoq", address, "--founding", founding])
        })
    }

    /// Four nodes, of which each is what `program` makes of its place, its folder, its address and
    /// the file of the founding.
    pub(crate) fn start_as(
        folders: Vec<TempDir>,
        program: impl Fn(usize, &Path, &str, &str) -> Command,
    ) -> Self {
        let addresses = addresses();
        let written = found(&folders, &addresses);
        // All at once: none is ready before three of them are up.
        let nodes = std::thread::scope(|scope| {
            let places = folders.into_iter().zip(&addresses).enumerate();
            let starts = places.map(|(index, (folder, address))| {
                let written = written.to_str().unwrap();
                let mut command = program(index, folder.path(), address, written);
                scope.spawn(move || Fabric::run_in(folder, &mut command))
            });
            let starts: Vec<_> = starts.collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        Self { nodes, addresses }
    }

    /// Kills a node at once.
    pub(crate) fn kill(&mut self, index: usize) {
        let process = &mut self.nodes[index].process;
        process.signal(Signal::KILL);
        process.ends();
    }

    /// The command that starts a node again, its log emptied.
    pub(crate) fn up(&self, index: usize) -> Command {
        let path = self.nodes[index].folder.path();
        up(path, &["--stoq", &self.addresses[index]])
    }

    /// Starts a node that ended, in its place.
    #[track_caller]
    pub(crate) fn restart(&mut self, index: usize) {
        self.spawn(index);
        let node = &mut self.nodes[index];
        eventually("the node is ready again", || {
            assert!(!node.process.has_ended(), "{}", node.log());
            (node.nexus(&["node", "status"]).code == 0).then_some(())
        });
    }

    /// Starts a node that ended, in its place, and does not wait for it.
    pub(crate) fn spawn(&mut self, index: usize) {
        let process = crate::harness::Running::new(&mut self.up(index));
        self.nodes[index].process = process;
    }

    /// As [`agree`], of all four, none of which may have contradicted itself.
    #[track_caller]
    pub(crate) fn agree(&self, acknowledged: &[String]) -> u64 {
        let nodes: Vec<_> = self.nodes.iter().collect();
        no_contradiction(&nodes);
        agree(&nodes, acknowledged)
    }
}

/// Waits until nodes have the same last block, and checks that all blocks below are the same, and
/// that everything acknowledged is in every state.
#[track_caller]
pub(crate) fn agree(nodes: &[&Fabric], acknowledged: &[String]) -> u64 {
    let height = eventually("all nodes have the same last block", || {
        let tips: BTreeSet<_> = nodes.iter().map(|node| tip(node)).collect();
        let alike = tips.len() == 1;
        tips.into_iter().next().filter(|_| alike)
    })
    .0;
    for at in 1..=height {
        let blocks: BTreeSet<_> = nodes.iter().map(|node| block(node, at)).collect();
        assert_eq!(blocks.len(), 1, "a fork at height {at}: {blocks:#?}");
    }
    for node in nodes {
        let roles = node.nexus(&["role", "list"]).ok();
        for key in acknowledged {
            assert!(roles.contains(key), "{key} was acknowledged and is gone");
        }
    }
    height
}

/// Checks that none of these nodes saw a validator contradict itself, which honest ones never do.
#[track_caller]
pub(crate) fn no_contradiction(nodes: &[&Fabric]) {
    for node in nodes {
        let log = node.log();
        assert!(!log.contains("contradict"), "{log}");
    }
}

/// Height and state root of a node's last block.
#[track_caller]
pub(crate) fn tip(node: &Fabric) -> (u64, String) {
    let status = status(node);
    let root = status["state_root"].as_str().unwrap().to_owned();
    (status["height"].as_u64().unwrap(), root)
}

#[track_caller]
pub(crate) fn status(node: &Fabric) -> Value {
    node.nexus(&["node", "status", "-o", "json"]).json()
}

/// The bytes of a final block, in hex. Certificates of one block may differ: any quorum will do.
#[track_caller]
fn block(node: &Fabric, height: u64) -> String {
    let (status, text) = ask(node, "GET", &format!("/v1/ledger/blocks/{height}"), "");
    assert_eq!(status, 200, "{text}");
    let proof: Value = serde_json::from_str(&text).unwrap();
    proof["block"].as_str().unwrap().to_owned()
}

/// Hands a fact to a node; whether it became final.
pub(crate) fn grant(node: &mut Command, key: &str) -> bool {
    run(node.args(["role", "grant", "viewer", key])).code == 0
}

/// Has the operator of each node hand in facts for as long as `meanwhile` takes, and returns those
/// that became final. Nodes may be away at times.
#[track_caller]
pub(crate) fn under_load(nodes: &[PathBuf], meanwhile: impl FnOnce()) -> Vec<String> {
    let acknowledged = Mutex::new(Vec::new());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (operator, data) in nodes.iter().enumerate() {
            let (acknowledged, done) = (&acknowledged, &done);
            scope.spawn(move || {
                for number in 0_u32.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{operator:02x}{number:08x}{}", "ab".repeat(27));
                    if grant(binary().arg("--data").arg(data), &key) {
                        acknowledged.lock().unwrap().push(key);
                    }
                    // A machine with few cores is to run the validators, not command lines.
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let _stop = StopAtEnd(&done);
        meanwhile();
    });
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(!acknowledged.is_empty());
    acknowledged
}

/// Ends the load also where the test fails, which would wait for it for ever.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
