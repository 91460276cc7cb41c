//! Leased memory as guests of this node use it, whether its host is here or elsewhere. Knows no WIT;
//! signs for a guest and gives it no key.

use std::sync::Arc;

use assets::{
    AskRegionError, OpenRemoteError, Refusal, RegionAccess, RegionDone, RegionError, RegionOp,
    RemoteRegion,
};
use futures::FutureExt as _;
use orchestrator::ReplicaKey;
use runtime::{AssetError, Awaited, Memory, MemoryRegion, MemoryShare, MemoryUsage};
use trust::{CapabilityRefusal, LeaseCapability, NarrowError};
use types::{Amount, AssetType, Audience, Capability, ComponentSpec, RegionRights, RegionScope};

use super::asking::{Asking, Held};
use super::{AdmitError, Opened, admitted};
use crate::peers::OpenRegionError;
use crate::shared::Shared;

/// Leased memory for one replica.
struct GuestMemory {
    shared: Arc<Shared>,
    replica: ReplicaKey,
    asking: Arc<Asking>,
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
        asking: Arc::new(Asking::new(AssetType::Memory, Amount(quota.as_u64()))),
    }))
}

/// A region that a guest has open.
struct GuestRegion {
    shared: Arc<Shared>,
    capability: LeaseCapability,
    place: Place,
    /// Of one that was allocated.
    held: Option<Arc<Held>>,
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
        let leased = self.asking.lease(&self.shared, Amount(bytes), term_ms);
        let shared = Arc::clone(&self.shared);
        async move {
            let held = leased.await?;
            let capability = held.lease.capability()?;
            open(shared, capability, Some(held)).await
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

async fn open(
    shared: Arc<Shared>,
    capability: LeaseCapability,
    held: Option<Arc<Held>>,
) -> Result<Arc<dyn MemoryRegion>, AssetError> {
    let host = capability.subject().host;
    let place = if host == shared.node {
        let opened = admitted(&shared, &capability, shared.node).await;
        match opened.map_err(not_admitted)? {
            Opened::Region(access) => Place::Here(access),
            Opened::Member(_) | Opened::Cpu(_) | Opened::Link(_) => {
                return Err(denied("the capability is for something else than memory"));
            }
        }
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
        held,
    }))
}

impl GuestRegion {
    fn ask(&self, operation: RegionOp) -> Awaited<RegionDone> {
        self.place.ask(&self.shared, operation)
    }
}

impl Place {
    fn ask(&self, shared: &Shared, operation: RegionOp) -> Awaited<RegionDone> {
        match self {
            Self::Here(access) => {
                let done = access.apply(operation, shared.now_ms());
                std::future::ready(done.map_err(not_done)).boxed()
            }
            Self::Elsewhere(region) => {
                let region = Arc::clone(region);
                async move {
                    let asked = region.ask(&operation).await;
                    asked.map_err(|error| match error {
                        AskRegionError::NotDone(error) => not_done(error),
                        AskRegionError::Frame(error) => AssetError::Invalid(error.to_string()),
                        AskRegionError::Lost(_) => AssetError::Lost(error.to_string()),
                    })
                }
                .boxed()
            }
        }
    }
}

/// An answer to another question: a host that is not as it should be.
fn odd<T>(_: RegionDone) -> Result<T, AssetError> {
    let text = "the region's host answered something else than it was asked";
    Err(AssetError::Lost(text.to_owned()))
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

    fn renew(&self, term_ms: u64) -> Awaited<()> {
        let held = self.held.as_ref().ok_or_else(|| {
            denied("only the holder of the lease renews it: this region was opened")
        });
        let renewed = held.map(|held| held.renew(term_ms));
        let (shared, place) = (Arc::clone(&self.shared), self.place.clone());
        async move {
            renewed?.await?;
            // The host may have ended the region by its own clock before it heard of it.
            place.ask(&shared, RegionOp::Usage).await.map(|_| ())
        }
        .boxed()
    }

    fn share(&self, share: MemoryShare) -> Result<String, AssetError> {
        let audience = match share.node.as_deref().map(str::parse) {
            None => Audience::Member,
            Some(Ok(node)) => Audience::Node(node),
            Some(Err(error)) => return Err(AssetError::Invalid(error.to_string())),
        };
        let until = share.offset.checked_add(share.bytes);
        let until = until.filter(|until| *until <= self.bytes() && share.bytes > 0);
        let until = until.ok_or_else(|| {
            let (offset, bytes) = (share.offset, share.bytes);
            let size = self.bytes();
            let text = format!("{bytes} bytes from {offset} on are no part of {size}");
            AssetError::Invalid(text)
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
            let other = || AssetError::Invalid("the capability is of another region".to_owned());
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

fn capability_of(text: &str) -> Result<LeaseCapability, AssetError> {
    let parsed = text.parse::<LeaseCapability>();
    parsed.map_err(|error| AssetError::Invalid(error.to_string()))
}

fn unavailable(error: impl std::fmt::Display) -> AssetError {
    AssetError::Unavailable(error.to_string())
}

fn denied(error: impl std::fmt::Display) -> AssetError {
    AssetError::Denied(error.to_string())
}

fn not_admitted(error: AdmitError) -> AssetError {
    match error.refusal() {
        Refusal::Denied(text) => AssetError::Denied(text),
        Refusal::NoLease => AssetError::Ended,
        Refusal::Unable(text) => AssetError::Unavailable(text),
    }
}

fn not_opened(error: OpenRegionError) -> AssetError {
    match error {
        OpenRegionError::Remote(OpenRemoteError::Refused(Refusal::Denied(text))) => {
            AssetError::Denied(text)
        }
        OpenRegionError::Remote(OpenRemoteError::Refused(Refusal::NoLease)) => AssetError::Ended,
        error => unavailable(error),
    }
}

fn not_done(error: RegionError) -> AssetError {
    let text = error.to_string();
    match error {
        RegionError::Ended => AssetError::Ended,
        RegionError::Expired
        | RegionError::Revoked
        | RegionError::NotAllowed { .. }
        | RegionError::NotOwner => AssetError::Denied(text),
        RegionError::OutOfRange { .. }
        | RegionError::TooLong { .. }
        | RegionError::SwapLengths { .. }
        | RegionError::RevokesItself => AssetError::Invalid(text),
        RegionError::TooManyRevoked => AssetError::Quota(text),
        RegionError::NoMemory => AssetError::Exhausted(text),
    }
}
