//! The members of a volume as it knows them: who is there, who is late, who lost something. Knows the
//! operations of members and no block.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::member::{Member, MemberDone, MemberError, MemberOp};

/// What is waited for a member's answer: the streams of peers that are gone end sooner, and a member
/// that takes longer is as good as gone.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
/// What is waited for the others once enough have answered: a piece that all have outlives more deaths
/// than one that a quorum has.
pub(super) const LATE_PATIENCE: Duration = Duration::from_secs(1);
/// How long one who let others wait is not waited for.
const LATE_PAUSE: Duration = Duration::from_secs(10);

/// A place of a volume and who sits there.
#[derive(Debug, Clone, Default)]
pub struct Seat {
    pub(super) member: Option<Arc<dyn Member>>,
    pub(super) is_whole: bool,
}

impl Seat {
    /// A member that was there from the beginning, or was repaired.
    #[must_use]
    pub fn whole(member: Arc<dyn Member>) -> Self {
        Self {
            member: Some(member),
            is_whole: true,
        }
    }

    /// A new member in the place of another: that it has no piece says nothing until it was repaired.
    #[must_use]
    pub fn fresh(member: Arc<dyn Member>) -> Self {
        Self {
            member: Some(member),
            is_whole: false,
        }
    }

    /// Nobody that can be reached.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }
}

/// All places.
#[derive(Debug)]
pub(super) struct Seats {
    places: Mutex<Vec<Place>>,
}

#[derive(Debug)]
struct Place {
    seat: Seat,
    /// Whether this writer's epoch is fenced there.
    is_fenced: bool,
    /// Since when it lets others wait.
    late_since: Option<Instant>,
    /// Whether a piece of it did not open.
    is_damaged: bool,
    /// How often something may have been lost there.
    losses: u64,
}

/// Which losses of a member are known: what it did under other ones does not count.
pub(super) type Losses = u64;
/// Places, and which losses of theirs were known when they did or had something.
pub(super) type Holders = Vec<(usize, Losses)>;

impl Seats {
    pub(super) fn new(seats: Vec<Seat>) -> Self {
        let place = |seat| Place {
            seat,
            is_fenced: false,
            late_since: None,
            is_damaged: false,
            losses: 0,
        };
        let places = Mutex::new(seats.into_iter().map(place).collect());
        Self { places }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of<T>(&self, index: usize, look: impl FnOnce(&mut Place) -> T) -> Option<T> {
        self.places().get_mut(index).map(look)
    }

    /// Puts another into a place.
    pub(super) fn replace(&self, index: usize, seat: Seat) -> bool {
        let replaced = self.of(index, |place| {
            *place = Place {
                seat,
                is_fenced: false,
                late_since: None,
                is_damaged: false,
                losses: place.losses + 1,
            };
        });
        replaced.is_some()
    }

    /// Asks the member of a place, and remembers how it behaved.
    pub(super) async fn ask(
        &self,
        index: usize,
        operation: MemberOp,
    ) -> Result<MemberDone, MemberError> {
        let losses = self.losses(index);
        self.ask_same(index, losses, operation).await
    }

    /// Asks the member of a place as long as it lost nothing more than `losses`.
    pub(super) async fn ask_same(
        &self,
        index: usize,
        losses: Losses,
        operation: MemberOp,
    ) -> Result<MemberDone, MemberError> {
        let member = self.of(index, |place| place.seat.member.clone()).flatten();
        let nobody = || MemberError::Lost("nobody has this place".to_owned());
        let member = member.ok_or_else(nobody)?;
        if self.losses(index) != losses {
            return Err(changed());
        }
        let asked = timeout(ANSWER_PATIENCE, member.ask(operation)).await;
        let Ok(answer) = asked else {
            self.of(index, |place| place.late_since = Some(Instant::now()));
            let text = format!("no answer came in {ANSWER_PATIENCE:?}");
            return Err(MemberError::Lost(text));
        };
        let noted = self.of(index, |place| {
            if place.losses != losses {
                return Err(changed());
            }
            match &answer {
                Err(MemberError::Lost(_) | MemberError::Disk(_) | MemberError::Ended) => {
                    place.losses += 1;
                    place.is_fenced = false;
                }
                _ => place.late_since = None,
            }
            Ok(())
        });
        noted.unwrap_or_else(|| Err(nobody()))?;
        answer
    }

    pub(super) fn losses(&self, index: usize) -> Losses {
        self.of(index, |place| place.losses).unwrap_or_default()
    }

    pub(super) fn is_there(&self, index: usize) -> bool {
        let there = self.of(index, |place| place.seat.member.is_some());
        there.unwrap_or_default()
    }

    pub(super) fn is_whole(&self, index: usize) -> bool {
        let whole = self.of(index, |place| place.seat.is_whole);
        whole.unwrap_or_default()
    }

    /// The member was repaired, or is in part again what a new one is.
    pub(super) fn set_whole(&self, index: usize, losses: Losses) {
        self.of(index, |place| {
            if place.losses == losses {
                (place.seat.is_whole, place.is_damaged) = (true, false);
            }
        });
    }

    pub(super) fn is_fenced(&self, index: usize) -> bool {
        self.of(index, |place| place.is_fenced).unwrap_or_default()
    }

    pub(super) fn set_fenced(&self, index: usize, fenced: bool) {
        self.of(index, |place| place.is_fenced = fenced);
    }

    /// Others waited for it in vain.
    pub(super) fn set_late(&self, index: usize) {
        self.of(index, |place| {
            place.late_since = Some(Instant::now());
        });
    }

    /// Whether it is waited for once enough others have answered.
    pub(super) fn is_waited_for(&self, index: usize) -> bool {
        let waits = |place: &mut Place| match place.late_since {
            Some(since) => since.elapsed() >= LATE_PAUSE,
            None => true,
        };
        self.of(index, waits).unwrap_or_default()
    }

    pub(super) fn set_damaged(&self, index: usize) {
        self.of(index, |place| place.is_damaged = true);
    }

    /// Places whose pieces did not open.
    pub(super) fn damaged(&self) -> Vec<usize> {
        let places = self.places();
        let damaged = places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.is_damaged);
        damaged.map(|(index, _)| index).collect()
    }

    /// Places in the order in which they are read: those that answer, and what needs no decoding first.
    pub(super) fn by_promise(&self) -> Vec<usize> {
        let places = self.places();
        let hopeless = |index: &usize| {
            places.get(*index).is_none_or(|place| {
                let good = place.seat.member.is_some() && place.seat.is_whole;
                !good || place.late_since.is_some() || place.is_damaged
            })
        };
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|index| (hopeless(index), *index));
        order
    }
}

fn changed() -> MemberError {
    MemberError::Lost("it was lost, or another took its place, meanwhile".to_owned())
}
