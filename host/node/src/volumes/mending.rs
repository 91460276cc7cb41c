//! Members that are gone, and others in their places. Knows not what they keep.

use std::sync::{Arc, Weak};
use std::time::Duration;

use assets::MemberRequest;
use assets::volume::{MemberError, MemberOp, Repair};
use runtime::{VolumeError, VolumeRepaired};
use tokio::time::Instant;

use super::errors::not_filed;
use super::volume::GuestVolume;

/// Pause between two looks at the members of a volume.
const LOOK_PAUSE: Duration = Duration::from_secs(5);
/// How long a member is away before another one takes its place: a node that starts again is back by then,
/// and what it missed costs less than all that it has.
const GONE_AFTER: Duration = Duration::from_secs(60);

impl GuestVolume {
    /// The places of members that do not answer, or have lost what they kept.
    async fn gone(&self) -> Vec<usize> {
        let usage = || MemberRequest::Ask(MemberOp::Usage);
        let answers = self.asked(|_| Some(usage())).await;
        let gone = answers.into_iter().enumerate().filter(|(_, answer)| {
            matches!(
                answer,
                Err(MemberError::Lost(_) | MemberError::Ended | MemberError::Disk(_))
            )
        });
        gone.map(|(index, _)| index).collect()
    }

    /// Replaces the members that are gone, as far as this handle leases, and gives all what they miss.
    pub(super) async fn repaired(&self) -> Result<VolumeRepaired, VolumeError> {
        let gone = self.gone().await;
        self.mended(&gone).await
    }

    async fn mended(&self, gone: &[usize]) -> Result<VolumeRepaired, VolumeError> {
        let _mending = self.mending.lock().await;
        let files = self.writes().await?;
        let mut replaced = 0;
        if self.layout.total() > 1 {
            for index in gone {
                replaced += u32::from(self.replaced(*index).await?);
            }
        }
        let mut repair = Repair::new();
        while !repair.is_over() {
            let stepped = files.repair_step(&mut repair).await;
            stepped.map_err(|error| not_filed(&error))?;
        }
        let done = repair.repaired();
        if done.missed.is_empty() {
            self.all_whole();
        }
        Ok(VolumeRepaired {
            members: replaced,
            blocks: done.blocks,
            pieces: done.pieces + done.rewritten * self.layout.total() as u64,
            lost: done.lost,
        })
    }

    /// Leases another member for a place; whether this handle is one that leases.
    async fn replaced(&self, index: usize) -> Result<bool, VolumeError> {
        let mut held = self.members().held.clone();
        let Some(before) = held.get_mut(index).and_then(Option::take) else {
            return Ok(false);
        };
        let amount = before.lease.record.amount;
        let term_ms = self.term_left_ms();
        let without = [before.lease.host];
        let lease = self
            .volumes
            .lease(self.layout, amount, term_ms, &held, &without);
        self.replace(index, lease.await?).await?;
        Ok(true)
    }

    /// As long as the other leases last, or a minute where they are nearly over.
    fn term_left_ms(&self) -> u64 {
        const TERM_MS_MIN: u64 = 60_000;
        let shared = &self.volumes.shared;
        let state = shared.state();
        let held = self.members().held.clone();
        let ends = held.iter().flatten().filter_map(|held| {
            let record = state.view.lease(&held.lease.lease).ok().flatten();
            record.map(|record| record.expires_ms)
        });
        let last = ends.max().unwrap_or_default();
        last.saturating_sub(state.view.time_ms()).max(TERM_MS_MIN)
    }

    /// Looks after the members for as long as somebody has the volume.
    pub(super) fn mend_by_itself(self: &Arc<Self>) {
        if self.layout.total() > 1 {
            tokio::spawn(mend(Arc::downgrade(self)));
        }
    }
}

async fn mend(volume: Weak<GuestVolume>) {
    let mut away_since: Vec<Option<Instant>> = Vec::new();
    loop {
        tokio::time::sleep(LOOK_PAUSE).await;
        let Some(volume) = volume.upgrade() else {
            return;
        };
        let gone = volume.gone().await;
        away_since.resize(volume.layout.total(), None);
        let now = Instant::now();
        let mut late = Vec::new();
        for (index, since) in away_since.iter_mut().enumerate() {
            *since = gone.contains(&index).then(|| since.unwrap_or(now));
            if since.is_some_and(|since| now - since >= GONE_AFTER) {
                late.push(index);
            }
        }
        // Who writes is not to be interrupted by who does not.
        if late.is_empty() || !volume.is_writer().await {
            continue;
        }
        match volume.mended(&late).await {
            Ok(done) => {
                let (members, pieces) = (done.members, done.pieces);
                tracing::info!(
                    members,
                    pieces,
                    "gave a volume other members for those that are gone"
                );
            }
            Err(error) => tracing::debug!("a volume is not repaired yet: {error}"),
        }
    }
}
