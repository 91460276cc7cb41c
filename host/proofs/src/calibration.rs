//! Calibration: a fixed computation whose beginning a beacon says, whose length is cpu and whose every
//! step can be checked alone. Knows no clock: how long it took is a number of blocks.
//!
//! **The unit.** One unit is [`UNIT_STEPS`] steps, one after another. A step takes 32 bytes as four
//! little-endian words `a b c d`, replaces them [`UNIT_ROUNDS`] times by
//! `b, c, d, rotl((a ^ c) * (b | 1), 29) + d` in arithmetic modulo 2^64, and takes BLAKE3 of the result.
//! Units are a chain: each begins with what the one before gave, the first with the seed.
//!
//! **What it proves.** That somebody computed so many units in sequence between the block of the seed
//! and the block of the answer: at least that much of one core at that time. Not on which machine, not
//! how many cores there are, and nothing about the next minute. Blocks are coarse: the number of units
//! must be large against what fits into one block by chance.

use serde::{Deserialize, Serialize};
use types::{Digest, NodeId};

use crate::draw::Draw;

const SEED_DOMAIN: &[u8] = b"hypermesh/proofs/calibration/1\0";
const CHECK_DOMAIN: &[u8] = b"hypermesh/proofs/calibration-check/1\0";

/// Steps of one unit: about two milliseconds, so that the longest calibration spans many blocks and a
/// sample of it is a small part of one.
pub const UNIT_STEPS: u32 = 16_384;
/// Replacements of one step: about as long as the hash that follows them.
pub const UNIT_ROUNDS: u64 = 32;
/// Most units of one calibration: its checkpoints, 32 bytes each, fit a transaction beside an answer.
pub const CALIBRATION_UNITS_MAX: usize = 1_024;
/// Units that a validator computes where it samples: who skipped a fifth is met five times in six.
pub const CALIBRATION_SAMPLES: u16 = 8;

/// What a calibration begins with: nobody knows it before its beacon, and every node and asset has
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalibrationSeed(Digest);

impl CalibrationSeed {
    /// The seed of `node` for `asset` by the beacon of `height`.
    #[must_use]
    pub fn draw(beacon: &Digest, height: u64, node: &NodeId, asset: &Digest) -> Self {
        let mut bytes = SEED_DOMAIN.to_vec();
        bytes.extend(beacon.as_bytes());
        bytes.extend(height.to_le_bytes());
        bytes.extend(node.as_bytes());
        bytes.extend(asset.as_bytes());
        Self(Digest::of(&bytes))
    }
}

/// What each unit of a calibration gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// One for each unit, in order.
    pub checkpoints: Vec<Digest>,
}

/// How much of a calibration is computed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalibrationCheck {
    /// All of it: as long as the calibration itself.
    Whole,
    /// [`CALIBRATION_SAMPLES`] units that this beacon draws. It must be of a block after the one that
    /// holds the checkpoints: who knows it before computes only those units.
    Sampled {
        /// The later beacon.
        beacon: Digest,
    },
}

/// What a calibration is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CalibrationFacts {
    /// What it had to begin with.
    pub seed: CalibrationSeed,
    /// How many units were asked for.
    pub units: u16,
    /// Last height at which it counts.
    pub deadline_height: u64,
    /// The height at which it is in a block.
    pub seen_at_height: u64,
    /// How much is computed again.
    pub check: CalibrationCheck,
}

/// Why a calibration counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyCalibrationError {
    /// Fewer or more units than were asked for, or none, or too many.
    #[error(
        "{found} units, {expected} were asked for, and 1 to {CALIBRATION_UNITS_MAX} are possible"
    )]
    Units {
        /// How many were asked for.
        expected: u16,
        /// How many there are.
        found: usize,
    },
    /// Too slow.
    #[error("the calibration came at height {seen}, the deadline was {deadline}")]
    Late {
        /// The last height that counts.
        deadline: u64,
        /// The height of the calibration.
        seen: u64,
    },
    /// A unit does not give what is claimed.
    #[error("unit {unit} gives another result: computed otherwise, or from another seed")]
    Wrong {
        /// Which one, counted from 0.
        unit: usize,
    },
}

/// What one unit makes of `state`.
fn unit(state: &Digest) -> Digest {
    let mut state = *state.as_bytes();
    for _ in 0..UNIT_STEPS {
        let mut words = [0_u64; 4];
        for (word, bytes) in words.iter_mut().zip(state.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        for _ in 0..UNIT_ROUNDS {
            let [a, b, c, d] = words;
            let mixed = (a ^ c).wrapping_mul(b | 1).rotate_left(29).wrapping_add(d);
            words = [b, c, d, mixed];
        }
        let mut mixed = [0; 32];
        for (bytes, word) in mixed.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        state = *blake3::hash(&mixed).as_bytes();
    }
    Digest::from_bytes(state)
}

impl Calibration {
    /// Computes `units` units, at most [`CALIBRATION_UNITS_MAX`].
    #[must_use]
    pub fn run(seed: &CalibrationSeed, units: u16) -> Self {
        let states = std::iter::successors(Some(unit(&seed.0)), |state| Some(unit(state)));
        let units = usize::from(units).min(CALIBRATION_UNITS_MAX);
        Self {
            checkpoints: states.take(units).collect(),
        }
    }

    /// Checks length and time, and computes again what `facts` say.
    ///
    /// # Errors
    /// [`VerifyCalibrationError`].
    pub fn verify(&self, facts: &CalibrationFacts) -> Result<(), VerifyCalibrationError> {
        let (expected, found) = (facts.units, self.checkpoints.len());
        if found != usize::from(expected) || !(1..=CALIBRATION_UNITS_MAX).contains(&found) {
            return Err(VerifyCalibrationError::Units { expected, found });
        }
        let (deadline, seen) = (facts.deadline_height, facts.seen_at_height);
        if seen > deadline {
            return Err(VerifyCalibrationError::Late { deadline, seen });
        }
        let sampled = match facts.check {
            CalibrationCheck::Whole => None,
            CalibrationCheck::Sampled { beacon } => {
                let parts: &[&[u8]] = &[beacon.as_bytes(), facts.seed.0.as_bytes()];
                let mut draw = Draw::new(CHECK_DOMAIN, parts);
                Some(draw.distinct(u64::from(CALIBRATION_SAMPLES), u64::from(expected)))
            }
        };
        let before = std::iter::once(&facts.seed.0).chain(&self.checkpoints);
        for (number, (before, after)) in before.zip(&self.checkpoints).enumerate() {
            let drawn = sampled.as_ref();
            let is_checked = drawn.is_none_or(|drawn| drawn.contains(&(number as u64)));
            if is_checked && unit(before) != *after {
                return Err(VerifyCalibrationError::Wrong { unit: number });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(node: u8) -> CalibrationSeed {
        let node = NodeId::from_bytes([node; 32]);
        CalibrationSeed::draw(&Digest::of(b"beacon"), 9, &node, &Digest::of(b"cpu"))
    }

    fn facts(units: u16, check: CalibrationCheck) -> CalibrationFacts {
        CalibrationFacts {
            seed: seed(1),
            units,
            deadline_height: 12,
            seen_at_height: 12,
            check,
        }
    }

    #[test]
    fn what_was_computed_is_found_again_whole_and_sampled() {
        let calibration = Calibration::run(&seed(1), 12);
        let beacon = Digest::of(b"later");
        for check in [
            CalibrationCheck::Whole,
            CalibrationCheck::Sampled { beacon },
        ] {
            assert_eq!(calibration.verify(&facts(12, check)), Ok(()));
        }
    }

    #[test]
    fn the_computation_is_pinned() {
        let calibration = Calibration::run(&seed(1), 2);
        let found: Vec<_> = calibration.checkpoints.iter().map(Digest::short).collect();
        assert_eq!(found, ["577a8381aba1", "287f8367695c"]);
    }

    #[test]
    fn one_skipped_unit_is_found_by_the_whole_check_wherever_it_is() {
        let honest = Calibration::run(&seed(1), 6);
        for skipped in 0..6 {
            let mut cheat = honest.clone();
            cheat.checkpoints[skipped] = Digest::of(b"skipped");
            let refusal = cheat.verify(&facts(6, CalibrationCheck::Whole));
            assert_eq!(
                refusal,
                Err(VerifyCalibrationError::Wrong { unit: skipped })
            );
        }
    }

    #[test]
    fn who_skips_most_units_is_met_by_the_samples() {
        // Every second result is made up: every sample is a unit that begins or ends with one.
        let mut cheat = Calibration::run(&seed(1), 40);
        for made_up in cheat.checkpoints.iter_mut().step_by(2) {
            *made_up = Digest::of(b"made up");
        }
        let beacon = Digest::of(b"later");
        let refusal = cheat.verify(&facts(40, CalibrationCheck::Sampled { beacon }));
        assert!(matches!(refusal, Err(VerifyCalibrationError::Wrong { .. })));
    }

    #[test]
    fn too_few_units_too_late_and_of_another_node_are_refused() {
        let calibration = Calibration::run(&seed(1), 3);
        let whole = CalibrationCheck::Whole;
        let (expected, found) = (4, 3);
        let refusal = calibration.verify(&facts(4, whole));
        assert_eq!(
            refusal,
            Err(VerifyCalibrationError::Units { expected, found })
        );
        let none = Calibration {
            checkpoints: vec![],
        };
        assert!(none.verify(&facts(0, whole)).is_err());
        let late = CalibrationFacts {
            seen_at_height: 13,
            ..facts(3, whole)
        };
        let (deadline, seen) = (12, 13);
        let refusal = calibration.verify(&late);
        assert_eq!(
            refusal,
            Err(VerifyCalibrationError::Late { deadline, seen })
        );
        let refusal = Calibration::run(&seed(2), 3).verify(&facts(3, whole));
        assert_eq!(refusal, Err(VerifyCalibrationError::Wrong { unit: 0 }));
    }
}
