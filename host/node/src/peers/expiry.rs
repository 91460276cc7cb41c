//! The end of certificates: when one of an open session is over, sessions are judged again. Never
//! knows what a certificate is, nor who is refused.

use std::time::Duration;

use stoq::Endpoint;

use crate::clock::Clock;

/// Longest sleep before clock and sessions are looked at again: a machine that was suspended wakes
/// late, and a session may have begun meanwhile whose certificate ends first. An open session
/// outlives its certificate by no more than this.
const CLOCK_CHECK: Duration = Duration::from_secs(2);

/// Has all sessions judged again each time that the certificate of one of them has ended. A peer
/// that renewed in time stays; the others are refused as they would be in a new handshake.
pub(crate) async fn recheck_at_ends(endpoint: Endpoint, clock: Clock) {
    loop {
        let (end_ms, now_ms) = (endpoint.first_end_ms(), clock());
        if end_ms.is_some_and(|end_ms| end_ms < now_ms) {
            let closed = endpoint.recheck();
            tracing::info!("a certificate has ended: closed {closed} sessions");
        }
        tokio::time::sleep(wait(endpoint.first_end_ms(), now_ms)).await;
    }
}

/// Until the first moment at which a certificate that is good until `end_ms` is over.
fn wait(end_ms: Option<u64>, now_ms: u64) -> Duration {
    let over = end_ms.map(|end_ms| end_ms.saturating_add(1).saturating_sub(now_ms));
    match over {
        // Already over, and yet not refused: the judge reads another clock. Not in a circle.
        None | Some(0) => CLOCK_CHECK,
        Some(wait_ms) => Duration::from_millis(wait_ms).min(CLOCK_CHECK),
    }
}

#[cfg(test)]
mod three_days;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use stoq::{CloseReason, Closer, Config, Session, Target};
    use trust::{IssuedCertificate, SecretKey};
    use types::{Digest, FabricId};

    use super::*;
    use crate::peers::authority::Authority;
    use crate::peers::credentials::shown;

    const START_MS: u64 = 1_795_392_000_000;
    const HOUR_MS: u64 = 60 * 60 * 1000;
    /// Only a hang takes so long.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// An endpoint with the node's own authority, a real certificate and the clock of the test.
    fn endpoint(seed: u8, fabric: &FabricId, now_ms: &Arc<AtomicU64>) -> (Endpoint, SecretKey) {
        let identity = SecretKey::from_seed(&[seed; 32]);
        let issued = certificate(&identity, fabric, START_MS);
        let now_ms = Arc::clone(now_ms);
        let clock: Clock = Arc::new(move || now_ms.load(Ordering::SeqCst));
        let authority = Arc::new(Authority::with_clock(*fabric, clock));
        let bind = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config::new(identity.public(), bind, shown(&issued), authority);
        (Endpoint::bind(config).unwrap(), identity)
    }

    fn certificate(identity: &SecretKey, fabric: &FabricId, now_ms: u64) -> IssuedCertificate {
        IssuedCertificate::issue(identity, fabric, true, now_ms).unwrap()
    }

    async fn dial(from: &Endpoint, to: &Endpoint) -> Session {
        let target = Target {
            node: Some(to.node()),
            addresses: vec![to.local_address().unwrap()],
        };
        from.dial(target).await.unwrap()
    }

    #[tokio::test]
    async fn a_peer_that_stops_renewing_is_out_when_its_certificate_ends() {
        let fabric = Digest::of(b"fabric");
        // The peers' clock stands still: none of them ends a session for time.
        let (now_ms, still) = (
            Arc::new(AtomicU64::new(START_MS)),
            Arc::new(AtomicU64::new(START_MS)),
        );
        let (judging, own) = endpoint(1, &fabric, &now_ms);
        let (renewing, identity) = endpoint(2, &fabric, &still);
        let (idle, _) = endpoint(3, &fabric, &still);
        let stays = dial(&renewing, &judging).await;
        let goes = dial(&idle, &judging).await;
        let end_ms = certificate(&own, &fabric, START_MS).not_after_ms;
        assert_eq!(judging.first_end_ms(), Some(end_ms));
        let read = Arc::clone(&now_ms);
        let clock: Clock = Arc::new(move || read.load(Ordering::SeqCst));
        let watching = tokio::spawn(recheck_at_ends(judging.clone(), clock));

        // Sixteen hours on, one of the two renews.
        now_ms.store(START_MS + 16 * HOUR_MS, Ordering::SeqCst);
        let renewed = certificate(&identity, &fabric, START_MS + 16 * HOUR_MS);
        // Its own clock stands at the start, which only counts for what it judges itself.
        renewing.set_credentials(shown(&renewed)).unwrap();
        let back = judging.session(&renewing.node()).unwrap();
        let told = async {
            while back.peer_chain()[0].as_ref() != renewed.der {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.unwrap();
        assert!(goes.is_live());

        now_ms.store(end_ms + 1, Ordering::SeqCst);
        let ended = tokio::time::timeout(PATIENCE, goes.ended()).await.unwrap();
        let expired = |reason: &CloseReason| {
            matches!(
                reason,
                CloseReason::Refused {
                    by: Closer::Peer,
                    code: 3,
                    ..
                }
            )
        };
        assert!(expired(&ended), "{ended}");
        assert!(stays.is_live());
        assert_eq!(judging.first_end_ms(), Some(renewed.not_after_ms));

        // And the one that renewed once is out a day after that.
        now_ms.store(renewed.not_after_ms + 1, Ordering::SeqCst);
        let ended = tokio::time::timeout(PATIENCE, stays.ended()).await.unwrap();
        assert!(expired(&ended), "{ended}");
        watching.abort();
    }

    #[test]
    fn it_wakes_just_after_the_end_and_never_runs_in_a_circle() {
        assert_eq!(wait(Some(1_000), 999), Duration::from_millis(2));
        assert_eq!(wait(Some(1_000), 1_000), Duration::from_millis(1));
        for (end_ms, now_ms) in [(None, 5), (Some(u64::MAX), 5), (Some(1), 1_000)] {
            assert_eq!(wait(end_ms, now_ms), CLOCK_CHECK);
        }
    }
}
