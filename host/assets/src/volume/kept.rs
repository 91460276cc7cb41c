//! Members that this node keeps, one for each lease: asked in order, on threads that may block. Knows
//! no session, and no ledger but for the terms that it is told.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use types::{Amount, Digest, LeaseId, RegionScope};

use super::revoked::{read_revoked, write_revoked};
use super::store::{OpenStoreError, Store, made_ms};
use super::{Member, MemberAsked, MemberDone, MemberError, MemberOp, MemberUsage};
use crate::tenants::{OpenTenantError, Tenant, Tenants};
use crate::tenure::{Grant, NotRevoked, Tenure, Unusable};
use crate::term::LeaseTerm;

/// What may wait for one member: each of the streams that one node has, and each holds one operation.
const WAITING_MAX: usize = 512;

/// Monotonic milliseconds, by which terms are counted.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The members that this node keeps, in folders of one folder.
pub struct Volumes {
    folder: PathBuf,
    /// Members end on threads that are none of its own.
    runtime: Handle,
    tenants: Tenants<KeptMember>,
    /// Folders of a process before this one, for leases that nobody has asked for yet.
    found: Mutex<BTreeSet<LeaseId>>,
}

/// One member of a volume, kept for a lease.
pub struct KeptMember {
    lease: LeaseId,
    bytes: u64,
    made_ms: u64,
    folder: PathBuf,
    runtime: Handle,
    tenure: Mutex<Tenure>,
    waiting: Mutex<Waiting>,
}

/// A member as one capability lets it be asked. Clones are the same.
#[derive(Clone)]
pub struct MemberAccess {
    member: Arc<KeptMember>,
    grant: Grant,
    now: Now,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// With whoever works; here while nobody does.
    store: Option<Kept>,
    works: bool,
}

/// What is kept, as far as it is known.
enum Kept {
    Open(Box<Store>),
    Refused(String),
    Gone,
}

/// What makes a job of where its answer goes.
type Begin = Box<dyn FnOnce(Answering) -> Job>;
/// Where the answer to a job goes.
type Answering = oneshot::Sender<Result<MemberDone, MemberError>>;

enum Job {
    Ask {
        operation: MemberOp,
        left_ms: u64,
        answer: Answering,
    },
    Revoked {
        revoked: BTreeSet<Digest>,
        answer: Answering,
    },
    Wipe,
}

impl fmt::Debug for Volumes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Volumes").field(&self.folder).finish()
    }
}

impl fmt::Debug for KeptMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptMember").field(&self.lease).finish()
    }
}

impl fmt::Debug for MemberAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut access = f.debug_struct("MemberAccess");
        access.field("lease", &self.member.lease);
        access.field("scope", &self.grant.scope).finish()
    }
}

impl Volumes {
    /// The members in `folder`, which is made if need be. `runtime` has threads that may block.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path, runtime: Handle) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            // What somebody else put there stays.
            found.extend(name.to_str().and_then(|name| name.parse::<LeaseId>().ok()));
        }
        Ok(Self {
            folder: folder.to_owned(),
            runtime,
            tenants: Tenants::default(),
            found: Mutex::new(found),
        })
    }

    /// The member of `lease`, kept from now on if it is asked for the first time. `block_ms` is the time
    /// of the newest block. All together stay within `limit`, which is what the ledger lets be leased of
    /// this node's storage.
    ///
    /// # Errors
    /// [`OpenTenantError`].
    pub fn member(
        &self,
        lease: LeaseId,
        (bytes, limit): (Amount, Amount),
        term: LeaseTerm,
        now_ms: u64,
        block_ms: u64,
    ) -> Result<Arc<KeptMember>, OpenTenantError> {
        let folder = self.folder.join(lease.to_string());
        self.tenants
            .open_with(lease, (bytes, limit), term, now_ms, || {
                self.found().remove(&lease);
                let mut tenure = Tenure::new(term);
                tenure.revoked = read_revoked(&folder);
                KeptMember {
                    lease,
                    bytes: bytes.0,
                    made_ms: block_ms,
                    folder,
                    runtime: self.runtime.clone(),
                    tenure: Mutex::new(tenure),
                    waiting: Mutex::default(),
                }
            })
    }

    /// Who is kept, for how long.
    #[must_use]
    pub const fn tenants(&self) -> &Tenants<KeptMember> {
        &self.tenants
    }

    /// Takes a block, as [`Tenants::follow`]. What a process before this one kept is wiped, too, where
    /// its lease is over.
    pub fn follow(
        &self,
        block_time_ms: u64,
        now_ms: u64,
        expires: impl Fn(&LeaseId) -> Option<u64>,
    ) -> Vec<LeaseId> {
        let mut ended = self.tenants.follow(block_time_ms, now_ms, &expires);
        let mut found = self.found();
        found.retain(|lease| {
            let folder = self.folder.join(lease.to_string());
            let over = match expires(lease) {
                Some(expires_ms) => expires_ms <= block_time_ms,
                // A ledger that is behind does not know the newest leases yet.
                None => made_ms(&folder).is_none_or(|made_ms| made_ms <= block_time_ms),
            };
            if over {
                self.runtime.spawn_blocking(move || wipe(&folder));
                ended.push(*lease);
            }
            !over
        });
        ended
    }

    fn found(&self) -> MutexGuard<'_, BTreeSet<LeaseId>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant for KeptMember {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn with_tenure<T>(&self, act: impl FnOnce(&mut Tenure) -> T) -> T {
        act(&mut self.tenure())
    }

    fn end(&self) -> bool {
        let ended = self.tenure().end();
        if ended {
            let mut waiting = self.waiting();
            if waiting.works {
                waiting.jobs.push_back(Job::Wipe);
            } else {
                waiting.store = Some(Kept::Gone);
                let folder = self.folder.clone();
                self.runtime.spawn_blocking(move || wipe(&folder));
            }
        }
        ended
    }
}

/// What stays is wiped after the next start.
fn wipe(folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
}

impl KeptMember {
    /// The lease that it is kept for.
    #[must_use]
    pub const fn lease(&self) -> &LeaseId {
        &self.lease
    }

    /// What was leased.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn tenure(&self) -> MutexGuard<'_, Tenure> {
        self.tenure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a job done after those that wait; false if too many do.
    fn begin(self: &Arc<Self>, job: Job) -> bool {
        let mut waiting = self.waiting();
        if waiting.jobs.len() >= WAITING_MAX {
            return false;
        }
        waiting.jobs.push_back(job);
        if !std::mem::replace(&mut waiting.works, true) {
            let member = Arc::clone(self);
            self.runtime.spawn_blocking(move || member.work());
        }
        true
    }

    /// Does what waits, until nothing does.
    fn work(&self) {
        let mut store = self.waiting().store.take();
        loop {
            let job = {
                let mut waiting = self.waiting();
                let Some(job) = waiting.jobs.pop_front() else {
                    waiting.store = store;
                    waiting.works = false;
                    return;
                };
                job
            };
            self.do_job(&mut store, job);
        }
    }

    fn do_job(&self, kept: &mut Option<Kept>, job: Job) {
        match job {
            Job::Wipe => {
                // Closed first.
                *kept = Some(Kept::Gone);
                wipe(&self.folder);
            }
            Job::Ask {
                operation,
                left_ms,
                answer,
            } => {
                let done = match kept.get_or_insert_with(|| self.kept()) {
                    Kept::Open(store) if operation == MemberOp::Usage => {
                        // One that writes no more is to be replaced.
                        store.check_whole().map(|()| {
                            MemberDone::Usage(MemberUsage {
                                bytes: self.bytes,
                                used_bytes: store.used_bytes(),
                                left_ms,
                            })
                        })
                    }
                    Kept::Open(store) => store.apply(operation),
                    Kept::Refused(text) => Err(MemberError::Disk(text.clone())),
                    Kept::Gone => Err(MemberError::Ended),
                };
                // Whoever asked may have given up.
                let _ = answer.send(done);
            }
            Job::Revoked { revoked, answer } => {
                let done = match kept.get_or_insert_with(|| self.kept()) {
                    Kept::Gone => Err(MemberError::Ended),
                    _ => write_revoked(&self.folder, &revoked)
                        .map(|()| MemberDone::Done)
                        .map_err(|error| MemberError::Disk(error.to_string())),
                };
                let _ = answer.send(done);
            }
        }
    }

    fn kept(&self) -> Kept {
        match Store::at(&self.folder, self.lease, self.bytes, self.made_ms) {
            Ok(store) => Kept::Open(Box::new(store)),
            Err(error @ (OpenStoreError::Damaged(_) | OpenStoreError::Entropy)) => {
                Kept::Refused(error.to_string())
            }
            Err(OpenStoreError::Disk(error)) => Kept::Refused(error.to_string()),
        }
    }
}

impl MemberAccess {
    /// Access to `member` within `scope`, by a capability and those that it was made of. The `is_root`
    /// of a member may revoke the others.
    #[must_use]
    pub fn new(
        member: Arc<KeptMember>,
        scope: RegionScope,
        ids: Arc<[Digest]>,
        is_root: bool,
        now: Now,
    ) -> Self {
        let grant = Grant {
            scope,
            ids,
            is_root,
        };
        Self { member, grant, now }
    }

    /// The member.
    #[must_use]
    pub const fn member(&self) -> &Arc<KeptMember> {
        &self.member
    }

    /// Refuses a capability, and what is made of it, from now on; durable when answered.
    pub fn revoke(&self, capability: Digest) -> MemberAsked<'static> {
        let revoked = self.usable(|tenure| {
            let revoked = self.grant.revoke(tenure, capability);
            revoked.map_err(not_revoked)?;
            Ok(tenure.revoked.clone())
        });
        self.answered(revoked.map(|revoked| {
            let job = move |answer| Job::Revoked { revoked, answer };
            Box::new(job) as Begin
        }))
    }

    /// Begins at once: what is asked first is done first.
    fn begin(&self, operation: MemberOp) -> MemberAsked<'static> {
        let usable = self.usable(|tenure| {
            self.check(&operation)?;
            Ok(tenure.term.left_ms((self.now)()))
        });
        self.answered(usable.map(|left_ms| {
            let job = move |answer| Job::Ask {
                operation,
                left_ms,
                answer,
            };
            Box::new(job) as Begin
        }))
    }

    fn usable<T>(
        &self,
        act: impl FnOnce(&mut Tenure) -> Result<T, MemberError>,
    ) -> Result<T, MemberError> {
        let mut tenure = self.member.tenure();
        let usable = self.grant.check(&tenure, (self.now)());
        usable.map_err(|unusable| match unusable {
            Unusable::Ended => MemberError::Ended,
            Unusable::Expired => {
                MemberError::Denied("the capability has expired: ask for a new one".to_owned())
            }
            Unusable::Revoked => MemberError::Denied("the capability was revoked".to_owned()),
        })?;
        act(&mut tenure)
    }

    /// Refuses what the capability does not give. It is for a whole member or for nothing: what is in
    /// which block is not known here.
    fn check(&self, operation: &MemberOp) -> Result<(), MemberError> {
        let (rights, right) = (self.grant.scope.rights, operation.right());
        let whole = self.grant.scope.from == 0 && self.grant.scope.until == u64::MAX;
        if !whole {
            let text = "the capability is for a part: of volumes there are no parts";
            return Err(MemberError::Denied(text.to_owned()));
        }
        if right.is_none_or(|right| rights.has(right)) {
            return Ok(());
        }
        let right = right.map(|right| right.to_string()).unwrap_or_default();
        let text = format!("the capability gives no right to {right}");
        Err(MemberError::Denied(text))
    }

    fn answered(&self, job: Result<Begin, MemberError>) -> MemberAsked<'static> {
        let (answer, answered) = oneshot::channel();
        let begun = job.map(|job| self.member.begin(job(answer)));
        Box::pin(async move {
            if !begun? {
                let text = format!("{WAITING_MAX} operations wait for the member already");
                return Err(MemberError::Invalid(text));
            }
            let lost = || MemberError::Lost("the node is stopping".to_owned());
            answered.await.map_err(|_| lost())?
        })
    }
}

fn not_revoked(error: NotRevoked) -> MemberError {
    match error {
        NotRevoked::NotOwner => {
            MemberError::Denied("only the holder of the lease revokes capabilities".to_owned())
        }
        NotRevoked::RevokesItself => MemberError::Invalid(
            "the volume's own capability is not revoked: give the volume back".to_owned(),
        ),
        NotRevoked::TooMany => MemberError::Invalid(
            "as many capabilities are revoked as can be: give the volume back".to_owned(),
        ),
    }
}

impl Member for MemberAccess {
    fn ask(&self, operation: MemberOp) -> MemberAsked<'_> {
        self.begin(operation)
    }
}
