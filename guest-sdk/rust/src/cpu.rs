//! Calls of deployed components under leases of processors, here and on other nodes, by
//! `hypermesh:assets/cpu`.

use std::time::Duration;

use crate::host;

/// Why something was not done with processors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument is out of bounds, or not what the function takes, in the host's words.
    #[error("{0}")]
    Invalid(String),
    /// The component may not call it, in the host's words.
    #[error("{0}")]
    Denied(String),
    /// The lease is over, or was given back.
    #[error("the lease of the budget has ended")]
    Ended,
    /// More than the manifest grants, or too much open, in the host's words.
    #[error("{0}")]
    Quota(String),
    /// No processors that may be leased have so much free, in the host's words.
    #[error("{0}")]
    Exhausted(String),
    /// Too much at once, in the host's words: try again later.
    #[error("{0}")]
    Busy(String),
    /// The lease's host went away, in the host's words. What was called may have run.
    #[error("{0}")]
    Lost(String),
    /// The node cannot, in the host's words.
    #[error("{0}")]
    Unavailable(String),
    /// What was called trapped, or reached a limit, in the host's words.
    #[error("{0}")]
    Failed(String),
}

/// A call of an export of a deployed, deterministic component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The workload.
    pub workload: String,
    /// Its component.
    pub component: String,
    /// The function's name, or `interface#function`.
    pub function: String,
    /// Its arguments, in WAVE, the text form of component values.
    pub arguments: Vec<String>,
    /// Fuel that it may use.
    pub fuel_max: u64,
    /// How long it may take.
    pub wall_max: Duration,
}

/// What a call gave and took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Outcome {
    /// The result, in WAVE; empty if the function has none.
    pub output: String,
    /// Fuel that it used.
    pub fuel: u64,
    /// Cpu time that it used.
    pub cpu: Duration,
    /// Most memory that it had at once.
    pub memory_peak_bytes: u64,
    /// The bytes of the receipt that its host signed.
    pub receipt: Vec<u8>,
}

/// What a budget was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Thousandths of a core that were leased.
    pub millicores: u32,
    /// Calls that were begun.
    pub calls: u64,
    /// Cpu time that calls used.
    pub cpu: Duration,
    /// Fuel of the calls that ended.
    pub fuel: u64,
    /// How long the lease is certainly live.
    pub left: Duration,
}

/// Leased time of processors. Dropping it, and what was begun under it, ends the lease.
///
/// ```
/// use std::time::Duration;
/// use hypermesh_guest::cpu::{self, Call, Error};
///
/// # hypermesh_guest::mock::reset();
/// // What a test has instead of deployed components.
/// hypermesh_guest::mock::on_cpu_call(|call| match call.function.as_str() {
///     "square" => {
///         let number: u64 = call.arguments[0].parse().unwrap();
///         Ok((number * number).to_string())
///     }
///     _ => Err(Error::Invalid("no such function".to_owned())),
/// });
///
/// let budget = cpu::allocate(250, Duration::from_secs(60))?;
/// let call = |number: u64| Call {
///     workload: "numbers".to_owned(),
///     component: "main".to_owned(),
///     function: "square".to_owned(),
///     arguments: vec![number.to_string()],
///     fuel_max: 1_000_000,
///     wall_max: Duration::from_secs(5),
/// };
/// assert_eq!(budget.run(&call(7))?.output, "49");
///
/// // Several at once.
/// let begun = [budget.start(&call(2))?, budget.start(&call(3))?];
/// let outputs = begun.map(|running| running.wait().map(|outcome| outcome.output));
/// assert_eq!(outputs, [Ok("4".to_owned()), Ok("9".to_owned())]);
/// assert_eq!(budget.usage()?.calls, 3);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Budget(host::cpu::Budget);

/// A call that was begun. Dropping it stops the call.
#[derive(Debug)]
pub struct Running(host::cpu::Running);

/// Leases so many thousandths of a core for so long, ten seconds or more.
///
/// # Errors
/// [`Error::Quota`], [`Error::Exhausted`], [`Error::Invalid`], and what the host reports.
pub fn allocate(millicores: u32, term: Duration) -> Result<Budget, Error> {
    host::cpu::allocate(millicores, term).map(Budget)
}

impl Budget {
    /// Has a call run and waits for its end.
    ///
    /// # Errors
    /// [`Error::Denied`] if this component may not call it, [`Error::Failed`] if it failed, and what
    /// the host reports.
    pub fn run(&self, call: &Call) -> Result<Outcome, Error> {
        self.0.run(call)
    }

    /// Begins a call, to be waited for later.
    ///
    /// # Errors
    /// [`Error::Quota`] if too many are under way.
    pub fn start(&self, call: &Call) -> Result<Running, Error> {
        self.0.start(call).map(Running)
    }

    /// How long the lease is certainly live.
    ///
    /// # Errors
    /// What the host reports.
    pub fn remaining(&self) -> Result<Duration, Error> {
        Ok(self.usage()?.left)
    }

    /// What it was used for.
    ///
    /// # Errors
    /// What the host reports.
    pub fn usage(&self) -> Result<Usage, Error> {
        self.0.usage()
    }

    /// Has the lease last so long from now on, ten seconds or more.
    ///
    /// # Errors
    /// [`Error::Invalid`] if that is no longer than it lasts anyway, or more than its owner allows;
    /// and what the host reports.
    pub fn renew(&self, term: Duration) -> Result<(), Error> {
        self.0.renew(term)
    }
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Budget::run`].
    pub fn wait(self) -> Result<Outcome, Error> {
        self.0.wait()
    }
}
