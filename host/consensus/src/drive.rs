//! One run of the engine, from opening its files to its end; and how a round that a crash cut off
//! is brought to an end. Never knows whose directory it is, nor what blocks contain.

use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use commonware_consensus::marshal::Identifier;
use commonware_consensus::types::Height;
use commonware_runtime::{Clock, Handle, Runner as _, tokio as engine_runtime};
use futures::FutureExt as _;
use futures::future::{Either, select, select_all};
use ledger::{Genesis, StateKey, UnknownRules};

use crate::application::LedgerApplication;
use crate::ballots::of_epoch;
use crate::blame::Blamer;
use crate::block::Block;
use crate::data_dir::{DataDir, votes_partition};
use crate::engine::{EngineRuntime, Files, Foundation, Pace, Parts, lay_foundation};
use crate::epochs::Epochs;
use crate::error::{Closed, StartError};
use crate::exchange::Exchange;
use crate::execution::Executions;
use crate::feed::Feed;
use crate::handle::{Shared, Tip};
use crate::handovers::Handovers;
use crate::links::Channel;
use crate::network::{PeerSet, network};
use crate::observer::Observer;
use crate::pacing::Unsettled;
use crate::runs::{End, Mood, Next, Runs};
use crate::start::{Job, Tell};
use crate::state::{Databases, Snapshot, read_all, read_head};
use crate::sync::{Behind, Standing};
use crate::terms::{Terms, take_office};
use crate::votes;
use crate::waking::WakingClock;

/// Pause before each reminder of votes.
const REMINDER_PAUSE: Duration = Duration::from_millis(10);
/// Reminders before a round counts as stuck: half a second, where milliseconds are usual.
const REMINDERS_MAX: u32 = 50;
/// The same while stuck rounds are being ended, which takes timeouts of a second: ten seconds.
const UNBLOCKING_REMINDERS_MAX: u32 = 1000;
/// When one actor fails, others find their neighbour gone. The runtime raises the first failure
/// here as soon as it is told of it; the consequences wait this long so as not to hide it.
pub(crate) const CAUSE_GRACE: Duration = Duration::from_millis(200);
/// Threads for file operations: the stores of one block flush at the same time.
const BLOCKING_THREADS_MAX: usize = 16;

/// What every run of the engine stands on.
pub(crate) struct Ground<E: EngineRuntime> {
    parts: Parts,
    pub(crate) exchange: Exchange,
    pub(crate) peers: PeerSet,
    blocker: Blamer,
    pub(crate) base: Foundation<E>,
    /// Each runs until it fails.
    pub(crate) actors: Vec<(&'static str, Handle<()>)>,
}

impl Job {
    /// Runs until asked to stop or until something fails.
    ///
    /// A crash between a vote and the flush of the block it is for loses the block. The vote
    /// stands, the block cannot be certified, and the round ends by its timeout only, which an
    /// idle ledger makes long. So a start that finds a round stuck runs once with short timeouts,
    /// in which nothing is proposed, and then again as usual.
    pub(crate) fn run_engine(&mut self, dir: &DataDir) -> Closed {
        let mut runs = Runs::default();
        loop {
            self.shared
                .rounds
                .send_modify(|rounds| rounds.voting = false);
            let end = self.run_once(dir, runs.next());
            if let Some(reason) = runs.after(end) {
                return reason;
            }
        }
    }

    /// Storage failures end the engine with a panic, by design of its stores: no state can be
    /// trusted after one. It ends here.
    fn run_once(&mut self, dir: &DataDir, next: Next) -> End {
        let runtime = engine_runtime::Config::new()
            .with_worker_threads(1)
            .with_max_blocking_threads(BLOCKING_THREADS_MAX)
            .with_storage_directory(dir.engine());
        let runner = engine_runtime::Runner::new(runtime);
        let run = || runner.start(|context| self.drive(context, Some(dir), next));
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(end) => end,
            Err(panic) => End::failed(panic_text(panic.as_ref())),
        }
    }

    /// One run on any runtime. `dir` is where the owner's votes are noted, if anywhere.
    pub(crate) async fn drive<E: EngineRuntime>(
        &mut self,
        context: E,
        dir: Option<&DataDir>,
        next: Next,
    ) -> End {
        match next {
            Next::Agree(mood) => self.take_part(context, dir, mood).await,
            Next::TakeOver(standing) => self.take_over(context, dir, *standing).await,
        }
    }

    async fn take_part<E: EngineRuntime>(
        &mut self,
        context: E,
        dir: Option<&DataDir>,
        mood: Mood,
    ) -> End {
        let pace = mood.pace;
        let (epochs, handovers, files) = match self.own(&context, dir).await {
            Ok(own) => own,
            Err(end) => return end,
        };
        let ground = self.prepare_ground(&context, files, pace, &epochs).await;
        let Ground {
            parts,
            exchange,
            peers,
            blocker,
            base,
            actors,
        } = match ground {
            Ok(ground) => ground,
            Err(end) => return end,
        };
        let observer = parts.observer.clone();
        let Self {
            config,
            shared,
            feed,
            stopped,
            tell,
            queries,
            ..
        } = self;
        let terms = Terms::new(&context, shared, &parts, &base, blocker).run(handovers);
        let asking = exchange.asking.clone();
        let exchange = exchange.run(&context, &base, &peers, queries, true);
        let timed = parts.waking.follow(shared, config.heartbeat);
        let serve = async {
            // Among several, others bring a round to its end.
            let resumed = !shared.votes_alone()
                || resume_votes(&context, shared, &observer, epochs.latest(), pace).await;
            if pace == Pace::Unblocking {
                return if resumed { End::Unblocked } else { End::Stuck };
            }
            if !resumed && !mood.patient {
                return End::Stuck;
            }
            if let Err(unknown) = show(&base, feed, shared, &config.genesis, tell).await {
                return End::Closed(Closed::Outdated(unknown));
            }
            let behind = Behind::of(shared, &epochs, &asking, &config.genesis).watch(mood.rest);
            goes_on(remember_votes(shared, &epochs, dir), behind).await
        };
        // Neither of the two ends well by itself.
        let (serve, exchange) = (pin!(serve), pin!(exchange));
        let serve = AssertUnwindSafe(select(serve, exchange)).catch_unwind();
        tokio::select! {
            biased;
            _ = stopped => End::stopped(),
            unknown = shared.rules.outdated(&context, shared.tip.subscribe()) => End::Closed(Closed::Outdated(unknown)),
            end = first_end(&context, actors) => end,
            () = timed => End::stopped(),
            reason = terms => End::failed(reason),
            served = serve => match served {
                Ok(Either::Left((end, _))) => end,
                Ok(Either::Right(((), _))) => End::stopped(),
                Err(panic) => raise(&context, panic).await,
            },
        }
    }

    /// What the files say of the epochs so far, and which of them count.
    async fn own<E: EngineRuntime>(
        &mut self,
        context: &E,
        dir: Option<&DataDir>,
    ) -> Result<(Epochs, Handovers<E>, Files), End> {
        let (epochs, handovers) = self.known(context, dir).await?;
        let generation = handovers.generation().map_err(End::failed)?;
        if let Some(dir) = dir {
            dir.keep_generation(generation);
        }
        Ok((epochs, handovers, Files::of(generation)))
    }

    /// What the files say of the epochs so far.
    pub(crate) async fn known<E: EngineRuntime>(
        &mut self,
        context: &E,
        dir: Option<&DataDir>,
    ) -> Result<(Epochs, Handovers<E>), End> {
        let signer = self.config.secret_key.signer();
        let epochs = match Epochs::of(&self.config.genesis, Some(signer)) {
            Ok(epochs) => epochs,
            Err(key) => return Err(self.refuse(StartError::ValidatorKey { key })),
        };
        let handovers = Handovers::open(context.child("handovers"), &epochs).await;
        let handovers = handovers.map_err(End::failed)?;
        let proven = handovers.all().map_err(End::failed)?;
        let proven = proven.into_iter().map(|(_, handover)| handover).collect();
        self.shared.handovers.send_replace(proven);
        let votes = dir.map_or(Ok(()), |dir| dir.check_votes(epochs.latest()));
        if let Err(error) = votes {
            return Err(self.refuse(error));
        }
        if let Err(lost) = votes::check(context, epochs.latest()).await {
            let votes = PathBuf::from(votes_partition(epochs.latest()));
            return Err(self.refuse(StartError::VotesDamaged {
                path: dir.map_or_else(|| votes.clone(), |dir| dir.engine().join(&votes)),
                reason: lost.to_string(),
            }));
        }
        Ok((epochs, handovers))
    }

    /// Tells whoever starts the ledger why it does not start.
    fn refuse(&mut self, error: StartError) -> End {
        let end = End::failed(error.to_string());
        let _ = self.tell.take().map(|tell| tell.send(Err(error)));
        end
    }

    /// Puts delivery and state on `files`, with what goes on beside them.
    pub(crate) async fn prepare_ground<E: EngineRuntime>(
        &mut self,
        context: &E,
        files: Files,
        pace: Pace,
        epochs: &Epochs,
    ) -> Result<Ground<E>, End> {
        let parts = self.parts::<E>(files, pace, epochs, context.current());
        let exchange = Exchange::new(&self.shared, epochs);
        take_office(&self.shared, epochs);
        let (delivery, peers, blocker) = network(&self.shared, exchange.state_peers());
        let mut base = tokio::select! {
            biased;
            base = lay_foundation(context, &parts, delivery, &peers, &blocker) => base,
            _ = &mut self.stopped => return Err(End::stopped()),
        };
        let actors = std::mem::take(&mut base.actors);
        Ok(Ground {
            parts,
            exchange,
            peers,
            blocker,
            base,
            actors,
        })
    }

    fn parts<E: EngineRuntime>(
        &self,
        files: Files,
        pace: Pace,
        epochs: &Epochs,
        now: SystemTime,
    ) -> Parts {
        let Self { config, shared, .. } = self;
        let genesis_block = Block::genesis::<_, Databases<E>>(&config.genesis, self.leader.clone());
        let executions = Executions::default();
        let unsettled = Unsettled {
            shared: shared.clone(),
            executions: executions.clone(),
        };
        Parts {
            files,
            epochs: epochs.clone(),
            retention: config.retention,
            me: self.me.clone(),
            application: LedgerApplication {
                genesis: Arc::new(config.genesis.clone()),
                genesis_block: Arc::new(genesis_block),
                executions: executions.clone(),
                unsettled,
                feed: self.feed.clone(),
            },
            observer: Observer::new(shared.clone(), epochs.clone(), executions),
            heartbeat: config.heartbeat,
            pace,
            waking: WakingClock::new(now, shared.wires.time.clone()),
        }
    }
}

/// Shows whoever starts the ledger its state, or in the stream, if it was started before.
async fn show<E: EngineRuntime>(
    base: &Foundation<E>,
    feed: &Feed,
    shared: &Shared,
    genesis: &Genesis,
    tell: &mut Option<Tell>,
) -> Result<(), UnknownRules> {
    let snapshot = snapshot(base, feed, shared, genesis, tell.is_none()).await;
    shared.rules.after(snapshot.height)?;
    // A caller that went away has dropped the handle too, which stops the engine.
    let _ = tell.take().map(|tell| tell.send(Ok(snapshot)));
    Ok(())
}

/// Waits until votes cannot be noted any more, or this node turns out to be too far behind.
async fn goes_on(
    noting: impl Future<Output = Result<Infallible, StartError>>,
    behind: impl Future<Output = Standing>,
) -> End {
    tokio::select! {
        biased;
        Err(error) = noting => End::failed(error.to_string()),
        standing = behind => End::Behind(Box::new(standing)),
    }
}

/// Goes on with a panic, unless its cause shows first.
async fn raise(clock: &impl Clock, panic: Box<dyn Any + Send>) -> End {
    clock.sleep(CAUSE_GRACE).await;
    resume_unwind(panic)
}

/// Waits until one of the actors is gone, and says which and why.
pub(crate) async fn first_end(clock: &impl Clock, actors: Vec<(&'static str, Handle<()>)>) -> End {
    let names: Vec<_> = actors.iter().map(|(name, _)| *name).collect();
    let (result, index, _) = select_all(actors.into_iter().map(|(_, handle)| handle)).await;
    let actor = names.get(index).copied().unwrap_or("engine");
    clock.sleep(CAUSE_GRACE).await;
    let end = result
        .err()
        .map_or_else(|| "it ended".to_owned(), |error| error.to_string());
    End::failed(format!("the {actor} actor is gone: {end}"))
}

/// Reminds the engine of its votes of before until a round is under way, and says whether one is.
/// The first reminders may come before it listens; one that it knows already changes nothing.
async fn resume_votes(
    clock: &impl Clock,
    shared: &Shared,
    observer: &Observer,
    epoch: u64,
    pace: Pace,
) -> bool {
    let most = match pace {
        Pace::Usual => REMINDERS_MAX,
        Pace::Unblocking => UNBLOCKING_REMINDERS_MAX,
    };
    let mut reminded = 0;
    for _ in 0..most {
        clock.sleep(REMINDER_PAUSE).await;
        reminded += u32::from(shared.rounds.borrow().voting);
        for vote in observer.recalled() {
            // One that is dropped is sent with the next reminder.
            let votes = shared.wires.inbox(Channel::Votes);
            let vote = of_epoch(epoch, &vote);
            let _ = votes.push(shared.me, vote.len(), vote, false);
        }
        if reminded > 1 {
            return true;
        }
    }
    tracing::info!(?pace, "no round is under way");
    false
}

/// Notes beside the engine in which epoch this node has votes; ends only with an error.
async fn remember_votes(
    shared: &Shared,
    epochs: &Epochs,
    dir: Option<&DataDir>,
) -> Result<Infallible, StartError> {
    let Some(dir) = dir else {
        return std::future::pending().await;
    };
    let (mut tip, mut office) = (shared.tip.subscribe(), shared.office.subscribe());
    loop {
        let (epoch, votes) = {
            let office = office.borrow_and_update();
            (office.epoch, office.votes)
        };
        // Both senders are in `shared`. With a block of the epoch a vote is on disk, if this node
        // cast one: it may have got the block from its peers.
        let noted = async {
            loop {
                let _ = tip.wait_for(|tip| tip.height > epochs.base(epoch)).await;
                if dir.has_votes(epoch) {
                    return dir.mark_voted(epoch);
                }
                let _ = tip.changed().await;
            }
        };
        tokio::select! {
            biased;
            noted = noted, if votes => noted?,
            _ = office.wait_for(|office| office.epoch != epoch) => continue,
        }
        let _ = office.wait_for(|office| office.epoch != epoch).await;
    }
}

/// Waits until every block that was final on disk is applied, then takes the state and begins the
/// stream above it. Whatever was acknowledged before a crash is in it. If another state was `shown`
/// before, the stream carries this one in its place.
async fn snapshot<E: EngineRuntime>(
    base: &Foundation<E>,
    feed: &Feed,
    shared: &Shared,
    genesis: &Genesis,
    shown: bool,
) -> Snapshot {
    let databases = base.stateful.subscribe_databases().await;
    let head = read_head(&*databases.read().await).await;
    let height = match head {
        Ok(head) => head.map_or(0, |head| head.height),
        Err(error) => panic!("{error}"),
    };
    let durable = durable_height(base, shared, height).await;
    if height < durable {
        let mut tip = shared.tip.subscribe();
        // The sender is in `shared`.
        let _ = tip.wait_for(|tip| tip.height >= durable).await;
    }
    let take = async {
        let snapshot = read_all(&*databases.read().await, genesis.time_ms()).await?;
        let committee = snapshot.entries.get(&StateKey::committee());
        shared.learn_next(committee.map(Vec::as_slice), snapshot.height);
        let rules = snapshot.entries.get(&StateKey::rules());
        shared.rules.learn(rules.map(Vec::as_slice));
        let Snapshot {
            height,
            time_ms,
            state_root,
            ..
        } = snapshot;
        Ok::<_, crate::state::ReadStateError>((
            snapshot,
            Tip {
                height,
                time_ms,
                state_root,
            },
        ))
    };
    match feed.begin(take, shown).await {
        Ok(snapshot) => snapshot,
        Err(error) => panic!("{error}"),
    }
}

/// Height of the last block that can be executed without asking anybody. Who is not alone may hold
/// blocks above a gap that only its peers can fill.
async fn durable_height<E: EngineRuntime>(base: &Foundation<E>, shared: &Shared, head: u64) -> u64 {
    if shared.votes_alone() {
        let latest = base.marshal.get_info(Identifier::Latest).await;
        return latest.map_or(0, |(height, _)| height.get());
    }
    let mut durable = head;
    loop {
        let next = Height::new(durable.saturating_add(1));
        if base
            .marshal
            .get_block(Identifier::Height(next))
            .await
            .is_none()
        {
            return durable;
        }
        durable = next.get();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the engine panicked without a message")
        .to_owned()
}
