//! What a command line takes from a node and what a node takes from its own disk, in JSON.

use admin::{
    ApiError, CheckReport, FabricStatus, InvokeAnswer, LogLine, NodeStatus, PublishAnswer,
    RoleList, StoqStatus, TransactionReport, WorkloadList,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Target;
use crate::targets::{chosen, texts};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "admin_answers",
        covers: &["admin::Client"],
        run: answers,
        seeds: some_answers,
    },
    Target {
        name: "node_checkpoint",
        covers: &["node::decode"],
        run: node::fuzz::checkpoint,
        seeds: || vec![node::fuzz::some_checkpoint()],
    },
    Target {
        name: "node_peer_book",
        covers: &["Book::open"],
        run: peer_book,
        seeds: || texts(&[r#"{"entrances":["1.2.3.4:5"],"peers":{},"caps":{}}"#]),
    },
    Target {
        name: "node_founding",
        covers: &["Founding::parse"],
        run: founding,
        seeds: || vec![node::fuzz::some_founding().into_bytes()],
    },
];

/// What was read is written so that it reads as the same text.
fn again<T: Serialize + DeserializeOwned>(json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(json) else {
        return;
    };
    let written = serde_json::to_vec(&value).expect("an answer is written");
    let value: T = serde_json::from_slice(&written).expect("what was written reads");
    assert_eq!(serde_json::to_vec(&value).ok(), Some(written));
}

const ANSWERS: &[fn(&[u8])] = &[
    again::<ApiError>,
    again::<CheckReport>,
    again::<FabricStatus>,
    again::<InvokeAnswer>,
    again::<LogLine>,
    again::<NodeStatus>,
    again::<PublishAnswer>,
    again::<RoleList>,
    again::<StoqStatus>,
    again::<TransactionReport>,
    again::<WorkloadList>,
];

/// The first byte chooses the kind of answer.
fn answers(bytes: &[u8]) {
    let (choice, json) = chosen(bytes);
    if let Some(read) = ANSWERS.get(usize::from(choice)) {
        read(json);
    }
}

fn some_answers() -> Vec<Vec<u8>> {
    let seed = |choice: u8, text: &str| [&[choice], text.as_bytes()].concat();
    let zeros = "00".repeat(32);
    let node = format!(
        r#"{{"version":"1","node":"{zeros}","fabric":"blake3:{zeros}","height":1,"state_root":"",
        "block_time_ms":0,"validators":1,"waiting_transactions":0,"http":null,"data_directory":"/",
        "uptime_ms":1,"deployments":0,"replicas_running":0,"instances_max":1,"instances_free":1}}"#
    );
    let mut seeds: Vec<_> = (0..11).map(|choice| seed(choice, "{}")).collect();
    seeds.push(seed(5, &node));
    seeds
}

fn peer_book(bytes: &[u8]) {
    node::fuzz::peer_book(bytes);
}

fn founding(bytes: &[u8]) {
    node::fuzz::founding(bytes);
}
