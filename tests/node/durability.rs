//! `kill -9` at random instants: what was acknowledged is there and runs, nothing is half there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::components::service;
use crate::harness::{Fabric, eventually, get, run};

const ROUNDS: u64 = 6;
/// A kill comes this long after the first deployment of its round has begun, at most.
const KILL_WITHIN_MS: u64 = 700;

/// SplitMix64 (Steele, Lea, Flood 2014): enough to choose instants.
pub(crate) fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn every_acknowledged_deployment_survives_kills_at_random_instants() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut seed = std::env::var("HYPERMESH_SEED").map_or_else(
        |_| u64::try_from(now.as_nanos()).unwrap_or(1),
        |seed| seed.parse().unwrap(),
    );
    println!("HYPERMESH_SEED={seed} chooses these instants again");
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut folder = tempfile::tempdir().unwrap();
    for round in 0..ROUNDS {
        let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
        check(&fabric, &acknowledged.lock().unwrap());
        let pause = Duration::from_millis(next(&mut seed) % KILL_WITHIN_MS);
        folder = deploy_until_killed(fabric, round, pause, &acknowledged);
    }
    let fabric = Fabric::start_in(folder, &["--http", "127.0.0.1:0"]);
    let acknowledged = acknowledged.lock().unwrap();
    println!(
        "{} deployments were acknowledged in {ROUNDS} rounds",
        acknowledged.len()
    );
    check(&fabric, &acknowledged);
    fabric.stop();
}

/// Deploys one service after the other, and kills the node in the midst of it.
fn deploy_until_killed(
    fabric: Fabric,
    round: u64,
    pause: Duration,
    acknowledged: &Arc<Mutex<Vec<String>>>,
) -> tempfile::TempDir {
    let Fabric {
        mut process,
        folder,
    } = fabric;
    let stop = Arc::new(AtomicBool::new(false));
    let deployer = {
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(acknowledged));
        let path = folder.path().to_owned();
        std::thread::spawn(move || {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let name = format!("w-{round}-{number}");
                let file = path.join(format!("{name}.wat"));
                std::fs::write(&file, service(&name)).unwrap();
                let mut command = crate::harness::binary();
                command
                    .arg("--data")
                    .arg(path.join("data"))
                    .arg("deploy")
                    .arg(file);
                command.args(["--route", &format!("/{name}/hello"), "--timeout", "5s"]);
                if run(&mut command).code == 0 {
                    acknowledged.lock().unwrap().push(name);
                }
            }
        })
    };
    std::thread::sleep(pause);
    process.signal(Signal::KILL);
    process.ends();
    stop.store(true, Ordering::Relaxed);
    deployer.join().unwrap();
    folder
}

/// Everything acknowledged is listed; everything listed runs and nothing of it is missing.
fn check(fabric: &Fabric, acknowledged: &[String]) {
    let http = fabric.http();
    let listed = eventually("every listed workload runs", || {
        let list = fabric.nexus(&["ps", "-o", "json"]).json();
        let workloads = list["workloads"].as_array().unwrap().clone();
        let running = |workload: &serde_json::Value| workload["state"] == "running";
        workloads.iter().all(running).then_some(workloads)
    });
    let names: Vec<&str> = listed
        .iter()
        .map(|workload| workload["name"].as_str().unwrap())
        .collect();
    for name in acknowledged {
        assert!(
            names.contains(&name.as_str()),
            "{name} was acknowledged and is gone: {names:?}"
        );
    }
    for name in names {
        let (status, _) = get(&http, &format!("/{name}/hello")).unwrap();
        // The demo knows no such path: its own 404 shows that it answers.
        assert!(status == 200 || status == 404, "{name} answers {status}");
    }
    let artifacts = std::fs::read_dir(fabric.data().join("artifacts")).unwrap();
    let unfinished = artifacts.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("upload")
    });
    assert_eq!(
        unfinished.count(),
        0,
        "uploads of the killed node were cleared"
    );
}
