//! Guests that have hosts show assets, and check what others say was executed. Real processes.

use std::fs;

use crate::guests;
use crate::harness::{Fabric, eventually};
use crate::joining::{acquainted, founder, id, join, ticket};
use crate::space::{disk, keep};
use crate::store_quota::workload;

const MANIFEST: &str = r#"
name = "judge"

[[component]]
name = "eye"
source = "judge.wat"

[component.capabilities]
consensus = { records = 1 }
"#;

const REPEATABLE: &str = include_str!("../../host/runtime/tests/guests/deterministic.wat");

fn judge(fabric: &Fabric) {
    fabric.write("judge.wat", &guests::proofs_user());
    fabric.write("judge.toml", MANIFEST);
    fabric.nexus(&["deploy", "judge.toml"]).ok();
}

fn call(fabric: &Fabric, export: &str, argument: &str) -> String {
    let ran = fabric.nexus(&["invoke", "judge", export, argument]);
    ran.ok().trim_end().to_owned()
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn list(bytes: &[u8]) -> String {
    format!("{bytes:?}")
}

/// The bytes of `ok([..])`.
fn requested(fabric: &Fabric, asset: &str) -> Vec<u8> {
    let said = call(fabric, "request", &quoted(asset));
    let bytes = said
        .strip_prefix("ok(")
        .and_then(|said| said.strip_suffix(')'));
    serde_json::from_str(bytes.unwrap_or_else(|| panic!("{said}"))).unwrap()
}

#[test]
fn a_guest_sees_what_hosts_show_and_what_they_lost() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let digest = workload(&founder, "kept", 1)[0];
    founder.nexus(&["deploy", "kept.toml"]).ok();
    judge(&founder);
    // Wherever the guest runs, one of the two hosts is the other node.
    let (near, far) = (disk(&founder), disk(&member));
    for (host, asset) in [(&founder, &near), (&member, &far)] {
        let shown = eventually("the ledger has it where the guest runs", || {
            let ran = founder.nexus(&["invoke", "judge", "shown", &quoted(asset)]);
            (ran.code == 0).then_some(ran.out)
        });
        let named = format!("ok({{asset: {asset:?}, host: {:?}, height: ", id(host));
        assert!(shown.starts_with(&named), "{shown}");
        assert!(!shown.contains("root"), "it only is there: {shown}");
    }
    let proof = requested(&founder, &far);
    assert!(call(&founder, "space", &list(&proof)).starts_with("ok("));
    for at in [1, proof.len() / 2, proof.len() - 1] {
        let mut forged = proof.clone();
        forged[at] ^= 1;
        let refused = call(&founder, "space", &list(&forged));
        assert!(refused.starts_with("err("), "byte {at}: {refused}");
    }

    keep(&member, &far, &digest);
    let content = format!("content: some({{root: \"{digest}\", bytes: ");
    eventually("its contents are asked for", || {
        let shown = call(&founder, "shown", &quoted(&far));
        shown.contains(&content).then_some(())
    });
    let old = call(&founder, "space", &list(&proof));
    assert!(
        old.starts_with("err("),
        "more was committed to since: {old}"
    );

    let path = member.data().join("artifacts").join(digest.hex());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, vec![b'x'; bytes.len()]).unwrap();
    let damaged = call(&founder, "shown", &quoted(&far));
    assert!(damaged.starts_with("err(\"chunk "), "{damaged}");
    fs::remove_file(&path).unwrap();
    let lost = call(&founder, "request", &quoted(&far));
    assert!(lost.starts_with("err(not-shown("), "{lost}");

    let (kind, hex) = far.split_once('-').unwrap();
    let unknown = quoted(&format!("{kind}-{}", "0".repeat(hex.len())));
    assert_eq!(call(&founder, "request", &unknown), "err(absent)");
    let no_id = call(&founder, "request", "\"disk\"");
    assert!(no_id.starts_with("err(invalid("), "{no_id}");
}

#[test]
fn a_guest_checks_receipts_of_its_own_fabric_only() {
    let fabric = Fabric::start();
    judge(&fabric);
    let receipt = |fabric: &Fabric| {
        fabric.write("det.wat", REPEATABLE);
        let component = "[[component]]\nname = \"main\"\nsource = \"det.wat\"\n";
        let manifest = format!("name = \"det\"\n{component}deterministic_seed = 7\n");
        fabric.write("det.toml", &manifest);
        fabric.nexus(&["deploy", "det.toml"]).ok();
        let words = ["invoke", "det", "run", "3", "--receipt", "three.receipt"];
        let result = fabric.nexus(&words).ok().trim_end().to_owned();
        let file = fabric.folder.path().join("three.receipt");
        (fs::read(file).unwrap(), result)
    };
    let (proof, result) = receipt(&fabric);
    let proven = call(&fabric, "executed", &list(&proof));
    for part in [
        "ok({order: \"blake3:".to_owned(),
        "workload: \"det\", component: \"main\", ".to_owned(),
        "export: \"run\", arguments: [\"3\"], ".to_owned(),
        format!("result: {result:?}, "),
        format!("agreed: [{:?}], outvoted: [], silent: [], ", id(&fabric)),
        "draw-checked: true})".to_owned(),
    ] {
        assert!(proven.contains(&part), "{part} is not in {proven}");
    }
    for at in 0..proof.len() {
        // A few of many: each costs a process.
        if at % 61 != 0 {
            continue;
        }
        let mut forged = proof.clone();
        forged[at] ^= 1;
        let refused = call(&fabric, "executed", &list(&forged));
        assert!(refused.starts_with("err("), "byte {at}: {refused}");
    }
    let (foreign, _) = receipt(&Fabric::start());
    let refused = call(&fabric, "executed", &list(&foreign));
    assert!(
        refused.starts_with("err(\"the proof is of fabric"),
        "{refused}"
    );
}

#[test]
fn a_component_without_the_grant_is_told_the_line() {
    let fabric = Fabric::start();
    fabric.write("judge.wat", &guests::proofs_user());
    fabric.write(
        "judge.toml",
        &MANIFEST.replace("consensus = { records = 1 }", ""),
    );
    let refused = fabric.nexus(&["deploy", "judge.toml"]).failed(5);
    assert!(
        refused.contains("hypermesh:consensus/proofs@0.1.0"),
        "{refused}"
    );
    let line = "capabilities.consensus = { records = N }";
    assert!(refused.contains(line), "{refused}");
}
