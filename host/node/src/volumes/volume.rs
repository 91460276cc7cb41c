//! One volume as a guest has it: read by any number, written by one at a time, with its members wherever
//! they are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use assets::MemberRequest;
use assets::volume::{
    BLOCKS_FILE, Files, Layout, Member, MemberDone, MemberError, MemberOp, Seat, Volume as Spread,
    VolumeKey,
};
use futures::future::join_all;
use runtime::{AssetError, VolumeError, VolumeUsage};
use tokio::sync::Mutex as Turn;
use trust::VolumeCapability;

use super::errors::{denied, invalid, lost, not_opened, not_written, of_member};
use super::guest::GuestVolumes;
use super::reach::Reach;
use super::size::volume_bytes;
use crate::memory::asking::Held;

/// A volume that a guest has open.
pub(super) struct GuestVolume {
    pub(super) volumes: Arc<GuestVolumes>,
    pub(super) layout: Layout,
    key: VolumeKey,
    members: Mutex<Members>,
    open: Turn<Open>,
    /// Held while members are replaced: one at a time.
    pub(super) mending: Turn<()>,
}

/// Who has the volume.
#[derive(Clone)]
pub(super) struct Members {
    pub(super) capability: VolumeCapability,
    pub(super) reach: Vec<Option<Arc<Reach>>>,
    /// Whether each has all that it should.
    pub(super) whole: Vec<bool>,
    /// The leases, of one that was allocated.
    pub(super) held: Vec<Option<Arc<Held>>>,
}

enum Open {
    Reads(Arc<Files>),
    Writes(Arc<Files>),
    /// Another one writes.
    Fenced(Arc<Files>, String),
}

impl std::fmt::Debug for GuestVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members = self.members();
        f.debug_tuple("GuestVolume")
            .field(&members.capability)
            .finish()
    }
}

impl GuestVolume {
    pub(super) fn opened(
        volumes: Arc<GuestVolumes>,
        layout: Layout,
        capability: VolumeCapability,
        held: Vec<Option<Arc<Held>>>,
    ) -> Self {
        let key = VolumeKey::from_bytes(*capability.key);
        let reach = capability.members.iter().map(|member| {
            let shared = Arc::clone(&volumes.shared);
            member
                .clone()
                .map(|member| Arc::new(Reach::new(shared, member)))
        });
        let reach: Vec<_> = reach.collect();
        let members = Members {
            whole: vec![true; reach.len()],
            capability,
            reach,
            held,
        };
        let reader = reader(layout, &key, &members);
        Self {
            volumes,
            layout,
            key,
            members: Mutex::new(members),
            open: Turn::new(Open::Reads(reader)),
            mending: Turn::new(()),
        }
    }

    pub(super) fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What each member says to a question.
    pub(super) async fn asked(
        &self,
        request: impl Fn(usize) -> Option<MemberRequest>,
    ) -> Vec<Result<MemberDone, MemberError>> {
        let reach = self.members().reach.clone();
        let asked = reach.into_iter().enumerate().map(|(index, reach)| {
            let request = request(index);
            async move {
                match (reach, request) {
                    (Some(reach), Some(request)) => reach.request(request).await,
                    _ => Err(MemberError::Lost("it has been replaced".to_owned())),
                }
            }
        });
        join_all(asked).await
    }

    /// Whether as many members let it be used as have to.
    pub(super) async fn check(&self) -> Result<(), VolumeError> {
        let usage = || MemberRequest::Ask(MemberOp::Usage);
        let answers = self.asked(|_| Some(usage())).await;
        let needed = self.layout.quorum();
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        if answered >= needed {
            return Ok(());
        }
        let total = self.layout.total();
        let errors: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
        // What a member says for good is a better reason than that another one is away.
        let away = |error: &&MemberError| matches!(error, MemberError::Lost(_));
        let error = errors.iter().find(|error| !away(error)).or(errors.first());
        let silent = MemberError::Lost(String::new());
        let error = error.unwrap_or(&silent);
        let text = format!("{answered} of {total} members answer, {needed} must: {error}");
        Err(of_member(error, text))
    }

    /// The better reason for a failure: that the volume is over, say, or that it may not be used.
    async fn why(&self, error: VolumeError) -> VolumeError {
        if !matches!(error, VolumeError::Asset(AssetError::Lost(_))) {
            return error;
        }
        match self.check().await {
            Err(VolumeError::Asset(AssetError::Lost(_))) | Ok(()) => error,
            Err(better) => better,
        }
    }

    pub(super) async fn reads(&self) -> Arc<Files> {
        match &*self.open.lock().await {
            Open::Reads(files) | Open::Writes(files) | Open::Fenced(files, _) => Arc::clone(files),
        }
    }

    /// The volume to write; from the first time on nobody else writes it.
    pub(super) async fn writes(&self) -> Result<Arc<Files>, VolumeError> {
        let mut open = self.open.lock().await;
        match &*open {
            Open::Writes(files) => return Ok(Arc::clone(files)),
            Open::Fenced(_, text) => return Err(VolumeError::Fenced(text.clone())),
            Open::Reads(_) => {}
        }
        let members = self.members().clone();
        let rights = members.capability.scope().map(|scope| scope.rights);
        if rights.is_some_and(|rights| !rights.write) {
            return Err(denied("the capability gives no right to write"));
        }
        let seats = seats(&members);
        let opened = Spread::open_writer(self.layout, &self.key, seats).await;
        let volume = Arc::new(opened.map_err(|error| not_opened(&error))?);
        let files = Arc::new(Files::new(volume));
        *open = Open::Writes(Arc::clone(&files));
        Ok(files)
    }

    /// The volume to flush: of one that wrote nothing there is nothing to flush.
    pub(super) async fn syncs(&self) -> Result<Arc<Files>, VolumeError> {
        match &*self.open.lock().await {
            Open::Reads(files) | Open::Writes(files) => Ok(Arc::clone(files)),
            Open::Fenced(_, text) => Err(VolumeError::Fenced(text.clone())),
        }
    }

    /// Whether this handle is the one that writes, as far as is known.
    pub(super) async fn is_writer(&self) -> bool {
        matches!(&*self.open.lock().await, Open::Writes(_))
    }

    /// The better reason for a failure; takes note of one that is for good.
    pub(super) async fn noted(&self, error: VolumeError) -> VolumeError {
        let error = self.why(error).await;
        if let VolumeError::Fenced(text) = &error {
            let members = self.members().clone();
            let reader = reader(self.layout, &self.key, &members);
            *self.open.lock().await = Open::Fenced(reader, text.clone());
        }
        error
    }

    /// Puts another member into a place; it has yet to be given what it is to keep.
    pub(super) async fn replace(&self, index: usize, held: Arc<Held>) -> Result<(), VolumeError> {
        let capability = held.lease.capability()?;
        let shared = Arc::clone(&self.volumes.shared);
        let reach = Arc::new(Reach::new(shared, capability.clone()));
        let open = self.open.lock().await;
        {
            let mut members = self.members();
            let Members {
                capability: all,
                reach: reached,
                whole,
                held: leases,
            } = &mut *members;
            let places = (
                all.members.get_mut(index),
                reached.get_mut(index),
                whole.get_mut(index),
                leases.get_mut(index),
            );
            let (Some(member), Some(place), Some(whole), Some(lease)) = places else {
                return Err(invalid("the volume has no such member"));
            };
            *member = Some(capability);
            *place = Some(Arc::clone(&reach));
            *whole = false;
            // The lease before is given back, if there is still one.
            *lease = Some(held);
        }
        let (Open::Reads(files) | Open::Writes(files) | Open::Fenced(files, _)) = &*open;
        files.volume().replace(index, Seat::fresh(reach));
        Ok(())
    }

    /// Takes note that all members have what they should.
    pub(super) fn all_whole(&self) {
        self.members().whole.fill(true);
    }

    pub(super) async fn write_blocks(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let files = self.writes().await?;
        let volume = files.volume();
        let written = volume.write(BLOCKS_FILE, offset, bytes).await;
        match written.map_err(|error| not_written(&error)) {
            // What was flushed frees what it replaced.
            Err(VolumeError::Full(_)) => {
                volume.flush().await.map_err(|error| not_written(&error))?;
                let again = volume.write(BLOCKS_FILE, offset, bytes).await;
                again.map_err(|error| not_written(&error))
            }
            written => written,
        }
    }

    pub(super) async fn usage_now(&self) -> Result<VolumeUsage, VolumeError> {
        let files = self.reads().await;
        let usage = files.volume().usage().await;
        let Some(usage) = usage else {
            return Err(self.why(lost("no member answers")).await);
        };
        let data = self.layout.data() as u64;
        let member_bytes = usage.bytes / data.max(1);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(VolumeUsage {
            bytes: volume_bytes(self.layout, member_bytes),
            used_bytes: usage.used_bytes,
            leased_bytes: member_bytes.saturating_mul(self.layout.total() as u64),
            members: count(self.layout.total()),
            reached: count(usage.answered),
            left_ms: usage.left_ms,
        })
    }

    pub(super) async fn revoke_at_all(
        &self,
        capability: VolumeCapability,
    ) -> Result<(), VolumeError> {
        let own = self.members().capability.clone();
        let pairs = own.members.iter().zip(&capability.members);
        let is_same = pairs.clone().all(|(own, other)| match (own, other) {
            (Some(own), Some(other)) => own.subject() == other.subject(),
            // One of them was replaced since.
            _ => true,
        });
        let ids = capability.ids();
        if !is_same || ids.len() != own.members.len() {
            return Err(invalid("the capability is of another volume"));
        }
        let wanted = ids.iter().flatten().count();
        let answers = self
            .asked(|index| {
                let capability = ids.get(index).copied().flatten()?;
                Some(MemberRequest::Revoke { capability })
            })
            .await;
        let done = answers.iter().filter(|answer| answer.is_ok()).count();
        if done == wanted {
            return Ok(());
        }
        let errors = answers.into_iter().zip(&ids).filter(|(_, id)| id.is_some());
        let error = errors.filter_map(|(answer, _)| answer.err()).next();
        let error = error.unwrap_or_else(|| MemberError::Lost(String::new()));
        let text = format!("{done} of {wanted} members refuse it from now on: {error}");
        Err(of_member(&error, text))
    }

    pub(super) async fn renew_all(&self, term_ms: u64) -> Result<(), VolumeError> {
        let held = self.members().held.clone();
        if held.is_empty() {
            return Err(denied(
                "only the holder of the leases renews them: this volume was opened",
            ));
        }
        for held in held.into_iter().flatten() {
            held.renew(term_ms).await?;
        }
        self.check().await
    }

    pub(super) async fn keep_all(&self) -> Result<String, VolumeError> {
        let _mending = self.mending.lock().await;
        let members = self.members().clone();
        if members.held.is_empty() {
            return Err(denied(
                "only the holder of the leases keeps them: this volume was opened",
            ));
        }
        let held: Vec<_> = members.held.iter().flatten().collect();
        let volumes = Arc::clone(&self.volumes);
        volumes.keep(&held)?;
        Ok(members.shown().to_string())
    }
}

impl Members {
    /// The capability for those that have all that they should.
    pub(super) fn shown(&self) -> VolumeCapability {
        let mut shown = self.capability.clone();
        for (member, whole) in shown.members.iter_mut().zip(&self.whole) {
            if !whole {
                *member = None;
            }
        }
        shown
    }
}

fn seats(members: &Members) -> Vec<Seat> {
    let places = members.reach.iter().zip(&members.whole);
    let seats = places.map(|(reach, whole)| match reach {
        Some(reach) if *whole => Seat::whole(Arc::clone(reach) as Arc<dyn Member>),
        Some(reach) => Seat::fresh(Arc::clone(reach) as Arc<dyn Member>),
        None => Seat::empty(),
    });
    seats.collect()
}

fn reader(layout: Layout, key: &VolumeKey, members: &Members) -> Arc<Files> {
    let reader = Spread::open_reader(layout, key, seats(members));
    // A layout has as many members as its capability: that was checked when it was made of it.
    let reader = reader.unwrap_or_else(|error| unreachable!("{error}"));
    Arc::new(Files::new(Arc::new(reader)))
}
