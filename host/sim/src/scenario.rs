//! What happens in a run, drawn from its seed before it begins. Carries nothing out.

use std::collections::BTreeSet;
use std::fmt;

use consensus::simulated::Dice;

use crate::holder::Keeping;
use crate::trouble::{Plan, Trouble};

/// How many blocks an epoch has, by how likely it is.
const EPOCHS: [u32; 4] = [8, 16, 50, 512];
/// How many nodes vote, by how likely it is.
const COMMITTEES: [usize; 10] = [1, 2, 3, 4, 4, 4, 4, 5, 7, 7];
/// Most nodes that follow.
const FOLLOWERS_MAX: usize = 2;
/// Shortest and longest run before the end, seconds.
const SECONDS: (u64, u64) = (40, 240);
/// Most troubles in a run.
const TROUBLES_MAX: usize = 8;
/// Most that a clock is wrong by where nodes count on clocks, milliseconds: with one behind and one
/// ahead, half a second at which votes are early, and the time between two looks of a holder, that
/// is less than [`assets::CLOCK_SKEW_MS_MAX`].
const SKEW_MS: u64 = 650;
/// The same where they do not.
const SKEW_MS_MAX: u64 = 3_000;

/// What a Byzantine validator does beside taking part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vice {
    /// Votes twice in a round, differently to different peers.
    Equivocate,
    /// Keeps messages to itself, more to some peers than to others.
    Withhold,
    /// Sends old messages again, also to others than they were for.
    Replay,
    /// Sends late.
    Delay,
    /// Changes answers about blocks and announcements of its last one.
    LieInSync,
    /// Sends bytes that mean nothing.
    Garbage,
    /// Runs twice with one key: each half of the peers knows another of the two, and each of the
    /// two proposes and votes by itself.
    Twins,
}

impl Vice {
    /// Every vice.
    pub const ALL: [Self; 7] = [
        Self::Equivocate,
        Self::Withhold,
        Self::Replay,
        Self::Delay,
        Self::LieInSync,
        Self::Garbage,
        Self::Twins,
    ];
}

/// What the network does to every message.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Least time under way, milliseconds.
    pub delay_ms: u64,
    /// Up to so much more, which reorders.
    pub jitter_ms: u64,
    /// Lost, in a thousand.
    pub lost_per_mille: u64,
    /// Doubled, in a thousand.
    pub doubled_per_mille: u64,
    /// Later than others by seconds, in a thousand.
    pub late_per_mille: u64,
}

impl Weather {
    /// Nothing but a short way.
    pub const FAIR: Self = Self {
        delay_ms: 2,
        jitter_ms: 3,
        lost_per_mille: 0,
        doubled_per_mille: 0,
        late_per_mille: 0,
    };
}

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What everything follows from.
    pub seed: u64,
    /// Nodes that vote; they come first.
    pub validators: usize,
    /// Nodes that follow.
    pub followers: usize,
    /// Which validators are Byzantine, and how.
    pub rogues: Vec<(usize, Vice)>,
    /// What the network does until everything is mended.
    pub weather: Weather,
    /// Principals that submit transactions.
    pub clients: usize,
    /// Longest pause of each between two transactions, milliseconds.
    pub gap_ms: u64,
    /// Longest silence between blocks, seconds.
    pub heartbeat_seconds: u64,
    /// Blocks of an epoch.
    pub epoch_blocks: u32,
    /// Blocks that a node may be behind before it takes over the state of its peers.
    pub sync_beyond_blocks: u64,
    /// When everything is mended, seconds.
    pub seconds: u64,
    /// What happens, and when.
    pub troubles: Vec<Plan>,
    /// How wrong a clock may be, milliseconds.
    pub skew_ms: u64,
    /// Whether nodes have assets, which are leased.
    pub assets: bool,
    /// How nodes hold what one at a time may hold, if they have assets.
    pub keeping: Keeping,
    /// Whether validators report who is gone, and the Byzantine ones who is not.
    pub witnesses: bool,
}

impl Scenario {
    /// The scenario of `seed`; with `validators` of them if that is given.
    #[must_use]
    pub fn of(seed: u64, validators: Option<usize>) -> Self {
        let mut dice = Dice::new(seed);
        let drawn = COMMITTEES.get(dice.index(COMMITTEES.len()));
        let validators = validators.or(drawn.copied()).unwrap_or(4).max(1);
        let followers = dice.index(FOLLOWERS_MAX + 1);
        let seconds = SECONDS.0 + dice.below(SECONDS.1 - SECONDS.0);
        let mut scenario = Self {
            seed,
            validators,
            followers,
            rogues: rogues(&mut dice, validators),
            weather: weather(&mut dice),
            clients: 1 + dice.index(3),
            gap_ms: [200, 2000, 20_000]
                .get(dice.index(3))
                .map_or(2000, |gap| *gap),
            heartbeat_seconds: 5 + dice.below(60),
            epoch_blocks: *EPOCHS.get(dice.index(EPOCHS.len())).unwrap_or(&512),
            sync_beyond_blocks: 0,
            seconds,
            troubles: Vec::new(),
            skew_ms: if dice.comes_true(700) {
                SKEW_MS
            } else {
                SKEW_MS_MAX
            },
            assets: dice.comes_true(700),
            keeping: Keeping::Nothing,
            witnesses: dice.comes_true(700),
        };
        // With clocks that are further apart nobody promises that one holder stops in time.
        if scenario.skew_ms == SKEW_MS {
            scenario.keeping = Keeping::ByOwnClock;
        }
        for _ in 0..dice.index(TROUBLES_MAX + 1) {
            let plan = Plan::draw(&mut dice, &scenario);
            scenario.troubles.push(plan);
        }
        let beyond = [4, 32, 4096];
        // Drawn last, so that the seeds of before tell the stories of before.
        scenario.sync_beyond_blocks = *beyond.get(dice.index(beyond.len())).unwrap_or(&4);
        scenario
    }

    /// A fabric in which nothing goes wrong.
    #[must_use]
    pub fn calm(seed: u64, validators: usize) -> Self {
        Self {
            seed,
            validators,
            followers: 0,
            rogues: Vec::new(),
            weather: Weather::FAIR,
            clients: 2,
            gap_ms: 400,
            heartbeat_seconds: 30,
            epoch_blocks: 16,
            sync_beyond_blocks: 64,
            seconds: 20,
            troubles: Vec::new(),
            skew_ms: 0,
            assets: false,
            keeping: Keeping::Nothing,
            witnesses: false,
        }
    }

    /// All nodes.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.validators + self.followers
    }

    /// The nodes that run twice; the second machine of the first one is the first after all nodes,
    /// and so on.
    #[must_use]
    pub fn twins(&self) -> Vec<usize> {
        let twins = self.rogues.iter().filter(|(_, vice)| *vice == Vice::Twins);
        twins.map(|(node, _)| *node).collect()
    }

    /// The nodes whose vote others may take.
    pub(crate) fn voted_out(&self) -> BTreeSet<usize> {
        let voted_out = self.troubles.iter().filter_map(|plan| match plan.trouble {
            Trouble::Change { node, add: false } => Some(node),
            _ => None,
        });
        voted_out.collect()
    }

    /// Whether a node does what it should.
    #[must_use]
    pub fn is_honest(&self, node: usize) -> bool {
        node < self.nodes() && self.rogues.iter().all(|(rogue, _)| *rogue != node)
    }
}

/// At most a third of the votes, less one.
fn rogues(dice: &mut Dice, validators: usize) -> Vec<(usize, Vice)> {
    let most = validators.saturating_sub(1) / 3;
    let mut nodes = BTreeSet::new();
    for _ in 0..dice
        .index(most + 1)
        .max(usize::from(dice.comes_true(400)).min(most))
    {
        nodes.insert(dice.index(validators));
    }
    let vices = Vice::ALL;
    let vice = |dice: &mut Dice| vices.get(dice.index(vices.len())).copied();
    nodes
        .into_iter()
        .filter_map(|node| Some((node, vice(dice)?)))
        .collect()
}

fn weather(dice: &mut Dice) -> Weather {
    if dice.comes_true(200) {
        return Weather::FAIR;
    }
    Weather {
        delay_ms: 1 + dice.below(60),
        jitter_ms: 1 + dice.below(80),
        lost_per_mille: dice.below(3) * dice.below(40),
        doubled_per_mille: dice.below(2) * dice.below(50),
        late_per_mille: dice.below(2) * dice.below(20),
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} validators, {} followers, {} clients with pauses up to {} ms, \
             heartbeat {} s, epochs of {} blocks, state from peers beyond {} blocks, clocks wrong \
             by up to {} ms, {}{}holding {:?}, mended after {} s",
            self.seed,
            self.validators,
            self.followers,
            self.clients,
            self.gap_ms,
            self.heartbeat_seconds,
            self.epoch_blocks,
            self.sync_beyond_blocks,
            self.skew_ms,
            if self.assets { "assets, " } else { "" },
            if self.witnesses { "witnesses, " } else { "" },
            self.keeping,
            self.seconds
        )?;
        writeln!(f, "  {:?}", self.weather)?;
        for (node, vice) in &self.rogues {
            writeln!(f, "  node {node}: {vice:?}")?;
        }
        for plan in &self.troubles {
            let Plan {
                at_ms,
                for_ms,
                trouble,
            } = plan;
            writeln!(f, "  at {at_ms} ms for {for_ms} ms: {trouble:?}")?;
        }
        Ok(())
    }
}

/// Which troubles a scenario may have.
pub(crate) fn draw_trouble(dice: &mut Dice, scenario: &Scenario) -> Trouble {
    let nodes = scenario.nodes();
    let node = dice.index(nodes);
    match dice.below(12) {
        0 | 1 => Trouble::Partition {
            side: (0..nodes).filter(|_| dice.comes_true(500)).collect(),
        },
        2 | 3 => Trouble::OneWay {
            from: node,
            to: (node + 1 + dice.index(nodes.saturating_sub(1))) % nodes.max(1),
        },
        4 | 5 => Trouble::Crash { node },
        6 => Trouble::Blackout,
        7 => Trouble::DiskFails { node },
        8 => Trouble::ClockOff {
            node,
            ahead: dice.comes_true(500),
            by_ms: dice.below(scenario.skew_ms),
        },
        9 => Trouble::Flapping { node },
        _ => change(dice, scenario),
    }
}

/// A follower gets a vote; or, where nobody is Byzantine, anybody may lose it: fewer validators
/// bear fewer Byzantine ones.
fn change(dice: &mut Dice, scenario: &Scenario) -> Trouble {
    let honest = scenario.rogues.is_empty();
    if scenario.followers > 0 && (!honest || dice.comes_true(600)) {
        let node = scenario.validators + dice.index(scenario.followers);
        return Trouble::Change { node, add: true };
    }
    let node = dice.index(scenario.nodes());
    if honest {
        return Trouble::Change { node, add: false };
    }
    Trouble::Crash { node }
}
