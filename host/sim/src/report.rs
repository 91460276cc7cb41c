//! What a run has to say for itself.

use std::fmt;

use consensus::Channel;

use crate::network::Traffic;
use crate::scenario::Scenario;

/// A run in which every checker was content.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Its seed.
    pub seed: u64,
    /// Time that passed in it, milliseconds.
    pub simulated_ms: u64,
    /// Height at its end.
    pub height: u64,
    /// Times that a node lost its power.
    pub crashes: u64,
    /// Times that a node took over the state of its peers.
    pub taken_over: u64,
    /// Assets at its end.
    pub assets: usize,
    /// Times that another node held what one at a time may hold than the one before.
    pub handovers: u64,
    /// Times that an honest validator said that a node is gone.
    pub reports: u64,
    /// Which nodes have a vote at the end.
    pub in_office: Vec<usize>,
    /// Rounds that ended without a block, on the first honest node since its start.
    pub nullified: u64,
    /// What went over each channel.
    pub traffic: Vec<(Channel, Traffic)>,
    /// A digest of everything that happened: the same scenario gives the same.
    pub audit: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} s, {} blocks, {} crashes, {} states taken over, {} assets, {} handovers, \
             {} reports, {} rounds without a block, audit {}",
            self.seed,
            self.simulated_ms / 1000,
            self.height,
            self.crashes,
            self.taken_over,
            self.assets,
            self.handovers,
            self.reports,
            self.nullified,
            self.audit
        )
    }
}

/// A run to which a checker objected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was done.
    pub scenario: Box<Scenario>,
    /// Time at which the run ended, milliseconds after its beginning.
    pub at_ms: u64,
    /// What was objected to.
    pub objections: Vec<String>,
    /// The first panics; some are a failing disk's.
    pub panics: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scenario,
            at_ms,
            objections,
            panics,
        } = self;
        write!(f, "{scenario}")?;
        writeln!(f, "  ended after {at_ms} ms:")?;
        for objection in objections {
            writeln!(f, "  - {objection}")?;
        }
        for panic in panics {
            writeln!(f, "  panic: {panic}")?;
        }
        write!(
            f,
            "  again with: cargo xtask simulate --seeds 1 --from {} --nodes {}",
            scenario.seed, scenario.validators
        )
    }
}

impl std::error::Error for Failure {}
