//! An honest accident: a validator's directory is copied and run twice, so that one key votes from
//! two journals. The others agree whatever the two say. Real processes.

use std::process::Command;

use crate::four::{Four, agree, grant};
use crate::harness::{Running, up};

/// Facts that the others decide meanwhile: some rounds in which the two take part.
const FACTS: usize = 12;

#[test]
fn a_validator_that_runs_twice_forks_nobody() {
    let mut four = Four::start();
    let mut acknowledged = vec!["a0".repeat(32)];
    assert!(grant(&mut four.nodes[3].command(&[]), &acknowledged[0]));
    four.agree(&acknowledged);
    four.kill(3);
    let copied = tempfile::tempdir().unwrap();
    let data = four.nodes[3].data();
    let mut copying = Command::new("cp");
    copying.arg("-a").arg(&data).arg(copied.path());
    assert!(copying.status().unwrap().success());
    four.spawn(3);
    let _twin = Running::new(&mut up(copied.path(), &["--stoq", "127.0.0.1:0"]));
    for number in 0..FACTS {
        let key = format!("{:02x}", 0xb0 + number).repeat(32);
        assert!(grant(&mut four.nodes[number % 3].command(&[]), &key));
        acknowledged.push(key);
    }
    let others: Vec<_> = four.nodes[..3].iter().collect();
    agree(&others, &acknowledged);
}
