//! What the pieces that members show say of a block. Pure: knows neither who asks nor how; the rules
//! and why they are right are told in `spread`.

use super::layout::Layout;
use super::member::Version;
use super::seal::Salt;

/// A version as one write made it.
pub(super) type WriteName = (Version, Salt);

/// A piece that opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) name: WriteName,
    pub(super) piece: Vec<u8>,
}

/// What one member shows of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// What opened, at most two.
    pub(super) held: Vec<Held>,
    /// Whether it answered at all.
    pub(super) has_answered: bool,
    /// Whether it answered wholly, and had all from the beginning: only then does it not have what it
    /// does not show.
    pub(super) is_certain: bool,
    /// Whether a piece of it did not open.
    pub(super) is_damaged: bool,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is what was written last, or nothing was.
    Known(Option<WriteName>),
    /// A write can neither be shown complete nor be ruled out.
    Unclear(Unclear),
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unclear {
    /// The write; none if too few answered to know of any.
    pub(super) write: Option<WriteName>,
    /// Members that have it.
    pub(super) holders: usize,
    /// Members that answered wholly.
    pub(super) answered: usize,
}

impl Shown {
    pub(super) fn holds(&self, name: &WriteName) -> bool {
        self.held.iter().any(|held| held.name == *name)
    }

    /// Whether it has this version.
    pub(super) fn has(&self, version: Version) -> bool {
        self.held.iter().any(|held| held.name.0 == version)
    }

    /// Whether it may have, or have had, a piece that it does not show: it did not answer, or it has
    /// only later ones, for which it would have forgotten it.
    fn may_have_had(&self, name: &WriteName) -> bool {
        let forgot = !self.held.is_empty() && self.held.iter().all(|held| held.name > *name);
        !self.is_certain || forgot
    }

    /// The greatest that it has.
    pub(super) fn top(&self) -> Option<WriteName> {
        self.held.iter().map(|held| held.name).max()
    }
}

/// The latest write of all that `shown` has, acknowledged or not.
pub(super) fn latest(shown: &[Shown]) -> Option<WriteName> {
    shown.iter().filter_map(Shown::top).max()
}

/// All writes that members show, the latest first.
pub(super) fn writes(shown: &[Shown]) -> Vec<WriteName> {
    let held = shown.iter().flat_map(|shown| shown.held.iter());
    let mut writes: Vec<WriteName> = held.map(|held| held.name).collect();
    writes.sort_unstable_by(|one, other| other.cmp(one));
    writes.dedup();
    writes
}

/// Members whose word is whole.
pub(super) fn answered(shown: &[Shown]) -> usize {
    shown.iter().filter(|shown| shown.is_certain).count()
}

/// What `shown` says, one per member. A write above `floor` that is unclear is passed over: it began
/// after whoever asks, who saw nothing above `floor` then.
pub(super) fn judge(layout: Layout, shown: &[Shown], floor: Option<WriteName>) -> Verdict {
    let answered = answered(shown);
    for write in writes(shown) {
        let holders = shown.iter().filter(|shown| shown.holds(&write)).count();
        if holders >= layout.quorum() {
            return Verdict::Known(Some(write));
        }
        let others = shown.iter().filter(|shown| !shown.holds(&write));
        let possible = holders + others.filter(|shown| shown.may_have_had(&write)).count();
        let began_later = floor.is_some_and(|floor| write > floor);
        if possible >= layout.quorum() && !began_later {
            return Verdict::Unclear(Unclear {
                write: Some(write),
                holders,
                answered,
            });
        }
    }
    // Each member of a quorum that had something would have something, and who did not answer may.
    let nothing = shown
        .iter()
        .filter(|shown| shown.is_certain && shown.held.is_empty());
    if layout.total() - nothing.count() >= layout.quorum() {
        return Verdict::Unclear(Unclear {
            write: None,
            holders: 0,
            answered,
        });
    }
    Verdict::Known(None)
}

/// The block of a write, of what its holders show.
pub(super) fn block(layout: Layout, shown: &[Shown], write: WriteName) -> Option<Vec<u8>> {
    let pieces = shown.iter().enumerate().filter_map(|(index, shown)| {
        let held = shown.held.iter().find(|held| held.name == write)?;
        Some((index, held.piece.as_slice()))
    });
    layout.block(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(count: u64) -> WriteName {
        (Version { epoch: 1, count }, [0; 12])
    }

    /// Each member's versions; none for one that is away.
    fn shown(members: &[Option<&[u64]>]) -> Vec<Shown> {
        let one = |versions: &Option<&[u64]>| {
            let held = versions.unwrap_or_default().iter().map(|count| Held {
                name: write(*count),
                piece: vec![0; 64],
            });
            Shown {
                held: held.collect(),
                has_answered: versions.is_some(),
                is_certain: versions.is_some(),
                is_damaged: false,
            }
        };
        members.iter().map(one).collect()
    }

    fn three(members: [Option<&[u64]>; 3]) -> Verdict {
        judge(Layout::replicated(3).unwrap(), &shown(&members), None)
    }

    fn known(count: u64) -> Verdict {
        Verdict::Known(Some(write(count)))
    }

    #[test]
    fn what_a_quorum_has_is_known_and_what_none_can_have_is_passed_over() {
        assert_eq!(three([Some(&[1]), Some(&[1]), None]), known(1));
        assert_eq!(three([Some(&[1, 2]), Some(&[1]), Some(&[1])]), known(1));
        assert_eq!(three([Some(&[1, 2]), Some(&[1, 2]), Some(&[1])]), known(2));
        assert_eq!(three([Some(&[]), Some(&[]), None]), Verdict::Known(None));
        assert_eq!(
            three([Some(&[1]), Some(&[]), Some(&[])]),
            Verdict::Known(None)
        );
    }

    #[test]
    fn what_can_neither_be_shown_nor_ruled_out_is_unclear() {
        let unclear = |verdict, write, holders, answered| {
            let expected = Unclear {
                write,
                holders,
                answered,
            };
            assert_eq!(verdict, Verdict::Unclear(expected));
        };
        unclear(
            three([Some(&[1, 2]), Some(&[1]), None]),
            Some(write(2)),
            1,
            2,
        );
        unclear(three([Some(&[1]), None, None]), Some(write(1)), 1, 1);
        unclear(three([Some(&[]), None, None]), None, 0, 1);
        // Whoever has 3 and 4 only may have had 2.
        let forgot = three([Some(&[1, 2]), Some(&[3, 4]), Some(&[1])]);
        unclear(forgot, Some(write(2)), 1, 3);
    }

    #[test]
    fn what_began_after_the_question_is_passed_over() {
        let layout = Layout::replicated(3).unwrap();
        let shown = shown(&[Some(&[2, 3]), Some(&[1, 2]), None]);
        assert!(matches!(judge(layout, &shown, None), Verdict::Unclear(_)));
        assert_eq!(judge(layout, &shown, Some(write(2))), known(2));
        // But not as far as to what was there before anything was written.
        let away = self::shown(&[Some(&[3, 4]), Some(&[2]), None]);
        assert!(matches!(
            judge(layout, &away, Some(write(2))),
            Verdict::Unclear(_)
        ));
        let away = self::shown(&[Some(&[3, 4]), None, Some(&[])]);
        assert!(matches!(
            judge(layout, &away, Some(write(2))),
            Verdict::Unclear(_)
        ));
    }
}
