//! Four validators of which one is killed again and again under load, and of which two are gone:
//! what was acknowledged stays, nobody forks, and who waits is told for whom.

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::durability::next;
use crate::four::{Four, grant, status, tip, under_load};
use crate::harness::{Running, eventually};

const KILLS: usize = 8;
/// The next kill comes this long after the last victim is back, at most.
const KILL_WITHIN_MS: u64 = 900;

#[test]
fn validators_killed_at_random_under_load_lose_nothing_and_never_fork() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = std::env::var("HYPERMESH_SEED").map_or_else(
        |_| u64::try_from(now.as_nanos()).unwrap_or(1),
        |seed| seed.parse().unwrap(),
    );
    println!("HYPERMESH_SEED={seed} chooses these victims and instants again");
    let mut four = Four::start();
    let folders: Vec<_> = four.nodes.iter().map(|node| node.data()).collect();
    // Four operators, each with a node of its own, one of which may be away.
    let acknowledged = under_load(&folders, || {
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(next(&mut seed) % KILL_WITHIN_MS));
            let victim = usize::try_from(next(&mut seed) % 4).unwrap();
            four.kill(victim);
            four.restart(victim);
        }
    });
    let height = four.agree(&acknowledged);
    println!(
        "{} transactions in {height} blocks, {KILLS} kills",
        acknowledged.len()
    );
}

#[test]
fn without_two_of_four_nothing_is_final_and_who_waits_is_told_for_whom() {
    let mut four = Four::start();
    let first = "a0".repeat(32);
    assert!(grant(&mut four.nodes[0].command(&[]), &first));
    four.agree(std::slice::from_ref(&first));
    let ids: Vec<_> = four
        .nodes
        .iter()
        .map(|node| status(node)["node"].as_str().unwrap().to_owned())
        .collect();
    four.kill(2);
    four.kill(3);
    let before = [tip(&four.nodes[0]), tip(&four.nodes[1])];
    let second = "b0".repeat(32);
    let told = four.nodes[0].folder.path().join("told");
    let mut command = four.nodes[0].command(&["role", "grant", "viewer", &second]);
    let mut asked = Running::new(command.stderr(File::create(&told).unwrap()));
    for node in &four.nodes[..2] {
        let quorum = eventually("the status names who is missing", || {
            let quorum = status(node)["quorum"].clone();
            (quorum["reached"] == 2).then_some(quorum)
        });
        assert_eq!(quorum["needed"], 3, "{quorum}");
        assert!(quorum["waiting_ms"].as_u64().is_some(), "{quorum}");
        for id in &ids[2..] {
            assert!(quorum.to_string().contains(id), "{quorum}");
        }
        let shown = node.nexus(&["node", "status"]).ok();
        assert!(shown.contains("2 of 4 validators are heard"), "{shown}");
    }
    eventually("the command says what it waits for", || {
        let told = std::fs::read_to_string(&told).unwrap();
        let says = |part: &str| told.contains(part);
        (says("waiting for a quorum: 2 of 4") && ids[2..].iter().all(|id| says(&id[..8])))
            .then_some(())
    });
    assert!(!asked.has_ended(), "two of four nodes decided something");
    assert_eq!([tip(&four.nodes[0]), tip(&four.nodes[1])], before);
    four.restart(2);
    assert_eq!(asked.ends(), 0);
    four.restart(3);
    four.agree(&[first, second]);
    eventually("nobody is missing any more", || {
        (status(&four.nodes[0])["quorum"]["reached"] == 4).then_some(())
    });
}
