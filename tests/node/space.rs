//! What nodes keep for others, asked for by challenges: shown, lost, marked, found again. Real processes.

use std::fs;

use types::Digest;

use crate::harness::{Fabric, eventually};
use crate::joining::{acquainted, founder, id, join, ticket};
use crate::store_quota::workload;

/// What a member registers of its disk for everybody, by its id.
pub(crate) fn disk(member: &Fabric) -> String {
    let registered = member.nexus(&[
        "asset",
        "register",
        "storage",
        "--owner",
        &id(member),
        "--privacy",
        "public-network",
        "-o",
        "json",
    ]);
    registered.json()["asset"].as_str().unwrap().to_owned()
}

pub(crate) fn keep(member: &Fabric, asset: &str, digest: &Digest) {
    let kept = member.nexus(&["asset", "keep", asset, &digest.to_string()]);
    assert!(kept.ok().contains("keeps"));
}

fn space(fabric: &Fabric, asset: &str) -> serde_json::Value {
    fabric.nexus(&["asset", "show", asset, "-o", "json"]).json()["space"].clone()
}

#[test]
fn who_keeps_what_it_said_passes_and_who_lost_it_is_marked() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let digest = workload(&founder, "kept", 1)[0];
    founder.nexus(&["deploy", "kept.toml"]).ok();
    let asset = disk(&member);
    founder
        .nexus(&["role", "allow", &id(&member), "--bond", "50"])
        .ok();
    // Fetched from the founder, for it is not placed on the member.
    keep(&member, &asset, &digest);
    eventually("the founder sees it", || {
        let seen = founder.nexus(&["asset", "show", &asset]);
        (seen.code == 0).then_some(())
    });
    let shown = founder.nexus(&["asset", "show", &asset]).ok();
    assert!(shown.contains(&digest.to_string()), "{shown}");

    let passed = founder.nexus(&["asset", "challenge", &asset]).ok();
    assert!(passed.contains("answered at height"), "{passed}");
    assert_eq!(
        space(&founder, &asset)["failed_at"],
        serde_json::Value::Null
    );
    let again = founder.nexus(&["asset", "challenge", &asset]).failed(5);
    assert!(again.contains("challenged lately"), "{again}");
    // A lease is granted with the host's answer, which the founder fetches.
    let grant = ["lease", "grant", &asset, "1MiB", "--term", "1m"];
    founder.nexus(&grant).ok();

    // Every chunk is another one now. The host itself finds out when it is asked.
    let path = member.data().join("artifacts").join(digest.hex());
    let content = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; content.len()]).unwrap();
    let refused = founder.nexus(&grant).failed(5);
    assert!(refused.contains("proof of space"), "{refused}");
    let bond = || {
        let key = format!("allowance/{}", id(&member));
        let entry = founder.nexus(&["ledger", "get", &key, "-o", "json"]).json();
        entry["record"]["bond"].as_u64()
    };
    assert_eq!(bond(), Some(50));
    let failed = eventually("it may be challenged again", || {
        let challenged = founder.nexus(&["asset", "challenge", &asset]);
        (challenged.code == 1).then_some(challenged)
    });
    assert!(failed.failed(1).contains("did not show what it is to keep"));
    assert!(space(&founder, &asset)["failed_at"].is_u64());
    assert_eq!(bond(), Some(0), "it is forfeit");
    let list = founder.nexus(&["asset", "list"]).ok();
    assert!(list.contains("(failed)"), "{list}");
    fs::write(&path, content).unwrap();
    let marked = founder.nexus(&grant).failed(5);
    assert!(marked.contains("failed a challenge"), "{marked}");

    // What was lost is here again.
    eventually("it answers again", || {
        let challenged = founder.nexus(&["asset", "challenge", &asset]);
        (challenged.code == 0).then_some(())
    });
    founder.nexus(&grant).ok();
}

#[test]
fn a_host_that_is_gone_answers_for_nothing() {
    let founder = founder();
    let mut member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let asset = disk(&member);
    let grant = ["lease", "grant", &asset, "1MiB", "--term", "1m"];
    eventually("the founder sees it", || {
        (founder.nexus(&grant).code == 0).then_some(())
    });
    member.process.signal(rustix::process::Signal::KILL);
    member.process.ends();
    let away = eventually("its session is gone", || {
        let refused = founder.nexus(&grant);
        (refused.code != 0).then_some(refused)
    });
    assert!(away.code != 5, "no transaction was made: {}", away.code);
    let failed = founder.nexus(&["asset", "challenge", &asset]).failed(1);
    assert!(failed.contains("marked at height"), "{failed}");
}
