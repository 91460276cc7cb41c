//! What the processes of nodes make of their streams: the state that they lead to, and what each
//! node believes that it holds by it. Starts and ends no process.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use consensus::{Finalized, Snapshot, StartError};
use ledger::View;
use tokio::sync::{mpsc, oneshot};
use types::LeaseId;

use super::{Fleet, Node};
use crate::event::Event;
use crate::holder::{Change, MonotonicClock};

impl Fleet {
    /// Times that another held what one at a time may hold than the one before.
    pub(crate) fn handovers(&self) -> u64 {
        self.handovers.load(Ordering::Relaxed)
    }

    /// What a node's wall clock shows, Unix milliseconds.
    pub(crate) fn wall_ms(&self, number: usize) -> u64 {
        let at_ms = self.world.now_ms();
        self.lock(number)
            .map_or(at_ms, |node| node.machine.shown_ms(at_ms))
    }

    /// Follows a process from the state with which it starts, for as long as it runs.
    pub(super) fn follow_from_start(
        self: &Arc<Self>,
        number: usize,
        boot: u64,
        started: oneshot::Receiver<Result<Snapshot, StartError>>,
        stream: mpsc::Receiver<Finalized>,
    ) {
        let fleet = self.clone();
        self.world.spawn(move |_| async move {
            match started.await {
                Ok(Ok(snapshot)) => {
                    fleet.show(&Event::Started {
                        node: number,
                        height: snapshot.height,
                        state_root: snapshot.state_root,
                    });
                    let (height, time_ms) = (snapshot.height, snapshot.time_ms);
                    let view = View::new(height, time_ms, snapshot.entries);
                    fleet.follow(number, boot, |known| *known = Some(view));
                    fleet.read(number, boot, stream).await;
                }
                Ok(Err(error)) => fleet.show(&Event::NotStarted {
                    node: number,
                    reason: error.to_string(),
                }),
                // Its power was cut, or its ledger closed, which `look` sees.
                Err(_) => {}
            }
        });
    }

    async fn read(&self, node: usize, boot: u64, mut stream: mpsc::Receiver<Finalized>) {
        while let Some(item) = stream.recv().await {
            match item {
                Finalized::Block(block) => {
                    self.show(&Event::Block {
                        node,
                        block: &block,
                    });
                    self.follow(node, boot, |view| match view {
                        Some(view) if view.height() + 1 == block.height => {
                            view.advance(block.height, block.time_ms, block.changes);
                        }
                        // A gap, to which a checker objects.
                        _ => {}
                    });
                }
                Finalized::State(state) => {
                    self.taken_over.fetch_add(1, Ordering::Relaxed);
                    self.show(&Event::TookOver {
                        node,
                        height: state.height,
                        time_ms: state.time_ms,
                        state_root: state.state_root,
                    });
                    let (height, time_ms) = (state.height, state.time_ms);
                    let view = View::new(height, time_ms, state.entries);
                    self.follow(node, boot, |known| *known = Some(view));
                }
            }
        }
    }

    /// A process of a node goes on to another state: shows it to the checkers and to the holder.
    fn follow(&self, number: usize, boot: u64, change: impl FnOnce(&mut Option<View>)) {
        let Some(mut node) = self.lock(number) else {
            return;
        };
        let Node { up, given_back, .. } = &mut *node;
        let Some(up) = up.as_mut().filter(|up| up.boot == boot) else {
            return;
        };
        change(&mut up.view);
        let Some(view) = &up.view else { return };
        if self.scenario.is_honest(number) {
            let at_ms = self.world.now_ms();
            self.watch.see(&Event::State {
                node: number,
                view,
                at_ms,
            });
            let now_ms = self.monotonic(number).shown_ms(at_ms);
            let changes = up.holder.note_state(view, given_back, now_ms);
            self.tell(number, &changes);
        }
    }

    /// Lets a node look at its own clock, and says when it is to look again at the latest.
    pub(crate) fn tick_holder(&self, number: usize) {
        let now_ms = self.monotonic(number).shown_ms(self.world.now_ms());
        let Some(mut node) = self.lock(number) else {
            return;
        };
        if let Some(up) = &mut node.up {
            let changes = up.holder.tick(now_ms);
            self.tell(number, &changes);
        }
    }

    /// A node stops using a lease for good, before it gives it back.
    pub(crate) fn give_back(&self, number: usize, lease: LeaseId) {
        let Some(mut node) = self.lock(number) else {
            return;
        };
        node.given_back.insert(lease);
        if let Some(up) = &mut node.up {
            let changes = up.holder.let_go(lease);
            self.tell(number, &changes);
        }
    }

    pub(super) fn tell(&self, node: usize, changes: &[Change]) {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            if let Change::Starts(asset) = change
                && holders
                    .insert(*asset, node)
                    .is_some_and(|last| last != node)
            {
                self.handovers.fetch_add(1, Ordering::Relaxed);
            }
            self.watch.see(&match change {
                Change::Starts(asset) => Event::Holds {
                    node,
                    asset: *asset,
                },
                Change::Stops(asset) => Event::LetsGo {
                    node,
                    asset: *asset,
                },
            });
        }
    }

    pub(super) fn monotonic(&self, number: usize) -> MonotonicClock {
        MonotonicClock::drawn(self.scenario.seed, number)
    }

    /// What a node that has started shows of its state.
    pub(crate) fn view<T>(&self, number: usize, look: impl FnOnce(&View) -> T) -> Option<T> {
        let node = self.lock(number)?;
        node.up.as_ref()?.view.as_ref().map(look)
    }
}
