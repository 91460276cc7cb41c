//! Data directories that a ledger must not be started on, and what it says then.

use std::fs;
use std::path::{Path, PathBuf};

use hypermesh_consensus::{Config, SecretKey, StartError};
use ledger::Genesis;

use crate::support::{GENESIS_MS, Node, Principal, VALIDATOR, config, genesis};

/// A directory in which a ledger ran and stopped.
async fn used() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let mut node = Node::open(dir.path()).await;
    let end = node.submit(Principal::operator(0, 0).deploy("shop")).await;
    node.follow_to(end.height).await;
    node.stop().await;
    // The first final block is remembered beside the engine, which may be a moment later.
    let identity = fs::read_to_string(dir.path().join("identity")).expect("an identity");
    assert!(identity.ends_with("voted 0\n"), "{identity}");
    dir
}

async fn refused(config: Config) -> StartError {
    match Node::start(config).await {
        Ok(_) => panic!("the ledger started"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_another_fabric_is_refused() {
    let dir = used().await;
    let error = refused(Config {
        genesis: genesis(9),
        ..config(dir.path())
    })
    .await;
    let (found, expected) = (genesis(0).fabric_id(), genesis(9).fabric_id());
    let StartError::OtherFabric {
        found: f,
        expected: e,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((f, e), (found, expected));
    Node::open(dir.path()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_vote_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let stranger = Config {
        secret_key: SecretKey::from([9; 32]),
        ..config(dir.path())
    };
    assert!(matches!(
        refused(stranger).await,
        StartError::NotAValidator { .. }
    ));
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        0,
        "something was written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_among_several_is_refused_without_links() {
    let dir = tempfile::tempdir().unwrap();
    let nodes: Vec<_> = [VALIDATOR, [2; 32]]
        .map(|seed| SecretKey::from(seed).public_key())
        .into();
    let two = Genesis::new(*GENESIS_MS, [0; 16], nodes.clone(), nodes.clone(), nodes).unwrap();
    let error = refused(Config {
        genesis: two,
        ..config(dir.path())
    })
    .await;
    assert!(matches!(error, StartError::Committee { validators: 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open(dir.path()).await;
    assert!(matches!(
        refused(config(dir.path())).await,
        StartError::InUse { .. }
    ));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_voted_never_goes_on_without_its_votes() {
    let dir = used().await;
    fs::remove_dir_all(dir.path().join("engine/votes-epoch-0")).unwrap();
    let error = refused(config(dir.path())).await;
    assert!(matches!(error, StartError::VotesMissing { .. }), "{error}");
    fs::remove_dir_all(dir.path().join("engine")).unwrap();
    let error = refused(config(dir.path())).await;
    assert!(matches!(error, StartError::VotesMissing { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_voted_never_goes_on_without_some_of_its_votes() {
    let dir = used().await;
    let votes = dir.path().join("engine/votes-epoch-0");
    let mut views: Vec<_> = fs::read_dir(&votes)
        .unwrap()
        .map(|view| view.unwrap().path())
        .collect();
    views.sort();
    for view in views {
        let whole = fs::read(&view).unwrap();
        // The pages begin behind the file's head of the same length.
        let first_vote = whole.iter().skip(4096).position(|byte| *byte != 0);
        let mut damaged = whole.clone();
        damaged[4096 + first_vote.unwrap() + 20] ^= 1;
        fs::write(&view, damaged).unwrap();
        let error = refused(config(dir.path())).await;
        let StartError::VotesDamaged { path, .. } = &error else {
            panic!("{}: {error}", view.display());
        };
        assert_eq!(*path, votes);
        assert!(error.to_string().contains("never an older copy"), "{error}");
        fs::write(&view, whole).unwrap();
    }
    Node::open(dir.path()).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_without_an_owner_or_of_another_format_is_refused() {
    let dir = used().await;
    let identity = dir.path().join("identity");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("format 5", "format 3")).unwrap();
    let error = refused(config(dir.path())).await;
    assert!(
        matches!(
            error,
            StartError::Format {
                found: 3,
                supported: 5,
                ..
            }
        ),
        "{error}"
    );
    fs::write(&identity, &text[..60]).unwrap();
    assert!(matches!(
        refused(config(dir.path())).await,
        StartError::Identity { .. }
    ));
    fs::remove_file(&identity).unwrap();
    assert!(matches!(
        refused(config(dir.path())).await,
        StartError::Identity { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_a_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(
        refused(config(&file)).await,
        StartError::Io { what: "create", .. }
    ));
}

/// Whatever file is damaged: either nothing that matters was in it, or the start is refused with
/// a reason. Never a different state.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_refused_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::open(dir.path()).await;
    let operator = Principal::operator(0, 0);
    for index in 0..30 {
        let end = node.submit(operator.deploy(&format!("shop-{index}"))).await;
        node.follow_to(end.height).await;
    }
    let expected = node.stop().await;
    let mut refusals = 0;
    for file in one_file_of_each_partition(&dir.path().join("engine")) {
        let original = fs::read(&file).unwrap();
        let mut damaged = original.clone();
        let end = damaged.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let middle = end / 2;
        for byte in damaged.iter_mut().skip(middle.saturating_sub(32)).take(64) {
            *byte ^= 0xa5;
        }
        let copy = tempfile::tempdir().unwrap();
        copy_all(dir.path(), copy.path());
        let place = copy.path().join(file.strip_prefix(dir.path()).unwrap());
        fs::write(&place, damaged).unwrap();
        match Node::start(config(copy.path())).await {
            Ok(node) => {
                let name = file.display();
                assert_eq!(
                    node.state.entries, expected.entries,
                    "{name} changed the state"
                );
                assert!(
                    node.state.height >= expected.height,
                    "{name} took blocks away"
                );
                node.ledger.shutdown().await.ok();
            }
            Err(StartError::Engine { reason, .. } | StartError::VotesDamaged { reason, .. }) => {
                assert!(!reason.is_empty());
                refusals += 1;
            }
            Err(error) => panic!("{}: {error}", file.display()),
        }
    }
    assert!(refusals > 0, "no damage was noticed");
}

/// The newest of each, except for the caches of candidate blocks: they are alike.
fn one_file_of_each_partition(engine: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("a readable directory");
        let mut paths: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        paths
    };
    let candidates = |partition: &PathBuf| partition.to_string_lossy().contains("delivery-cache");
    let partitions = list(engine)
        .into_iter()
        .filter(|path| path.is_dir() && !candidates(path));
    let filled = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
    partitions
        .filter_map(|partition| list(&partition).into_iter().rfind(filled))
        .collect()
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a readable directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy_all(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
