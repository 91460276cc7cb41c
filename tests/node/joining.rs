//! Several nodes, one fabric: joined by ticket, followed, renewed, revoked, evicted. Real processes.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Fabric, Ran, Running, binary, eventually, run};

/// A founder that listens for others.
pub(crate) fn founder() -> Fabric {
    Fabric::start_in(tempfile::tempdir().unwrap(), &["--stoq", "127.0.0.1:0"])
}

pub(crate) fn ticket(fabric: &Fabric) -> String {
    let ticket = fabric.nexus(&["fabric", "invite"]).ok();
    ticket.trim().to_owned()
}

/// `nexus join` with its data and its log in `folder`.
pub(crate) fn joining(folder: &Path, ticket: &str, arguments: &[&str]) -> std::process::Command {
    let log = File::create(folder.join("node.log")).unwrap();
    let mut command = binary();
    command
        .arg("--data")
        .arg(folder.join("data"))
        .args(["join", ticket])
        .args(arguments);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command
}

/// A member that stays.
pub(crate) fn join(ticket: &str, arguments: &[&str]) -> Fabric {
    let folder = tempfile::tempdir().unwrap();
    let process = Running::new(&mut joining(folder.path(), ticket, arguments));
    let mut member = Fabric { process, folder };
    eventually("the node has joined", || {
        assert!(!member.process.has_ended(), "{}", member.log());
        member.log().contains("is up").then_some(())
    });
    member
}

/// What a join that must fail says.
fn refused(folder: &TempDir, ticket: &str) -> String {
    let mut process = Running::new(&mut joining(folder.path(), ticket, &[]));
    let code = process.ends();
    let log = fs::read_to_string(folder.path().join("node.log")).unwrap();
    assert_ne!(code, 0, "{log}");
    log
}

pub(crate) fn id(fabric: &Fabric) -> String {
    let status = fabric.nexus(&["node", "status", "-o", "json"]).json();
    status["node"].as_str().unwrap().to_owned()
}

pub(crate) fn members(fabric: &Fabric) -> Vec<Value> {
    let status = fabric.nexus(&["fabric", "members", "-o", "json"]).json();
    status["members"].as_array().unwrap().clone()
}

fn membership(fabric: &Fabric, node: &str) -> Option<String> {
    let found = members(fabric)
        .into_iter()
        .find(|member| member["node"] == node)?;
    Some(found["membership"].as_str().unwrap().to_owned())
}

/// The session of `fabric` with `peer`, if there is one.
pub(crate) fn session(fabric: &Fabric, peer: &str) -> Option<Value> {
    let stoq = fabric.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let sessions = stoq["sessions"].as_array().unwrap().clone();
    sessions.into_iter().find(|session| session["peer"] == peer)
}

/// Waits until both ends have each other as members.
pub(crate) fn acquainted(one: &Fabric, other: &Fabric) {
    let (first, second) = (id(one), id(other));
    for (fabric, peer) in [(one, &second), (other, &first)] {
        eventually("the peer is known as a member", || {
            session(fabric, peer).filter(|session| session["standing"] == "member")
        });
    }
}

fn good_certificates(fabric: &Fabric, node: &str) -> Vec<String> {
    let found = members(fabric)
        .into_iter()
        .find(|member| member["node"] == node);
    let certificates = found.unwrap()["certificates"].as_array().unwrap().clone();
    certificates
        .iter()
        .filter(|certificate| certificate["state"] == "good")
        .map(|certificate| certificate["fingerprint"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_ticket_makes_a_member_and_both_see_it() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let joined = id(&member);
    for fabric in [&founder, &member] {
        assert_eq!(members(fabric).len(), 2);
        assert_eq!(membership(fabric, &joined).as_deref(), Some("member"));
    }
    // A fact of the founder's is read by the member.
    founder
        .nexus(&["role", "grant", "viewer", &"ab".repeat(32)])
        .ok();
    eventually("the member follows", || {
        let roles = member.nexus(&["role", "list"]).ok();
        roles.contains(&"ab".repeat(32)).then_some(())
    });
    let same = |fabric: &Fabric| {
        let status = fabric.nexus(&["node", "status", "-o", "json"]).json();
        (status["height"].clone(), status["state_root"].clone())
    };
    eventually("both have the same state", || {
        (same(&founder) == same(&member)).then_some(())
    });
}

#[test]
fn a_member_comes_back_after_a_kill_and_the_founder_too() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    member.process.signal(Signal::KILL);
    let folder = member.folder;
    drop(member.process);
    founder
        .nexus(&["role", "grant", "viewer", &"cd".repeat(32)])
        .ok();
    let member = Fabric::start_in(folder, &[]);
    acquainted(&founder, &member);
    eventually("what it missed is read", || {
        let roles = member.nexus(&["role", "list"]).ok();
        roles.contains(&"cd".repeat(32)).then_some(())
    });
    // The founder comes back at the same address.
    let stoq = founder.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let address = stoq["listening"].as_str().unwrap().to_owned();
    founder.process.signal(Signal::KILL);
    let folder = founder.folder;
    drop(founder.process);
    let founder = Fabric::start_in(folder, &["--stoq", &address]);
    acquainted(&founder, &member);
}

#[test]
fn five_nodes_follow_one_ledger() {
    let founder = founder();
    let others: Vec<Fabric> = (0..4).map(|_| join(&ticket(&founder), &[])).collect();
    for member in &others {
        acquainted(&founder, member);
    }
    let all = std::iter::once(&founder).chain(&others);
    for fabric in all {
        eventually("all are known to all", || {
            (members(fabric).len() == 5).then_some(())
        });
    }
}

#[test]
fn every_bad_ticket_is_refused_for_its_own_reason() {
    let (founder, other) = (founder(), founder());
    let good = ticket(&founder);
    let folder = || tempfile::tempdir().unwrap();
    let at = good.len() / 2;
    let wrong = if &good[at..=at] == "a" { "b" } else { "a" };
    let mistyped = [&good[..at], wrong, &good[at + 1..]].concat();
    assert!(refused(&folder(), &mistyped).contains("mistyped"));
    assert!(refused(&folder(), "ticket").contains("not a ticket"));

    let short = founder.nexus(&["fabric", "invite", "--ttl", "1s"]).ok();
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(refused(&folder(), short.trim()).contains("expired"));

    let withdrawn = ticket(&founder);
    let invites = founder.nexus(&["fabric", "invites", "-o", "json"]).json();
    for invite in invites.as_array().unwrap() {
        let key = invite["ticket"].as_str().unwrap();
        founder.nexus(&["fabric", "withdraw", key]).ok();
    }
    assert!(refused(&folder(), &withdrawn).contains("withdrawn"));

    let used = ticket(&founder);
    let member = join(&used, &[]);
    assert!(refused(&folder(), &used).contains("used by node"));
    // The directory of one fabric does not join another.
    let folder = member.stop();
    assert!(refused(&folder, &ticket(&other)).contains("belongs to fabric"));
}

/// Whoever answers at a ticket's address must be of the ticket's fabric.
#[test]
fn a_ticket_that_leads_to_another_fabric_is_refused() {
    let (founder, other) = (founder(), founder());
    let stoq = other.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let elsewhere = stoq["listening"].as_str().unwrap().to_owned();
    let misled = founder
        .nexus(&["fabric", "invite", "--address", &elsewhere])
        .ok();
    let folder = tempfile::tempdir().unwrap();
    let log = refused(&folder, misled.trim());
    assert!(log.contains("the certificate is for fabric"), "{log}");
    assert_eq!(members(&founder).len(), 1);
    assert_eq!(members(&other).len(), 1);
}

#[test]
fn a_vote_lets_a_node_in_and_a_member_may_leave_and_return() {
    let founder = founder();
    let stoq = founder.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let status = founder.nexus(&["node", "status", "-o", "json"]).json();
    let place = format!(
        "{}@{}",
        status["fabric"].as_str().unwrap(),
        stoq["listening"].as_str().unwrap()
    );
    let folder = tempfile::tempdir().unwrap();
    let process = Running::new(&mut joining(folder.path(), &place, &[]));
    let member = Fabric { process, folder };
    let asked = eventually("the node says its id", || {
        let log = member.log();
        let (_, rest) = log.split_once("nexus fabric approve ")?;
        rest.get(..64).map(str::to_owned)
    });
    assert!(!member.log().contains("is up"), "nobody voted yet");
    founder.nexus(&["fabric", "approve", &asked]).ok();
    eventually("it is let in", || {
        member.log().contains("is up").then_some(())
    });
    acquainted(&founder, &member);
    member.nexus(&["fabric", "leave"]).ok();
    eventually("it left", || {
        (membership(&founder, &asked).as_deref() == Some("left")).then_some(())
    });
    let folder = member.stop();
    let again = ticket(&founder);
    let process = Running::new(&mut joining(folder.path(), &again, &[]));
    let member = Fabric { process, folder };
    eventually("it is back", || {
        member.log().contains("is up").then_some(())
    });
    acquainted(&founder, &member);
}

#[test]
fn a_cap_is_shown_and_kept() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let peer = id(&founder);
    member.nexus(&["stoq", "cap", &peer, "0B"]).failed(1);
    member.nexus(&["stoq", "cap", &peer, "1MiB"]).ok();
    let capped =
        |member: &Fabric| session(member, &peer).map(|found| found["cap_bytes_per_s"].clone());
    assert_eq!(capped(&member), Some((1 << 20).into()));
    assert_eq!(session(&member, &peer).unwrap()["tier"], "1 Gb/s");
    let member = Fabric::start_in(member.stop(), &[]);
    eventually("the cap is there again", || {
        (capped(&member) == Some((1 << 20).into())).then_some(())
    });
    member.nexus(&["stoq", "cap", &peer, "none"]).ok();
    assert_eq!(capped(&member), Some(Value::Null));
}

#[test]
fn rotation_keeps_the_session() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let joined = id(&member);
    let before = session(&founder, &joined).unwrap();
    let old = good_certificates(&founder, &joined);
    for _ in 0..3 {
        member.nexus(&["trust", "rotate"]).ok();
    }
    let new = good_certificates(&founder, &joined);
    assert_eq!(new.len(), old.len() + 3);
    let shown = member.nexus(&["stoq", "sessions", "-o", "json"]).json();
    assert_eq!(shown["certificate"], new.last().unwrap().as_str());
    let after = session(&founder, &joined).unwrap();
    assert_eq!(after["remote"], before["remote"]);
    assert_eq!(after["standing"], "member");
    let (since, again) = (before["since_ms"].as_u64(), after["since_ms"].as_u64());
    // Computed from an age: it may be off by the time that the answer took.
    assert!(
        since.unwrap().abs_diff(again.unwrap()) < 5_000,
        "the session is the same"
    );
    founder.nexus(&["trust", "rotate"]).ok();
    acquainted(&founder, &member);
}

#[test]
fn a_revoked_certificate_closes_the_session_and_a_new_one_opens_it() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let joined = id(&member);
    let old = good_certificates(&founder, &joined).pop().unwrap();
    founder
        .nexus(&["trust", "revoke", &old, "--reason", "copied"])
        .ok();
    eventually("the member heard why", || {
        member.log().contains("revoked: copied").then_some(())
    });
    // The identity is good, so the node makes itself another certificate.
    eventually("another certificate is logged", || {
        let new = good_certificates(&founder, &joined);
        (!new.is_empty() && !new.contains(&old)).then_some(())
    });
    acquainted(&founder, &member);
}

#[test]
fn an_evicted_node_is_out_for_good() {
    let founder = founder();
    let mut member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    let joined = id(&member);
    founder
        .nexus(&["fabric", "evict", &joined, "--reason", "stolen"])
        .ok();
    assert_eq!(membership(&founder, &joined).as_deref(), Some("evicted"));
    eventually("its sessions are closed", || {
        session(&founder, &joined).is_none().then_some(())
    });
    let again = ticket(&founder);
    member.process.signal(Signal::KILL);
    member.process.ends();
    let log = refused(&member.folder, &again);
    assert!(log.contains("evicted"), "{log}");
    // A lost or stolen identity is replaced by a new one.
    let anew = join(&again, &[]);
    acquainted(&founder, &anew);
}

fn founder_cannot_be_evicted(founder: &Fabric) -> Ran {
    founder.nexus(&["fabric", "evict", &id(founder)])
}

#[test]
fn roles_decide_who_may_do_what_from_elsewhere() {
    let founder = founder();
    let error = founder_cannot_be_evicted(&founder).failed(5);
    assert!(error.contains("founder"), "{error}");
    let stoq = founder.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let place = format!("{}@{}", id(&founder), stoq["listening"].as_str().unwrap());
    // The admin, over the network.
    let remote = founder.nexus(&["--node", &place, "role", "list"]).ok();
    assert!(remote.contains("admin"), "{remote}");
    // Somebody else, with a key of their own.
    let home = tempfile::tempdir().unwrap();
    let status = founder.nexus(&["node", "status", "-o", "json"]).json();
    let digest = status["fabric"].as_str().unwrap();
    let elsewhere = |arguments: &[&str]| {
        let mut command = binary();
        command.args(arguments).env("XDG_CONFIG_HOME", home.path());
        run(&mut command)
    };
    let added = elsewhere(&[
        "context", "add", "there", &place, "--fabric", digest, "-o", "json",
    ]);
    let operator = added.json()["operator"].as_str().unwrap().to_owned();
    let stranger = elsewhere(&["ps"]).failed(3);
    assert!(
        stranger.contains("has no role in this fabric"),
        "{stranger}"
    );
    let grant = |role: &str| founder.nexus(&["role", "grant", role, &operator]).ok();
    grant("viewer");
    elsewhere(&["ps"]).ok();
    let wasm = home.path().join("empty.wat");
    fs::write(&wasm, "(component)").unwrap();
    let wasm = wasm.to_str().unwrap();
    let denied = elsewhere(&["deploy", wasm, "--name", "app"]).failed(5);
    assert!(
        denied.contains("viewer") && denied.contains("deployer"),
        "{denied}"
    );
    grant("deployer");
    elsewhere(&["deploy", wasm, "--name", "app"]).ok();
    elsewhere(&["logs", "app"]).ok();
    let denied = elsewhere(&["fabric", "invite"]).failed(5);
    assert!(denied.contains("admin"), "{denied}");
    founder.nexus(&["role", "revoke", &operator]).ok();
    assert_ne!(elsewhere(&["ps"]).code, 0);
}

#[test]
fn an_audit_notices_a_history_that_was_cut_or_forked() {
    let state = tempfile::tempdir().unwrap();
    let audit = |fabric: &Fabric| {
        let mut command = fabric.command(&["trust", "audit"]);
        run(command.env("XDG_STATE_HOME", state.path()))
    };
    let grant = |fabric: &Fabric, byte: &str| {
        fabric
            .nexus(&["role", "grant", "viewer", &byte.repeat(32)])
            .ok();
    };
    let first = founder();
    grant(&first, "a1");
    let folder = first.stop();
    // The directory as it was: from here a liar could tell another history.
    let (cut, forked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for copy in [&cut, &forked] {
        let mut command = std::process::Command::new("cp");
        let source = folder.path().join("data");
        let copied = command.arg("-a").arg(source).arg(copy.path()).status();
        assert!(copied.unwrap().success());
    }
    let honest = Fabric::start_in(folder, &["--stoq", "127.0.0.1:0"]);
    grant(&honest, "a2");
    grant(&honest, "a3");
    let said = audit(&honest).ok();
    assert!(said.contains("since the genesis"), "{said}");
    assert!(said.contains("certificates are in the log"), "{said}");
    let said = audit(&honest).ok();
    assert!(said.contains(": 0 blocks since height"), "{said}");
    grant(&honest, "a4");
    let said = audit(&honest).ok();
    assert!(said.contains("since height"), "{said}");
    drop(honest.stop());

    let cut = Fabric::start_in(cut, &[]);
    let said = audit(&cut).failed(5);
    assert!(said.contains("cut short"), "{said}");
    drop(cut.stop());

    let forked = Fabric::start_in(forked, &[]);
    for byte in ["b1", "b2", "b3", "b4", "b5", "b6"] {
        grant(&forked, byte);
    }
    let said = audit(&forked).failed(5);
    assert!(said.contains("forked"), "{said}");
}

/// A node that lost an artifact gets it from whichever member has it.
#[test]
fn a_missing_artifact_comes_from_another_member() {
    let founder = founder();
    let member = join(&ticket(&founder), &[]);
    acquainted(&founder, &member);
    founder.write("empty.wat", "(component)");
    let status = founder.nexus(&["node", "status", "-o", "json"]).json();
    founder.write(
        "app.toml",
        &format!(
            "name = \"app\"\n[[component]]\nname = \"main\"\nsource = \"empty.wat\"\n\
             placement = {{ nodes = [{}] }}\n",
            status["node"]
        ),
    );
    let manifest = founder.folder.path().join("app.toml");
    let manifest = manifest.to_str().unwrap();
    founder.nexus(&["deploy", manifest]).ok();
    // The member has the artifact, too: a dry run uploads what it checks.
    member.nexus(&["deploy", manifest, "--dry-run"]).ok();
    let stoq = founder.nexus(&["stoq", "sessions", "-o", "json"]).json();
    let address = stoq["listening"].as_str().unwrap().to_owned();
    let artifacts = founder.data().join("artifacts");
    let compiled = founder.data().join("compiled");
    let folder = founder.stop();
    for lost in [&artifacts, &compiled] {
        for entry in fs::read_dir(lost).unwrap().flatten() {
            if entry.path().is_file() {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    let founder = Fabric::start_in(folder, &["--stoq", &address]);
    eventually("it is fetched and runs", || {
        (founder.state("app").as_deref() == Some("running")).then_some(())
    });
    assert!(
        founder.log().contains("fetched an artifact"),
        "{}",
        founder.log()
    );
}
