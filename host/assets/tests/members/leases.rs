//! When members begin and end, what each access is refused, and what a node finds again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hypermesh_assets::OpenTenantError;
use hypermesh_assets::volume::{Member as _, MemberDone, MemberError, MemberOp, OVERHEAD_BYTES};
use types::{Amount, Digest, RegionScope};

use crate::{BYTES, Node, T, byte, done, lease, seconds, whole, write};

#[tokio::test]
async fn what_was_flushed_is_found_again_and_wiped_when_the_lease_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(lease(1).to_string());
    {
        let node = Node::start(folder.path());
        let member = node.root(1);
        done(&member, MemberOp::Fence { epoch: 1 }).await;
        done(&member, write(1, 7)).await;
        done(&member, MemberOp::Flush).await;
        let bytes = std::fs::metadata(path.join("pieces")).unwrap().len();
        assert!(bytes <= BYTES + OVERHEAD_BYTES, "{bytes}");
    }
    // Another process, whose ledger is behind: it knows no such lease yet.
    let node = Node::start(folder.path());
    assert_eq!(node.volumes.follow(T - 1_000, 1, |_| None), []);
    let member = node.root(1);
    assert_eq!(byte(&member).await, Ok(Some(7)));
    assert_eq!(member.ask(MemberOp::Epoch).await, Ok(MemberDone::Epoch(1)));
    assert!(node.volumes.tenants().end(&lease(1)));
    assert_eq!(byte(&member).await, Err(MemberError::Ended));
    gone(&path).await;
    let bytes = (Amount(BYTES), Amount(BYTES));
    let again = node.volumes.member(lease(1), bytes, seconds(60), 1, T);
    assert_eq!(again.map(|_| ()), Err(OpenTenantError::Over(lease(1))));
}

async fn gone(path: &std::path::Path) {
    for _ in 0..1_000 {
        if !path.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} is still there", path.display());
}

#[tokio::test]
async fn what_nobody_asks_for_any_more_is_wiped_once_the_ledger_says_that_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    for number in [1, 2, 3] {
        let node = Node::start(folder.path());
        let member = node.root(number);
        done(&member, MemberOp::Fence { epoch: 1 }).await;
    }
    let node = Node::start(folder.path());
    std::fs::create_dir(folder.path().join("somebody-else")).unwrap();
    // One is over, one is not known, one lives.
    let expires = |found: &_| match found {
        found if *found == lease(1) => Some(T + 10),
        found if *found == lease(2) => None,
        _ => Some(T + 1_000_000),
    };
    assert_eq!(node.volumes.follow(T, 1, expires), [lease(2)]);
    assert_eq!(node.volumes.follow(T + 10, 2, expires), [lease(1)]);
    for number in [1, 2] {
        gone(&folder.path().join(lease(number).to_string())).await;
    }
    assert!(folder.path().join(lease(3).to_string()).exists());
    assert!(folder.path().join("somebody-else").exists());
}

#[tokio::test]
async fn a_member_ends_with_its_term_here_and_by_the_ledger() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let (first, second) = (node.root(1), node.root(2));
    done(&first, MemberOp::Fence { epoch: 1 }).await;
    done(&second, MemberOp::Fence { epoch: 1 }).await;
    assert_eq!(node.volumes.tenants().bytes(), Amount(2 * BYTES));
    // The ledger has the second one no more.
    let expires = |found: &_| (*found == lease(1)).then_some(T + 3_600_000);
    assert_eq!(node.volumes.follow(T + 1, 1, expires), [lease(2)]);
    let flush = second.ask(MemberOp::Flush).await;
    assert_eq!(flush, Err(MemberError::Ended));
    let at_ms = node.volumes.tenants().next_timeout_ms().unwrap();
    node.now_ms.store(at_ms, Ordering::Relaxed);
    // By its own clock, before anybody ends it.
    assert_eq!(byte(&first).await, Err(MemberError::Ended));
    assert_eq!(node.volumes.tenants().end_over(at_ms), [lease(1)]);
    gone(&folder.path().join(lease(1).to_string())).await;
    assert_eq!(node.volumes.tenants().count(), 0);
}

#[tokio::test]
async fn each_access_is_refused_what_its_capability_does_not_give() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path());
    let root = node.root(1);
    done(&root, MemberOp::Fence { epoch: 1 }).await;
    done(&root, write(1, 7)).await;
    let denied = |text: &str| Err(MemberError::Denied(text.to_owned()));
    let reads = node.access(1, whole(true, false), &[1, 5]);
    assert_eq!(byte(&reads).await, Ok(Some(7)));
    for operation in [
        MemberOp::Fence { epoch: 2 },
        write(2, 8),
        MemberOp::Remove { epoch: 1, file: 1 },
        MemberOp::Flush,
        MemberOp::Settle {
            epoch: 1,
            pieces: Vec::new(),
        },
    ] {
        let no_write = denied("the capability gives no right to write");
        assert_eq!(reads.ask(operation).await, no_write);
    }
    let writes = node.access(1, whole(false, true), &[1, 6]);
    let no_read = MemberError::Denied("the capability gives no right to read".to_owned());
    assert_eq!(byte(&writes).await, Err(no_read));
    let part = RegionScope {
        until: 4_096,
        ..whole(true, true)
    };
    let part = node.access(1, part, &[1, 7]);
    assert!(matches!(byte(&part).await, Err(MemberError::Denied(_))));
    let short = RegionScope {
        expires_ms: T,
        ..whole(true, true)
    };
    let short = node.access(1, short, &[1, 8]);
    let expired = "the capability has expired: ask for a new one";
    assert_eq!(short.ask(MemberOp::Usage).await, denied(expired));
    let Ok(MemberDone::Usage(usage)) = writes.ask(MemberOp::Usage).await else {
        panic!("usage needs no right");
    };
    assert_eq!((usage.bytes, usage.used_bytes), (BYTES, 5_632));
    assert!(usage.left_ms > 3_500_000, "{usage:?}");
}

#[tokio::test]
async fn a_capability_that_was_revoked_stays_so_when_the_node_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let id = Digest::from_bytes([5; 32]);
    {
        let node = Node::start(folder.path());
        let root = node.root(1);
        let narrowed = node.access(1, whole(true, false), &[1, 5, 6]);
        assert_eq!(byte(&narrowed).await, Ok(None));
        assert!(matches!(
            narrowed.revoke(id).await,
            Err(MemberError::Denied(_))
        ));
        let own = root.revoke(Digest::from_bytes([1; 32])).await;
        assert!(matches!(own, Err(MemberError::Invalid(_))), "{own:?}");
        assert_eq!(root.revoke(id).await, Ok(MemberDone::Done));
        let revoked = MemberError::Denied("the capability was revoked".to_owned());
        assert_eq!(byte(&narrowed).await, Err(revoked));
    }
    let node = Node::start(folder.path());
    let narrowed = node.access(1, whole(true, false), &[1, 5, 6]);
    assert!(matches!(byte(&narrowed).await, Err(MemberError::Denied(_))));
    assert!(node.volumes.tenants().is_revoked(&lease(1), &id));
    assert_eq!(byte(&node.root(1)).await, Ok(None));
}

#[tokio::test]
async fn a_damaged_store_is_named_and_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(lease(1).to_string()).join("pieces");
    {
        let node = Node::start(folder.path());
        let member = node.root(1);
        done(&member, MemberOp::Fence { epoch: 1 }).await;
        done(&member, write(1, 7)).await;
        done(&member, MemberOp::Flush).await;
    }
    let mut bytes = std::fs::read(&path).unwrap();
    // The header of the one record.
    bytes[8_192 + 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let node = Node::start(folder.path());
    let Err(MemberError::Disk(text)) = byte(&node.root(1)).await else {
        panic!("it is not served");
    };
    assert!(text.contains("damaged"), "{text}");
    assert!(path.exists(), "it is left for whoever looks");
}
