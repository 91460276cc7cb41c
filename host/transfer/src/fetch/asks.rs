//! Whom a fetch asks next, and for what. What answers mean is decided above.

use std::collections::BTreeSet;
use std::ops::Range;

use storage::GroupSet;
use types::NodeId;

use super::Fetch;
use super::peers::{Ask, Peer, Purpose};
use crate::bounds::{POLLS_MAX, REQUEST_GROUPS_MAX};
use crate::fetch_types::{AskId, Effect, PeerFailure};
use crate::wire::{GroupSpan, Wanted};

impl Fetch {
    pub(super) fn ask_for_size(&mut self) {
        let busy: BTreeSet<NodeId> = self.asks.values().map(|ask| ask.peer).collect();
        for peer in self.ready() {
            if !busy.contains(&peer) {
                self.ask(peer, Purpose::Size, GroupSet::new());
            }
        }
    }

    /// One request to each in turn, until all have enough or nothing is missing.
    pub(super) fn ask_for_groups(&mut self) {
        let mut asked = true;
        while asked {
            asked = false;
            for id in self.ready() {
                let in_flight = self.in_flight(id);
                let Some(peer) = self.peers.get(&id) else {
                    continue;
                };
                if in_flight >= peer.asks_max() {
                    continue;
                }
                if let Some(groups) = useful(peer, &self.missing) {
                    self.missing.remove(&groups);
                    self.ask(id, Purpose::Groups, groups.into());
                    asked = true;
                }
            }
        }
    }

    /// Those without a request: for what others owe for long, or whether they got more.
    pub(super) fn ask_the_idle(&mut self, total: u64) {
        for id in self.ready() {
            if self.in_flight(id) > 0 {
                continue;
            }
            let hedge = self.hedge(id);
            let Some(peer) = self.peers.get_mut(&id) else {
                continue;
            };
            if let Some(groups) = hedge {
                self.ask(id, Purpose::Groups, groups.into());
                continue;
            }
            if self
                .asks
                .values()
                .any(|ask| useful(peer, &ask.left).is_some())
            {
                continue;
            }
            if !peer.poll_next {
                peer.poll_next = true;
                peer.not_before = Some(self.now + self.patience.pause);
            } else if peer.polls < POLLS_MAX {
                peer.poll_next = false;
                peer.polls += 1;
                self.ask(id, Purpose::Poll, GroupSet::new());
            } else {
                let groups = total - self.stored.count();
                self.drop_peer(id, PeerFailure::Lacks { groups });
            }
        }
    }

    /// What `id` can be asked for of what one other peer alone has owed for long.
    fn hedge(&self, id: NodeId) -> Option<Range<u64>> {
        let peer = self.peers.get(&id)?;
        let mut late: Vec<_> = self
            .asks
            .iter()
            .filter(|(_, ask)| ask.asked_at + self.patience.hedge_after <= self.now)
            .collect();
        late.sort_by_key(|(_, ask)| ask.asked_at);
        late.into_iter().find_map(|(late_id, late)| {
            let mut left = late.left.clone();
            for (_, other) in self.asks.iter().filter(|(other, _)| *other != late_id) {
                other
                    .left
                    .ranges()
                    .iter()
                    .for_each(|range| left.remove(range));
            }
            useful(peer, &left)
        })
    }

    fn ready(&self) -> Vec<NodeId> {
        let ready = self.peers.iter().filter(|(_, peer)| peer.is_ready());
        ready.map(|(id, _)| *id).collect()
    }

    fn in_flight(&self, peer: NodeId) -> usize {
        self.asks.values().filter(|ask| ask.peer == peer).count()
    }

    fn ask(&mut self, peer: NodeId, purpose: Purpose, groups: GroupSet) {
        let ask = AskId(self.asks_made);
        self.asks_made += 1;
        let wanted = match purpose {
            Purpose::Size => Wanted::Last,
            Purpose::Groups | Purpose::Poll => Wanted::Groups(GroupSpan::of_set(&groups)),
        };
        let record = Ask {
            peer,
            purpose,
            coming: groups.clone(),
            left: groups,
            asked_at: self.now,
            heard_at: self.now,
        };
        self.asks.insert(ask, record);
        self.effects.push_back(Effect::Ask { ask, peer, wanted });
    }
}

/// What to ask `peer` for of `groups` in one request.
fn useful(peer: &Peer, groups: &GroupSet) -> Option<Range<u64>> {
    let count = u64::from(peer.pace.groups.get()).min(REQUEST_GROUPS_MAX);
    match &peer.has {
        Some(has) => groups.first_common(has, count),
        None => groups.first_common(groups, count),
    }
}
