//! One block's worth of change: checks each transaction, applies it or records its refusal.

use std::collections::BTreeMap;

use types::Digest;

use crate::anchor;
use crate::asset_refusal::AssetRefusal;
use crate::genesis::Genesis;
use crate::key::StateKey;
use crate::member::MembershipOperation;
use crate::outcome::{Refusal, TransactionOutcome};
use crate::rate::{self, RateExceeded};
use crate::record::FabricRecord;
use crate::rules;
use crate::state::{Draft, NotLoaded, StateView};
use crate::transaction::{Operation, SignedTransaction};
use crate::upgrade::{KnownRules, UnknownRules};

/// Most transactions of one block: bounds the signatures to check.
pub const BLOCK_TRANSACTIONS_MAX: usize = 1_024;
/// Most bytes of transactions in one block.
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What the rules may know of the block beside its transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockContext {
    /// Its height; the first block after genesis is 1.
    pub height: u64,
    /// Its time, Unix milliseconds.
    pub time_ms: u64,
    /// The digest of the block before it.
    pub parent: Digest,
}

/// What a block does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Entries written, and removed (`None`).
    pub changes: BTreeMap<StateKey, Option<Vec<u8>>>,
    /// One per transaction, in order.
    pub outcomes: Vec<TransactionOutcome>,
}

/// Why a block was not executed; never a verdict about the block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// The view must load an entry first.
    #[error(transparent)]
    NotLoaded(#[from] NotLoaded),
    /// This program is too old for the block, and for all after it.
    #[error(transparent)]
    UnknownRules(#[from] UnknownRules),
}

/// Executes `transactions` on `view`. The first block of a fabric also writes the genesis entries,
/// the first of an epoch puts the validators in office that were decided on, the first under new
/// rules puts these in force, and each frees the
/// records of guests that are due in it. Every block writes down the digest of the one before.
///
/// # Errors
/// [`NotLoaded`] if the view must load an entry first; then call again. [`UnknownRules`] if the
/// rules in force at this height are none of `known`. Nothing else fails: a transaction that
/// breaks a rule is recorded as refused and cannot poison its block.
pub fn execute(
    genesis: &Genesis,
    known: KnownRules,
    view: &impl StateView,
    block: &BlockContext,
    transactions: &[SignedTransaction],
) -> Result<Execution, ExecuteError> {
    let mut first_facts = BTreeMap::new();
    if block.height == 1 {
        first_facts.extend(genesis.entries());
    }
    let begun = Begun {
        view,
        first_facts: &first_facts,
    };
    let mut draft = Draft::new(&begun);
    anchor::keep(&mut draft, block);
    // Before anything that rules decide.
    let rules = rules::begin_block(&mut draft, block.height)?;
    known.check(&rules, block.height)?;
    if genesis.begins_epoch(block.height) {
        rules::begin_epoch(&mut draft)?;
        rules::clean(&mut draft)?;
    }
    if genesis.ends_epoch(block.height + 1) {
        rules::release_absent(&mut draft, block)?;
    }
    rules::expire(&mut draft, block.height)?;
    draft.commit();
    let mut outcomes = Vec::with_capacity(transactions.len());
    for transaction in transactions {
        outcomes.push(apply(&mut draft, block, rules.version, transaction)?);
    }
    let mut changes: BTreeMap<_, _> = first_facts
        .iter()
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect();
    changes.extend(draft.into_changes());
    Ok(Execution { changes, outcomes })
}

/// The parent's state with the genesis entries over it, in the first block.
struct Begun<'a, V> {
    view: &'a V,
    first_facts: &'a BTreeMap<StateKey, Vec<u8>>,
}

impl<V: StateView> StateView for Begun<'_, V> {
    fn read(&self, key: &StateKey) -> Result<Option<&[u8]>, NotLoaded> {
        match self.first_facts.get(key) {
            Some(value) => Ok(Some(value)),
            None => self.view.read(key),
        }
    }
}

/// Why a rule stopped: the signer's fault, or an entry to load first.
pub(crate) enum Stop {
    Refused(Refusal),
    NotLoaded(NotLoaded),
}

impl From<NotLoaded> for Stop {
    fn from(missing: NotLoaded) -> Self {
        Self::NotLoaded(missing)
    }
}

impl From<AssetRefusal> for Stop {
    fn from(refusal: AssetRefusal) -> Self {
        Self::Refused(refusal.into())
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn apply<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    version: u32,
    signed: &SignedTransaction,
) -> Result<TransactionOutcome, NotLoaded> {
    match admit(draft, block, signed) {
        Ok(()) => draft.commit(),
        Err(Stop::NotLoaded(missing)) => return Err(missing),
        Err(Stop::Refused(refusal)) => {
            draft.roll_back();
            return Ok(TransactionOutcome::Refused(refusal));
        }
    }
    // The nonce is spent from here on, whether or not the operation succeeds.
    match rules::apply(draft, block, version, signed.transaction()) {
        Ok(()) => {
            draft.commit();
            Ok(TransactionOutcome::Applied)
        }
        Err(Stop::NotLoaded(missing)) => Err(missing),
        Err(Stop::Refused(refusal)) => {
            draft.roll_back();
            Ok(TransactionOutcome::Refused(refusal))
        }
    }
}

/// Signer known, time not over, not too often, nonce in order; spends the nonce.
///
/// A signer that signs too often does not spend its nonce, and all that it signed ahead is told the
/// same reason. A newcomer has no record to count in: a `Join` that succeeds uses up a ticket
/// (`INVITES_MAX` are open) or votes of validators (for `CANDIDATES_MAX` nodes), and those who gave
/// them were counted; one that fails leaves nothing behind, as any transaction of a stranger.
/// Founding nodes that have no record yet are counted from their first transaction on.
fn admit<V: StateView>(
    draft: &mut Draft<'_, V>,
    block: &BlockContext,
    signed: &SignedTransaction,
) -> Result<(), Stop> {
    let transaction = signed.transaction();
    let expires_at = transaction.expires_at;
    if expires_at < block.height {
        return Err(Refusal::Expired {
            expires_at,
            height: block.height,
        }
        .into());
    }
    let key = StateKey::principal(&transaction.principal);
    let Some(mut principal) = rules::role_of(draft, &transaction.principal)? else {
        return match &transaction.operation {
            // A newcomer. Its record is written when it is let in, so that those who are not
            // leave nothing behind.
            Operation::Membership(MembershipOperation::Join { .. }) if transaction.nonce == 0 => {
                Ok(())
            }
            _ => Err(Refusal::UnknownPrincipal(transaction.principal).into()),
        };
    };
    principal.rate = principal
        .rate
        .with_more(block.time_ms, rate::cost_of(&transaction.operation))
        .map_err(|RateExceeded { until_ms }| Refusal::Rate {
            principal: transaction.principal,
            until_ms,
        })?;
    if principal.nonce != transaction.nonce {
        let (expected, found) = (principal.nonce, transaction.nonce);
        return Err(Refusal::Nonce { expected, found }.into());
    }
    principal.nonce += 1;
    draft.write(key, &principal);
    Ok(())
}

/// The fabric's own record; there from the first block on.
pub(crate) fn fabric<V: StateView>(draft: &Draft<'_, V>) -> Result<FabricRecord, NotLoaded> {
    let record = draft.read(&StateKey::fabric())?;
    Ok(record.unwrap_or_else(|| panic!("the first block writes the fabric record")))
}
