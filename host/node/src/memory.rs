//! What is leased of this node: its regions of memory, its members of volumes, what leases of processors
//! and transport are used through, and the clock by which they end. Who may use one is said by the ledger
//! and by capabilities; what a guest does with one is the business of `guest`, of `crate::volumes`,
//! `crate::cpu` and `crate::network`.

pub(crate) mod asking;
mod guest;
pub(crate) mod leasing;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assets::volume::{MemberAccess, Now, Volumes};
use assets::{
    BeginTenancyError, LeaseTerm, LedgerClock, Link, OpenTenantError, Refusal, RegionAccess,
    Regions, Tenancies, Tenancy,
};
use ledger::{DecodeRecordError, LeaseRecord, View};
use runtime::CpuShare;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use trust::{CapabilityFacts, CapabilityRefusal, LeaseCapability, LeaseFact};
use types::{Amount, AssetType, LeaseId, NodeId, RegionScope};

use crate::clock::unix_ms;
use crate::data_dir::DataDir;
use crate::error::StartNodeError;
use crate::shared::{Shared, elapsed_ms};
use crate::volumes::kept::KeptLeases;

pub(crate) use guest::of;
pub(crate) use leasing::{Holdings, sweep};

/// How long a capability whose lease is not known here is waited with: whoever leased it may have
/// followed the ledger further.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);

/// A lease of processors, as it is used.
pub(crate) type CpuTenancy = Tenancy<Arc<CpuShare>>;

/// A lease of transport, as it is used.
pub(crate) type LinkTenancy = Tenancy<Link>;

/// What is leased of this node, and what it knows of ledger time.
#[derive(Debug)]
pub(crate) struct NodeMemory {
    regions: Regions,
    volumes: Volumes,
    cpus: Tenancies<Arc<CpuShare>>,
    links: Tenancies<Link>,
    clock: Mutex<LedgerClock>,
    /// Told when there is something more that ends.
    added: Notify,
    /// The leases of guests of this node.
    pub(crate) holdings: Holdings,
    /// Those of them that outlive their guests.
    pub(crate) kept: KeptLeases,
}

/// What a capability opens.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Memory.
    Region(RegionAccess),
    /// Processors.
    Cpu(Arc<CpuTenancy>),
    /// Transport.
    Link(Arc<LinkTenancy>),
    /// Storage: a member of a volume.
    Member(MemberAccess),
}

/// A capability that opens nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdmitError {
    /// It gives nothing here.
    #[error(transparent)]
    Capability(#[from] CapabilityRefusal),
    /// Nothing is kept for it.
    #[error(transparent)]
    Tenant(#[from] OpenTenantError),
    /// What the lease is for cannot be used.
    #[error(transparent)]
    Tenancy(#[from] BeginTenancyError),
    /// Its lease is of something that cannot be opened.
    #[error("{} is a lease of {asset_type}, which is not opened", .lease.short())]
    Type {
        /// The lease.
        lease: LeaseId,
        /// Of what it is.
        asset_type: AssetType,
    },
    /// The ledger's state cannot be read; that ends the node elsewhere.
    #[error(transparent)]
    State(#[from] DecodeRecordError),
}

impl AdmitError {
    /// Whether the next block may change it.
    const fn is_early(&self) -> bool {
        matches!(self, Self::Capability(CapabilityRefusal::NoLease(_)))
    }

    /// As it is told to another node.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Capability(CapabilityRefusal::NoLease(_))
            | Self::Tenant(OpenTenantError::Over(_))
            | Self::Tenancy(BeginTenancyError::Over(_)) => Refusal::NoLease,
            Self::Capability(_) | Self::Type { .. } => Refusal::Denied(self.to_string()),
            Self::Tenant(_) | Self::Tenancy(_) | Self::State(_) => {
                Refusal::Unable(self.to_string())
            }
        }
    }
}

impl NodeMemory {
    /// What a process before this one left, of a node that begins with this state. That may be old, so
    /// the wall clock counts as a block; later blocks are as good as their way here.
    ///
    /// # Errors
    /// [`StartNodeError`] if what was left cannot be read.
    pub(crate) fn open(
        data_dir: &DataDir,
        view: &View,
        now_ms: u64,
    ) -> Result<Self, StartNodeError> {
        let ledger_ms = view.time_ms().max(unix_ms());
        let path = data_dir.volumes();
        let volumes = Volumes::open(&path, Handle::current());
        let volumes = volumes.map_err(|source| StartNodeError::Io {
            action: "open",
            path,
            source,
        })?;
        Ok(Self {
            regions: Regions::default(),
            volumes,
            cpus: Tenancies::default(),
            links: Tenancies::default(),
            clock: Mutex::new(LedgerClock::new(ledger_ms, now_ms)),
            added: Notify::new(),
            holdings: Holdings::default(),
            kept: KeptLeases::open(data_dir.kept())?,
        })
    }

    /// What is known of ledger time.
    pub(crate) fn clock(&self) -> LedgerClock {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a block that the follower has applied.
    pub(crate) fn followed(&self, shared: &Shared) {
        let now_ms = shared.now_ms();
        let state = shared.state();
        let time_ms = state.view.time_ms();
        self.clock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note_block(time_ms, now_ms);
        // State that cannot be read ends the node elsewhere, and what is leased of it.
        let expires = |lease: &LeaseId| {
            let record = state.view.lease(lease).ok().flatten();
            record.map(|record| record.expires_ms)
        };
        wiped(&self.regions.follow(time_ms, now_ms, expires));
        wiped(&self.volumes.follow(time_ms, now_ms, expires));
        ended(&self.cpus.follow(time_ms, now_ms, expires));
        ended(&self.links.follow(time_ms, now_ms, expires));
    }

    /// Ends what a lease is for that is being given back.
    pub(crate) fn end(&self, lease: &LeaseId) {
        if self.regions.end(lease) || self.volumes.tenants().end(lease) {
            wiped(&[*lease]);
        }
        if self.cpus.end(lease) || self.links.end(lease) {
            ended(&[*lease]);
        }
    }

    /// When the next of all this is over, if no block comes.
    fn next_timeout_ms(&self) -> Option<u64> {
        let timeouts = [
            self.regions.next_timeout_ms(),
            self.volumes.tenants().next_timeout_ms(),
            self.cpus.next_timeout_ms(),
            self.links.next_timeout_ms(),
        ];
        timeouts.into_iter().flatten().min()
    }

    /// Ends what is over by this node's clock.
    fn end_over(&self, now_ms: u64) {
        wiped(&self.regions.end_over(now_ms));
        wiped(&self.volumes.tenants().end_over(now_ms));
        ended(&self.cpus.end_over(now_ms));
        ended(&self.links.end_over(now_ms));
    }

    /// What `capability` opens, shown by `presenter`.
    fn admit(
        &self,
        shared: &Shared,
        capability: &LeaseCapability,
        presenter: NodeId,
    ) -> Result<Opened, AdmitError> {
        let lease = capability.subject().lease;
        // Held to the end: no block that ends the lease comes in between.
        let state = shared.state();
        let (clock, now_ms) = (self.clock(), shared.now_ms());
        let record = state.view.lease(&lease)?;
        let term = record.map(|record| {
            let term = LeaseTerm::new(record.expires_ms, clock);
            (record, term)
        });
        let live = term.filter(|(_, term)| !term.is_over(now_ms));
        let facts = CapabilityFacts {
            fabric: shared.fabric,
            host: shared.node,
            presenter,
            ledger_ms: clock.latest_ms(now_ms),
            lease: live.as_ref().map(|(record, _)| LeaseFact {
                asset: record.asset,
                holder: record.holder,
            }),
            revoked: &|id| {
                self.regions.is_revoked(&lease, id) || self.volumes.tenants().is_revoked(&lease, id)
            },
        };
        capability.verify(&facts)?;
        let no_lease = CapabilityRefusal::NoLease(lease);
        let (record, term) = live.ok_or_else(|| no_lease.clone())?;
        let scope = *capability.scope().ok_or_else(|| no_lease.clone())?;
        let asset = state.view.asset(&record.asset)?;
        // The ledger may say another host than the capability does.
        let asset = asset.filter(|asset| asset.host == shared.node);
        let asset = asset.ok_or(no_lease)?;
        // What was promised stays promised where less is shared by now.
        let leased = state.view.leases_of(&record.asset)?;
        let leased = leased.leased(state.view.time_ms());
        let limit = Amount(leased.0.max(asset.shared().0));
        let block_ms = state.view.time_ms();
        self.opened(shared, capability, (&record, limit, scope), term, block_ms)
    }

    /// What a live lease of this node opens, used within `limit` and `scope`.
    fn opened(
        &self,
        shared: &Shared,
        capability: &LeaseCapability,
        (record, limit, scope): (&LeaseRecord, Amount, RegionScope),
        term: LeaseTerm,
        block_ms: u64,
    ) -> Result<Opened, AdmitError> {
        let (lease, now_ms) = (capability.subject().lease, shared.now_ms());
        let (ids, is_root) = (capability.ids().into(), capability.is_root());
        match record.asset.asset_type() {
            AssetType::Memory => {
                let opened = self.regions.open(lease, record.amount, limit, term, now_ms);
                let region = opened?;
                self.added.notify_one();
                let access = RegionAccess::new(region, scope, ids, is_root);
                Ok(Opened::Region(access))
            }
            AssetType::Cpu => {
                let millicores = u32::try_from(record.amount.0).unwrap_or(u32::MAX);
                let share = || Arc::new(CpuShare::new(millicores, std::time::Instant::now()));
                let amounts = (record.amount, limit);
                let opened = self.cpus.open(lease, amounts, term, now_ms, share);
                let tenancy = opened?;
                self.added.notify_one();
                Ok(Opened::Cpu(tenancy))
            }
            AssetType::Network => {
                let link = || Link::new(record.amount.0, std::time::Instant::now());
                let amounts = (record.amount, limit);
                let opened = self.links.open(lease, amounts, term, now_ms, link);
                let tenancy = opened?;
                self.added.notify_one();
                Ok(Opened::Link(tenancy))
            }
            AssetType::Storage => {
                let bytes = (record.amount, limit);
                let kept = self.volumes.member(lease, bytes, term, now_ms, block_ms);
                let member = kept?;
                self.added.notify_one();
                let started = shared.started;
                let now: Now = Arc::new(move || elapsed_ms(started));
                let access = MemberAccess::new(member, scope, ids, is_root, now);
                Ok(Opened::Member(access))
            }
            asset_type => Err(AdmitError::Type { lease, asset_type }),
        }
    }
}

/// What `capability` opens on this node, shown by `presenter`; waits a little for a lease that is not
/// known here yet.
///
/// # Errors
/// [`AdmitError`].
pub(crate) async fn admitted(
    shared: &Shared,
    capability: &LeaseCapability,
    presenter: NodeId,
) -> Result<Opened, AdmitError> {
    let mut revision = shared.revision.subscribe();
    let deadline = Instant::now() + LEASE_PATIENCE;
    loop {
        revision.mark_unchanged();
        let admitted = shared.memory.admit(shared, capability, presenter);
        match admitted {
            Err(early) if early.is_early() => {
                let changed = timeout_at(deadline, revision.changed()).await;
                if !matches!(changed, Ok(Ok(()))) {
                    return Err(early);
                }
            }
            decided => return decided,
        }
    }
}

/// Ends what is leased by this node's own clock, until `stop`.
pub(crate) async fn end_in_time(shared: Arc<Shared>, stop: CancellationToken) {
    let memory = &shared.memory;
    loop {
        let due = memory.next_timeout_ms();
        let due = due.map(|at| Instant::from_std(shared.started + Duration::from_millis(at)));
        let rings = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = memory.added.notified() => {}
            () = rings => memory.end_over(shared.now_ms()),
        }
    }
}

fn wiped(ended: &[LeaseId]) {
    for lease in ended {
        tracing::info!(lease = %lease.short(), "what was kept for this lease ended and was wiped");
    }
}

fn ended(ended: &[LeaseId]) {
    for lease in ended {
        tracing::info!(lease = %lease.short(), "what this lease was used for has ended");
    }
}
