//! What survives a kill at any instant and a disk that fills up: everything acknowledged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures::future::join_all;
use hypermesh_consensus::{Closed, SubmitError};
use ledger::TransactionOutcome;

use crate::follow::{A, B};
use crate::memory::Memory;
use crate::support::{
    Dice, GENESIS_MS, GENESIS_MS_VARIABLE, Node, Principal, SEED_VARIABLE, config, config_of,
    deployment, deployment_key, seed,
};

const DIR_VARIABLE: &str = "HYPERMESH_TEST_CRASH_DIR";
const KILLS: u32 = 8;
const FOLLOWER_KILLS: u32 = 4;
/// Submitters of the child: their transactions share blocks.
const SUBMITTERS: u8 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_at_random_instants() {
    let seed = seed();
    let mut dice = Dice(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let child = spawn(dir.path(), "crash::submits_until_killed");
        // From before the start is over to well into the work, also where starts are slow.
        let slow = if acknowledged.is_empty() {
            u64::from(kill) * 500
        } else {
            0
        };
        std::thread::sleep(Duration::from_millis(20 + slow + dice.below(700)));
        acknowledged.extend(kill_and_read(child));
        let node = Node::open(dir.path()).await;
        for name in &acknowledged {
            let kept = node.state.entries.contains_key(&deployment_key(name));
            assert!(
                kept,
                "`{name}` was acknowledged and is lost; {SEED_VARIABLE}={seed} kill {kill}"
            );
        }
        node.stop().await;
    }
    assert!(
        !acknowledged.is_empty(),
        "no child got far enough; {SEED_VARIABLE}={seed}"
    );
}

/// Runs one test of this program in a process of its own.
fn spawn(dir: &Path, test: &str) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .env(GENESIS_MS_VARIABLE, GENESIS_MS.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child process")
}

fn kill_and_read(mut child: Child) -> Vec<String> {
    child.kill().expect("a living child");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    // A line that the kill cut off was not acknowledged to anybody.
    let lines: Vec<String> = output.lines().map_while(Result::ok).collect();
    child.wait().expect("an end");
    let names = lines
        .iter()
        .filter_map(|line| line.strip_prefix("acknowledged "));
    names
        .filter_map(|name| name.strip_suffix('.'))
        .map(str::to_owned)
        .collect()
}

/// The child's part: not a test by itself.
#[tokio::test(flavor = "multi_thread")]
async fn submits_until_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let mut node = Node::open(Path::new(&dir)).await;
    let first = node.state.height;
    let signers: Vec<_> = (0..SUBMITTERS)
        .map(|index| Principal::of(index, &node.state))
        .collect();
    let ledger = node.ledger.clone();
    let submit = |(index, signer): (usize, Principal)| {
        let ledger = ledger.clone();
        async move {
            for count in 0_u64.. {
                let name = format!("c-{first}-{index}-{count}");
                let end = ledger.submit(signer.deploy(&name)).await.expect("finality");
                assert_eq!(end.outcome, TransactionOutcome::Applied);
                let mut output = std::io::stdout().lock();
                writeln!(output, "acknowledged {name}.").expect("a reader");
                output.flush().expect("a reader");
            }
        }
    };
    let follow = async {
        loop {
            node.follow().await;
        }
    };
    tokio::select! {
        _ = join_all(signers.into_iter().enumerate().map(submit)) => {}
        () = follow => {}
    }
}

/// What a follower acknowledged is on its own disk, also when nobody can be asked any more.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_follower_acknowledged_survives_kills() {
    let seed = seed();
    let mut dice = Dice(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..FOLLOWER_KILLS {
        let child = spawn(dir.path(), "crash::submits_to_a_follower_until_killed");
        let slow = if acknowledged.is_empty() { 2000 } else { 0 };
        std::thread::sleep(Duration::from_millis(300 + slow + dice.below(900)));
        acknowledged.extend(kill_and_read(child));
        let memory = Memory::new();
        let mut alone = config_of(B, &dir.path().join("follower"));
        alone.links = Some(memory.join(B));
        let node = Node::start(alone).await.expect("the follower starts");
        for name in &acknowledged {
            let kept = node.state.entries.contains_key(&deployment_key(name));
            assert!(
                kept,
                "`{name}` was acknowledged and is lost; {SEED_VARIABLE}={seed} kill {kill}"
            );
        }
        node.stop().await;
    }
    assert!(
        !acknowledged.is_empty(),
        "no child got far enough; {SEED_VARIABLE}={seed}"
    );
}

/// The child's part: a validator and a follower in one process, killed together.
#[tokio::test(flavor = "multi_thread")]
async fn submits_to_a_follower_until_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let (dir, memory) = (Path::new(&dir), Memory::new());
    memory.connect(A, B);
    let start = |key, name| {
        let mut config = config_of(key, &dir.join(name));
        config.links = Some(memory.join(key));
        Node::start(config)
    };
    let mut validator = start(A, "validator").await.expect("the ledger starts");
    let mut follower = start(B, "follower").await.expect("the ledger starts");
    // The validator may have more than the follower had heard of before the kill.
    follower.follow_to(validator.state.height).await;
    let signer = Principal::of(0, &follower.state);
    let ledger = follower.ledger.clone();
    let first = follower.state.height;
    let submit = async {
        for count in 0_u64.. {
            let name = format!("f-{first}-{count}");
            let end = ledger.submit(signer.deploy(&name)).await.expect("finality");
            assert_eq!(end.outcome, TransactionOutcome::Applied);
            let mut output = std::io::stdout().lock();
            writeln!(output, "acknowledged {name}.").expect("a reader");
            output.flush().expect("a reader");
        }
    };
    let follow = async {
        loop {
            tokio::join!(validator.follow(), follower.follow());
        }
    };
    tokio::select! {
        () = submit => {}
        () = follow => {}
    }
}

/// A file system of a fixed size, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Result<Self, String> {
        let disk = Self(tempfile::tempdir().map_err(|error| error.to_string())?);
        disk.command(
            "mount",
            &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"],
        )?;
        Ok(disk)
    }

    fn grow(&self, bytes: u64) -> Result<(), String> {
        self.command("mount", &["-o", &format!("remount,size={bytes}")])
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let run = Command::new(program)
            .args(arguments)
            .arg(self.0.path())
            .output();
        let output = run.map_err(|error| format!("{program}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(())
        } else {
            Err(said)
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.command("umount", &["-l"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_ledger_and_loses_nothing_acknowledged() {
    let disk = match SmallDisk::mount(4 << 20) {
        Ok(disk) => disk,
        Err(why) => {
            writeln!(
                std::io::stdout(),
                "skipped: no small file system can be mounted: {why}"
            )
            .ok();
            return;
        }
    };
    let dir = disk.0.path().join("consensus");
    let mut node = Node::open(&dir).await;
    let operator = Principal::operator(0, 0);
    let mut acknowledged = Vec::new();
    let reason = loop {
        let name = format!("large-{}", acknowledged.len());
        match node
            .ledger
            .submit(operator.sign(deployment(&name, 12)))
            .await
        {
            Ok(end) => {
                assert_eq!(end.outcome, TransactionOutcome::Applied);
                acknowledged.push(name);
                // It is final before its state is on disk, and that may be what does not fit.
                while node.state.height < end.height
                    && let Some(item) = node.stream.recv().await
                {
                    node.take(item);
                }
            }
            Err(SubmitError::Stopped { reason }) => break reason,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(
        matches!(&reason, Closed::Failed { reason } if reason.contains("space")),
        "{reason}"
    );
    assert_eq!(node.ledger.closed().await, reason);
    assert!(node.ledger.shutdown().await.is_err());
    drop(node);
    disk.grow(64 << 20).unwrap();
    let mut node = Node::open(&dir).await;
    for name in &acknowledged {
        while !node.state.entries.contains_key(&deployment_key(name)) {
            // A start goes on from the votes: it fails here if none leads to the block.
            node.follow().await;
        }
    }
    node.submit(Principal::of(0, &node.state).deploy("after"))
        .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_the_start_is_a_reason_not_a_crash() {
    let Ok(disk) = SmallDisk::mount(64 << 10) else {
        return;
    };
    let Err(error) = Node::start(config(&disk.0.path().join("consensus"))).await else {
        // A start that fits into so little is fine; writing the first block then is not.
        return;
    };
    assert!(!error.to_string().is_empty());
}
