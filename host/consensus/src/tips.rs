//! Who has which final block: announces this node's last one with its certificate, and takes the
//! announcements of peers. A follower hands what holds to the engine, which fetches the block and
//! everything below it. Never fetches and never executes.
//!
//! An announcement, on [`Channel::Tip`]:
//! ```text
//! version (1) | fabric (32) | height (varint) | kept from (varint) | certificate of finality
//! ```
//! The certificate makes a lie cost one check of signatures and a block of the peer, instead of a
//! question after a block that nobody has. Only the height is the peer's word: it is at most the
//! certificate's round, and it is compared as soon as the block itself is here.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use commonware_codec::varint::UInt;
use commonware_codec::{Encode as _, Error as CodecError, Read as _, ReadExt as _, Write as _};
use commonware_consensus::marshal::Identifier;
use commonware_consensus::marshal::core::Mailbox as MarshalMailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Certificate as Proven, Finalization};
use commonware_consensus::types::Height;
use commonware_consensus::{Epochable as _, Reporter as _, Viewable as _};
use commonware_cryptography::certificate::Verifier as _;
use commonware_parallel::Sequential;
use commonware_utils::vec::NonEmptyVec;
use rand_core::CryptoRng;
use tokio::sync::Notify;
use types::{FabricId, NodeId};

use crate::ballots::of_epoch;
use crate::blame::Blame;
use crate::block::{Block, Digest};
use crate::config::engine_key;
use crate::epochs::Epochs;
use crate::handle::Shared;
use crate::links::{Channel, Wires};
use crate::wanted::{Claim, Wanted};

/// First byte of every announcement.
const VERSION: u8 = 1;
/// Pause between announcements of an idle ledger: a lost one is made good, and a block that came
/// over another way is noticed.
const REPEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Least pause between announcements of a busy ledger: what comes in between, the next one covers.
const ANNOUNCE_PAUSE: Duration = Duration::from_millis(5);
/// Pause between looks whether wanted blocks are here.
const WANTED_LOOK: Duration = Duration::from_millis(100);

type Certificate = Finalization<Scheme, Digest>;
type Marshal = MarshalMailbox<Scheme, Standard<Block>>;

/// What the peers last announced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    tips: BTreeMap<NodeId, PeerTip>,
}

/// One peer's last announcement that held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerTip {
    pub(crate) height: u64,
    pub(crate) kept_from: u64,
}

impl Heard {
    /// The highest block announced, and by how many peers.
    pub(crate) fn highest(&self) -> Option<(u64, usize)> {
        let height = self.tips.values().map(|tip| tip.height).max()?;
        let peers = self.tips.values().filter(|tip| tip.height == height);
        Some((height, peers.count()))
    }

    /// What each announced last.
    pub(crate) fn heights(&self) -> Vec<(NodeId, u64)> {
        let tips = self.tips.iter();
        tips.map(|(peer, tip)| (*peer, tip.height)).collect()
    }

    /// The lowest block that any peer keeps.
    pub(crate) fn kept_from(&self) -> Option<u64> {
        self.tips.values().map(|tip| tip.kept_from).min()
    }
}

/// An announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Announcement {
    height: u64,
    kept_from: u64,
    certificate: Certificate,
}

impl Announcement {
    fn encode(&self, fabric: &FabricId) -> Bytes {
        let mut bytes = BytesMut::new();
        VERSION.write(&mut bytes);
        fabric.as_bytes().write(&mut bytes);
        UInt(self.height).write(&mut bytes);
        UInt(self.kept_from).write(&mut bytes);
        bytes.extend_from_slice(&self.certificate.encode());
        bytes.freeze()
    }

    /// The announcement in `bytes`, or why its sender is to blame.
    fn decode(mut bytes: Bytes, ours: &FabricId) -> Result<Self, Blame> {
        const MALFORMED: Blame = Blame::Malformed {
            channel: Channel::Tip,
        };
        let fabric = Self::decode_fabric(&mut bytes).map_err(|_| MALFORMED)?;
        if fabric != *ours {
            return Err(Blame::OtherFabric {
                theirs: fabric,
                ours: *ours,
            });
        }
        Self::decode_rest(&mut bytes).map_err(|_| MALFORMED)
    }

    fn decode_fabric(bytes: &mut Bytes) -> Result<FabricId, CodecError> {
        let version = u8::read(bytes)?;
        if version != VERSION {
            return Err(CodecError::InvalidEnum(version));
        }
        Ok(FabricId::from_bytes(<[u8; 32]>::read(bytes)?))
    }

    fn decode_rest(bytes: &mut Bytes) -> Result<Self, CodecError> {
        let height = UInt::read(bytes)?.into();
        let kept_from = UInt::read(bytes)?.into();
        // The message is short, which bounds the certificate: who must have signed it is asked later.
        let config = Scheme::certificate_codec_config_unbounded();
        let certificate = Certificate::read_cfg(bytes, &config)?;
        if bytes.has_remaining() {
            return Err(CodecError::ExtraData(bytes.remaining()));
        }
        Ok(Self {
            height,
            kept_from,
            certificate,
        })
    }
}

/// An announcement, decoded and encoded again; none if the bytes are none of `ours`.
pub(crate) fn decoded_again(bytes: Bytes, ours: &FabricId) -> Option<Vec<u8>> {
    let announcement = Announcement::decode(bytes, ours).ok()?;
    Some(announcement.encode(ours).to_vec())
}

/// Announces and listens for one run of the engine.
pub(crate) struct Tips {
    pub(crate) shared: Arc<Shared>,
    pub(crate) wires: Arc<Wires>,
    pub(crate) epochs: Epochs,
    pub(crate) marshal: Marshal,
    pub(crate) behind: Behind,
    /// The lowest block that was there at the start.
    pub(crate) kept_from: Option<u64>,
}

/// Peers that announced less than this node has: they were told before they were started again,
/// or what they were told was lost.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    peers: Mutex<BTreeSet<NodeId>>,
    arrived: Notify,
}

impl Behind {
    fn add(&self, peer: NodeId) {
        self.lock().insert(peer);
        self.arrived.notify_one();
    }

    fn take(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut *self.lock())
    }

    /// The set is whole between any two statements, so a panic elsewhere leaves it sound.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tips {
    /// Announces this node's last final block whenever it or the members change, for ever.
    pub(crate) async fn announce(&self) {
        let mut tip = self.shared.tip.subscribe();
        let mut members = self.wires.members.clone();
        let mut told = BTreeSet::new();
        let mut before = BTreeSet::new();
        let mut last: Option<Announcement> = None;
        loop {
            let height = tip.borrow_and_update().height;
            // Told of a change though the names are the same: one of them began a session anew, and
            // with it perhaps everything.
            let anew = members.has_changed().unwrap_or_default();
            let present = members.borrow_and_update().clone();
            if anew && present == before {
                told.clear();
            }
            before.clone_from(&present);
            let behind = self.behind.take();
            told.retain(|peer| present.contains(peer) && !behind.contains(peer));
            if let Some(next) = self.announcement(height).await
                && last.as_ref() != Some(&next)
            {
                told.clear();
                last = Some(next);
            }
            if let Some(announcement) = &last {
                let bytes = announcement.encode(&self.shared.fabric);
                for peer in self.wires.peers().difference(&told) {
                    self.wires.send(*peer, Channel::Tip, bytes.clone(), true);
                }
                told = present;
            }
            self.wires.time.sleep(ANNOUNCE_PAUSE).await;
            // A copy: `members` is to notice the change in the next turn.
            let mut members_change = members.clone();
            tokio::select! {
                biased;
                changed = tip.changed() => if changed.is_err() { pending().await },
                changed = members_change.changed() => if changed.is_err() { pending().await },
                () = self.behind.arrived.notified() => {}
                () = self.wires.time.sleep(REPEAT_INTERVAL) => told.clear(),
            }
        }
    }

    /// The announcement of the final block at `height`, if it has a certificate of its own.
    async fn announcement(&self, height: u64) -> Option<Announcement> {
        let certificate = self.marshal.get_finalization(Height::new(height)).await?;
        Some(Announcement {
            height,
            kept_from: self
                .kept_from
                .max(Some(self.shared.retention.kept_from(height)))?,
            certificate,
        })
    }

    /// Takes the announcements of peers, for ever.
    pub(crate) async fn hear(&self, mut entropy: impl CryptoRng) {
        let mut members = self.wires.members.clone();
        let mut blocked = self.wires.blocklist.watch();
        let mut wanted = Wanted::default();
        let mut office = self.shared.office.subscribe();
        let mut ahead = self.shared.ahead.arrived.subscribe();
        let mut executes = self.shared.executes.subscribe();
        // What peers said to the run before.
        self.catch_up(&mut wanted, &mut entropy);
        loop {
            let look = async {
                if wanted.is_idle() {
                    pending().await
                } else {
                    self.wires.time.sleep(WANTED_LOOK).await;
                }
            };
            let left = async {
                tokio::select! {
                    biased;
                    changed = members.changed() => if changed.is_err() { pending().await },
                    changed = blocked.changed() => if changed.is_err() { pending().await },
                }
            };
            let news = async {
                tokio::select! {
                    biased;
                    changed = ahead.changed() => if changed.is_err() { pending().await },
                    // Who was ahead by one epoch may be ahead by more.
                    changed = office.changed() => if changed.is_err() { pending().await },
                    changed = executes.changed() => if changed.is_err() { pending().await },
                }
            };
            tokio::select! {
                biased;
                () = left => {
                    self.forget_those_who_left(&mut wanted);
                    self.shared.ahead.retain(&self.wires.peers());
                }
                announced = self.wires.inbox(Channel::Tip).pop() => match announced {
                    Some((peer, bytes)) => {
                        self.take(peer, bytes, &mut wanted, &mut entropy);
                        // A signature was checked: others who share this thread have their turn.
                        tokio::task::yield_now().await;
                    }
                    None => pending().await,
                },
                () = look => {}
                () = news => self.catch_up(&mut wanted, &mut entropy),
            }
            self.compare(&mut wanted).await;
            self.want(&mut wanted);
        }
    }

    fn forget_those_who_left(&self, wanted: &mut Wanted) {
        let present = self.wires.peers();
        wanted
            .open
            .retain(|(claim, _)| present.contains(&claim.peer));
        self.shared
            .heard
            .send_modify(|heard| heard.tips.retain(|peer, _| present.contains(peer)));
    }

    /// Checks one announcement and remembers it, or blames its sender.
    fn take(&self, peer: NodeId, bytes: Bytes, wanted: &mut Wanted, entropy: &mut impl CryptoRng) {
        let known = self.shared.heard.borrow().tips.get(&peer).copied();
        let announcement = match Announcement::decode(bytes.clone(), &self.shared.fabric) {
            Ok(announcement) => announcement,
            Err(blame) => return self.wires.blocklist.block(peer, blame),
        };
        let Announcement {
            height,
            kept_from,
            certificate,
        } = announcement;
        if height < self.shared.tip.borrow().height && known.is_none_or(|it| height <= it.height) {
            // It says nothing newer than before: one that makes progress needs no telling. One that
            // says so for the first time may not have been able to check what it was told.
            self.behind.add(peer);
        }
        let (epoch, view) = (certificate.epoch().get(), certificate.view().get());
        if epoch > self.epochs.latest() {
            // Whose signatures it needs is said by a block that is not here yet.
            return self.shared.ahead.announced(peer, epoch, bytes);
        }
        // What is known to hold need not be checked again, whoever says it.
        let proven = wanted.newest.as_ref().map(|newest| &newest.certificate) == Some(&certificate);
        let tip = PeerTip { height, kept_from };
        if proven && known == Some(tip) {
            return;
        }
        let holds = proven
            || self.epochs.containing(height) == epoch
                && height <= self.epochs.base(epoch).saturating_add(view)
                && self.signed(&certificate, entropy);
        if !holds {
            return self.wires.blocklist.block(peer, Blame::FalseTip { height });
        }
        if known.is_some_and(|known| known.height > height) || !self.wires.reaches(&peer) {
            // An older one that was overtaken, or of a peer that left.
            return;
        }
        self.shared.heard.send_modify(|heard| {
            heard.tips.insert(peer, tip);
        });
        self.shared.rules.heard(height);
        let claim = Claim {
            peer,
            height,
            certificate,
        };
        wanted.offer(claim, self.wires.time.now());
    }

    /// Whether the validators of its epoch signed a certificate.
    fn signed(&self, certificate: &Certificate, entropy: &mut impl CryptoRng) -> bool {
        let committee = self.epochs.committee(certificate.epoch().get());
        certificate.verify(entropy, committee.scheme.as_ref(), &Sequential)
    }

    /// Checks what could not be checked before, and asks those who are in a later epoch for the end
    /// of this one.
    fn catch_up(&self, wanted: &mut Wanted, entropy: &mut impl CryptoRng) {
        let epoch = self.epochs.latest();
        for (peer, announcement) in self.shared.ahead.due(epoch) {
            self.take(peer, announcement, wanted, entropy);
        }
        let last = Height::new(self.epochs.last(epoch));
        let ahead = self.shared.ahead.of(epoch);
        let mut spoke = self.shared.ahead.all().into_iter();
        if spoke.any(|(_, epoch)| self.is_held_back(self.epochs.base(epoch))) {
            return;
        }
        for peer in ahead.iter().filter_map(engine_key) {
            self.marshal.hint_finalized(last, NonEmptyVec::new(peer));
        }
    }

    /// Whether what leads to `height` is not to be executed, because a state may take its place.
    fn is_held_back(&self, height: u64) -> bool {
        self.shared.is_too_far(height) && !*self.shared.executes.borrow()
    }

    /// Compares heights that peers claimed with those of the blocks, as far as these are here.
    async fn compare(&self, wanted: &mut Wanted) {
        for claim in wanted.open_claims() {
            let digest = claim.certificate.proposal.payload;
            let known = self.marshal.get_info(Identifier::Digest(digest)).await;
            let Some((height, _)) = known else { continue };
            wanted.settle(&claim);
            if height.get() != claim.height {
                let height = claim.height;
                self.wires
                    .blocklist
                    .block(claim.peer, Blame::FalseTip { height });
            }
        }
    }

    /// Asks the engine for the newest block announced, if there is room.
    fn want(&self, wanted: &mut Wanted) {
        if self.shared.votes_alone() {
            // Its own votes made the block final.
            return;
        }
        let newest = wanted.newest.as_ref();
        if newest.is_some_and(|newest| self.is_held_back(self.epochs.end_before(newest.height))) {
            return;
        }
        if let Some(Claim {
            peer, certificate, ..
        }) = wanted.next(self.wires.time.now())
        {
            let (epoch, view) = (certificate.epoch().get(), certificate.view().get());
            let missed = self.shared.rounds.borrow().final_round() < (epoch, view);
            if missed && self.wires.may_vote(&peer) {
                // Agreement has missed it: an idle fabric says nothing about it again.
                let message = Proven::Finalization(certificate.clone()).encode();
                let message = of_epoch(epoch, &message);
                let inbox = self.wires.inbox(Channel::Certificates);
                // What does not fit now comes with the next announcement.
                let _ = inbox.push(peer, message.len(), message, false);
            }
            self.shared
                .rounds
                .send_modify(|rounds| rounds.finalized(epoch, view));
            let mut marshal = self.marshal.clone();
            let _ = marshal.report(Activity::Finalization(certificate));
        }
    }
}
