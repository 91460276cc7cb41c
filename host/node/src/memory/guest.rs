//! Leased memory as guests of this node use it, whether its host is here or elsewhere. Knows no WIT;
//! signs for a guest and gives it no key.

use std::sync::{Arc, Mutex, PoisonError};

use assets::{
    AskRegionError, Capacity, OpenRemoteError, Refusal, RegionAccess, RegionDone, RegionError,
    RegionOp, RemoteRegion, Reservation, ReserveError,
};
use futures::FutureExt as _;
use orchestrator::ReplicaKey;
use runtime::{Awaited, Memory, MemoryError, MemoryRegion, MemoryShare, MemoryUsage};
use trust::{CapabilityRefusal, CapabilitySubject, LeaseCapability, NarrowError};
use types::{
    Amount, AssetPolicy, Audience, Capability, ComponentSpec, NodeId, RegionRights, RegionScope,
};

use super::leasing::{self, HeldLease};
use super::{AdmitError, admitted};
use crate::peers::OpenRegionError;
use crate::shared::Shared;

/// Shortest lease that a guest may ask for: what clocks may differ by is a fifth of it.
const TERM_MS_MIN: u64 = 10_000;

/// Leases that one replica may ask for in a window: each costs two transactions, which every node
/// keeps, and the turn of other guests.
const LEASES_PER_WINDOW_MAX: u32 = 16;
/// Length of a window.
const WINDOW_MS: u64 = 10_000;

/// How many leases were asked for lately.
#[derive(Debug, Default)]
struct Window {
    began_ms: u64,
    leases: u32,
}

impl Window {
    /// Counts one more at `now_ms`, if there is room for it.
    const fn take(&mut self, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.began_ms) >= WINDOW_MS {
            self.began_ms = now_ms;
            self.leases = 0;
        }
        if self.leases >= LEASES_PER_WINDOW_MAX {
            return false;
        }
        self.leases += 1;
        true
    }
}

/// Leased memory for one replica.
struct GuestMemory {
    shared: Arc<Shared>,
    replica: ReplicaKey,
    /// What the manifest grants, and what of it is taken.
    granted: Capacity,
    asked: Mutex<Window>,
}

/// What a component's replica gets of leased memory, by its grants.
pub(crate) fn of(
    shared: &Arc<Shared>,
    replica: &ReplicaKey,
    spec: &ComponentSpec,
) -> Option<Arc<dyn Memory>> {
    let quota = spec.capabilities.iter().find_map(|right| match right {
        Capability::Memory { quota } => Some(*quota),
        _ => None,
    })?;
    Some(Arc::new(GuestMemory {
        shared: Arc::clone(shared),
        replica: replica.clone(),
        granted: Capacity::new(Amount(quota.as_u64())),
        asked: Mutex::default(),
    }))
}

/// A region that a guest has open.
struct GuestRegion {
    shared: Arc<Shared>,
    capability: LeaseCapability,
    place: Place,
    /// Of one that was allocated. Dropped with it, the lease first.
    _held: Option<(HeldLease, Reservation)>,
}

/// Where a region is.
#[derive(Debug, Clone)]
enum Place {
    Here(RegionAccess),
    Elsewhere(Arc<RemoteRegion>),
}

impl std::fmt::Debug for GuestMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestMemory").field(&self.replica).finish()
    }
}

impl std::fmt::Debug for GuestRegion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GuestRegion")
            .field(&self.capability)
            .finish()
    }
}

impl Memory for GuestMemory {
    fn allocate(&self, bytes: u64, term_ms: u64) -> Awaited<Arc<dyn MemoryRegion>> {
        let reserved = self.reserve(bytes, term_ms);
        let shared = Arc::clone(&self.shared);
        async move {
            let reserved = reserved?;
            // Goes on if the guest ends meanwhile: a lease that comes then is dropped, and so given
            // back.
            let allocated = tokio::spawn(allocate(shared, reserved, bytes, term_ms));
            allocated.await.map_err(unavailable)?
        }
        .boxed()
    }

    fn open(&self, capability: String) -> Awaited<Arc<dyn MemoryRegion>> {
        let shared = Arc::clone(&self.shared);
        async move {
            let capability = capability_of(&capability)?;
            let subject = capability.subject();
            if subject.fabric != shared.fabric {
                let (found, here) = (subject.fabric, shared.fabric);
                return Err(denied(CapabilityRefusal::OtherFabric { found, here }));
            }
            open(shared, capability, None).await
        }
        .boxed()
    }
}

impl GuestMemory {
    fn reserve(&self, bytes: u64, term_ms: u64) -> Result<Reservation, MemoryError> {
        let terms = TERM_MS_MIN..=AssetPolicy::TERM_MS_MAX;
        if !terms.contains(&term_ms) {
            let (min, max) = (terms.start(), terms.end());
            let text = format!("a lease lasts {min} to {max} ms, not {term_ms}");
            return Err(MemoryError::Invalid(text));
        }
        let reserved = self.granted.reserve(Amount(bytes));
        let reserved = reserved.map_err(|error| match error {
            ReserveError::Nothing => MemoryError::Invalid(error.to_string()),
            ReserveError::Exhausted { .. } => {
                let text = format!("of the memory that the manifest grants, {error}");
                MemoryError::Quota(text)
            }
        })?;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if !asked.take(self.shared.now_ms()) {
            let text = format!(
                "{LEASES_PER_WINDOW_MAX} leases were asked for within {WINDOW_MS} ms, the most"
            );
            return Err(MemoryError::Busy(text));
        }
        Ok(reserved)
    }
}

async fn allocate(
    shared: Arc<Shared>,
    reserved: Reservation,
    bytes: u64,
    term_ms: u64,
) -> Result<Arc<dyn MemoryRegion>, MemoryError> {
    let reaches = |node: &NodeId| {
        let peers = shared.peers.get();
        peers.is_some_and(|peers| peers.reaches(node))
    };
    let held = leasing::lease(&shared, bytes, term_ms, reaches).await?;
    let subject = CapabilitySubject {
        fabric: shared.fabric,
        asset: held.record.asset,
        lease: held.lease,
        host: held.host,
        nonce: [0; 16],
    };
    // Of any member: whoever narrows it says for whom, and the text of this one is never shown.
    let scope = RegionScope {
        rights: RegionRights::ALL,
        from: 0,
        until: bytes,
        expires_ms: held.record.expires_ms,
        audience: Audience::Member,
    };
    let capability = LeaseCapability::issue(shared.signer.key(), subject, scope);
    let capability = capability.map_err(unavailable)?;
    open(shared, capability, Some((held, reserved))).await
}

async fn open(
    shared: Arc<Shared>,
    capability: LeaseCapability,
    held: Option<(HeldLease, Reservation)>,
) -> Result<Arc<dyn MemoryRegion>, MemoryError> {
    let host = capability.subject().host;
    let place = if host == shared.node {
        let access = admitted(&shared, &capability, shared.node).await;
        Place::Here(access.map_err(not_admitted)?)
    } else {
        let peers = shared.peers.get();
        let peers = peers.ok_or_else(|| unavailable(OpenRegionError::NoSession(host)))?;
        let opened = peers.open_region(host, &capability).await;
        Place::Elsewhere(Arc::new(opened.map_err(not_opened)?))
    };
    Ok(Arc::new(GuestRegion {
        shared,
        capability,
        place,
        _held: held,
    }))
}

impl GuestRegion {
    fn ask(&self, operation: RegionOp) -> Awaited<RegionDone> {
        match &self.place {
            Place::Here(access) => {
                let done = access.apply(operation, self.shared.now_ms());
                std::future::ready(done.map_err(not_done)).boxed()
            }
            Place::Elsewhere(region) => {
                let region = Arc::clone(region);
                async move {
                    let asked = region.ask(&operation).await;
                    asked.map_err(|error| match error {
                        AskRegionError::Region(error) => not_done(error),
                        AskRegionError::Frame(error) => MemoryError::Invalid(error.to_string()),
                        AskRegionError::Lost(_) => MemoryError::Lost(error.to_string()),
                    })
                }
                .boxed()
            }
        }
    }
}

/// An answer to another question: a host that is not as it should be.
fn odd<T>(_: RegionDone) -> Result<T, MemoryError> {
    let text = "the region's host answered something else than it was asked";
    Err(MemoryError::Lost(text.to_owned()))
}

impl MemoryRegion for GuestRegion {
    fn bytes(&self) -> u64 {
        match &self.place {
            Place::Here(access) => access.region().bytes(),
            Place::Elsewhere(region) => region.bytes(),
        }
    }

    fn read(&self, offset: u64, bytes: u32) -> Awaited<Vec<u8>> {
        let done = self.ask(RegionOp::Read { offset, bytes });
        let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
        async move {
            match done.await? {
                RegionDone::Read(read) if read.len() == wanted => Ok(read),
                other => odd(other),
            }
        }
        .boxed()
    }

    fn write(&self, offset: u64, bytes: Vec<u8>) -> Awaited<()> {
        let done = self.ask(RegionOp::Write { offset, bytes });
        async move {
            match done.await? {
                RegionDone::Written => Ok(()),
                other => odd(other),
            }
        }
        .boxed()
    }

    fn swap(&self, offset: u64, expected: Vec<u8>, new: Vec<u8>) -> Awaited<Option<Vec<u8>>> {
        let wanted = expected.len();
        let done = self.ask(RegionOp::Swap {
            offset,
            expected,
            new,
        });
        async move {
            match done.await? {
                RegionDone::Swapped => Ok(None),
                RegionDone::Found(found) if found.len() == wanted => Ok(Some(found)),
                other => odd(other),
            }
        }
        .boxed()
    }

    fn usage(&self) -> Awaited<MemoryUsage> {
        let done = self.ask(RegionOp::Usage);
        async move {
            match done.await? {
                RegionDone::Usage(usage) => Ok(MemoryUsage {
                    bytes: usage.bytes,
                    resident_bytes: usage.resident_bytes,
                    operations: usage.operations,
                    left_ms: usage.left_ms,
                }),
                other => odd(other),
            }
        }
        .boxed()
    }

    fn share(&self, share: MemoryShare) -> Result<String, MemoryError> {
        let audience = match share.node.as_deref().map(str::parse) {
            None => Audience::Member,
            Some(Ok(node)) => Audience::Node(node),
            Some(Err(error)) => return Err(MemoryError::Invalid(error.to_string())),
        };
        let until = share.offset.checked_add(share.bytes);
        let until = until.filter(|until| *until <= self.bytes() && share.bytes > 0);
        let until = until.ok_or_else(|| {
            let (offset, bytes) = (share.offset, share.bytes);
            let size = self.bytes();
            let text = format!("{bytes} bytes from {offset} on are no part of {size}");
            MemoryError::Invalid(text)
        })?;
        let own = self.capability.scope();
        let latest_ms = self.shared.memory.clock().latest_ms(self.shared.now_ms());
        let expires_ms = latest_ms.saturating_add(share.term_ms);
        let scope = RegionScope {
            rights: RegionRights {
                read: share.read,
                write: share.write,
                swap: share.swap,
            },
            from: share.offset,
            until,
            expires_ms: own.map_or(expires_ms, |own| own.expires_ms.min(expires_ms)),
            audience,
        };
        let narrowed = self.capability.narrowed(scope);
        let narrowed = narrowed.map_err(|error| match error {
            NarrowError::Entropy(error) => unavailable(error),
            error => denied(error),
        })?;
        Ok(narrowed.to_string())
    }

    fn revoke(&self, capability: String) -> Awaited<()> {
        let id = capability_of(&capability).and_then(|capability| {
            let same = capability.subject() == self.capability.subject();
            let other = || MemoryError::Invalid("the capability is of another region".to_owned());
            capability.id().filter(|_| same).ok_or_else(other)
        });
        let done = id.map(|capability| self.ask(RegionOp::Revoke { capability }));
        async move {
            match done?.await? {
                RegionDone::Revoked => Ok(()),
                other => odd(other),
            }
        }
        .boxed()
    }
}

fn capability_of(text: &str) -> Result<LeaseCapability, MemoryError> {
    let parsed = text.parse::<LeaseCapability>();
    parsed.map_err(|error| MemoryError::Invalid(error.to_string()))
}

fn unavailable(error: impl std::fmt::Display) -> MemoryError {
    MemoryError::Unavailable(error.to_string())
}

fn denied(error: impl std::fmt::Display) -> MemoryError {
    MemoryError::Denied(error.to_string())
}

fn not_admitted(error: AdmitError) -> MemoryError {
    match error.refusal() {
        Refusal::Denied(text) => MemoryError::Denied(text),
        Refusal::NoLease => MemoryError::Ended,
        Refusal::Unable(text) => MemoryError::Unavailable(text),
    }
}

fn not_opened(error: OpenRegionError) -> MemoryError {
    match error {
        OpenRegionError::Remote(OpenRemoteError::Refused(Refusal::Denied(text))) => {
            MemoryError::Denied(text)
        }
        OpenRegionError::Remote(OpenRemoteError::Refused(Refusal::NoLease)) => MemoryError::Ended,
        error => unavailable(error),
    }
}

fn not_done(error: RegionError) -> MemoryError {
    let text = error.to_string();
    match error {
        RegionError::Ended => MemoryError::Ended,
        RegionError::Expired
        | RegionError::Revoked
        | RegionError::NotAllowed { .. }
        | RegionError::NotOwner => MemoryError::Denied(text),
        RegionError::OutOfRange { .. }
        | RegionError::TooLong { .. }
        | RegionError::SwapLengths { .. }
        | RegionError::RevokesItself => MemoryError::Invalid(text),
        RegionError::TooManyRevoked => MemoryError::Quota(text),
        RegionError::NoMemory => MemoryError::Exhausted(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_asked_for_no_faster_than_their_windows_allow() {
        let mut window = Window::default();
        let taken = |window: &mut Window, now_ms| (0..100).filter(|_| window.take(now_ms)).count();
        let most = usize::try_from(LEASES_PER_WINDOW_MAX).unwrap();
        assert_eq!(taken(&mut window, 20_000), most);
        assert_eq!(taken(&mut window, 20_000 + WINDOW_MS - 1), 0);
        assert_eq!(taken(&mut window, 20_000 + WINDOW_MS), most);
        // A clock that stands still or goes back gives nothing.
        assert_eq!(taken(&mut window, 0), 0);
    }
}
