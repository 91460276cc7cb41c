//! Asking all members at once, and when to wait no longer. Knows nothing of what is asked.

use std::future::Future;

use futures::FutureExt as _;
use futures::future::poll_immediate;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use super::member::{MemberDone, MemberError, MemberOp};
use super::seats::LATE_PATIENCE;
use super::spread::Volume;

/// The answers of the members by their places; none of those that were not waited for.
pub(super) type Answers<T> = Vec<Option<Result<T, MemberError>>>;

/// Whether what was answered is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enough {
    /// All are waited for.
    No,
    /// It is, and those who are not known to be late are waited for a moment.
    ButForLate,
    /// Nobody is waited for.
    Yes,
}

impl Volume {
    /// Asks all members the same.
    pub(super) async fn everyone(&self, op: impl Fn(usize) -> MemberOp) -> Answers<MemberDone> {
        let quorum = self.layout.quorum();
        let ask = |index| self.seats.ask(index, op(index));
        self.gather(ask, |answers| quorate(answers, quorum)).await
    }

    /// Asks all members. Each question is sent, also to those who are not waited for; what is not
    /// waited for is dropped.
    pub(super) async fn gather<T, F>(
        &self,
        ask: impl Fn(usize) -> F,
        enough: impl Fn(&Answers<T>) -> Enough,
    ) -> Answers<T>
    where
        F: Future<Output = Result<T, MemberError>>,
    {
        let total = self.layout.total();
        let mut asks: FuturesUnordered<_> = (0..total)
            .map(|index| ask(index).map(move |answer| (index, answer)))
            .collect();
        let mut answers: Answers<T> = (0..total).map(|_| None).collect();
        let mut since = None;
        loop {
            let until = since.map(|since: Instant| since + LATE_PATIENCE);
            let late = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = asks.next() => match answer {
                    Some(answer) => note(&mut answers, answer),
                    None => return answers,
                },
                () = late => break,
            }
            match enough(&answers) {
                Enough::No => {}
                Enough::Yes => return answers,
                Enough::ButForLate => {
                    since.get_or_insert_with(Instant::now);
                    if self.waited_for(&answers).is_empty() {
                        break;
                    }
                }
            }
        }
        // A question is sent when it is polled first.
        while let Some(Some(answer)) = poll_immediate(asks.next()).await {
            note(&mut answers, answer);
        }
        for index in self.waited_for(&answers) {
            self.seats.set_late(index);
        }
        answers
    }

    fn waited_for<T>(&self, answers: &Answers<T>) -> Vec<usize> {
        let open = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| answer.is_none());
        let waited = open.filter(|(index, _)| self.seats.is_waited_for(*index));
        waited.map(|(index, _)| index).collect()
    }
}

/// Enough when a quorum did it.
pub(super) fn quorate<T>(answers: &Answers<T>, quorum: usize) -> Enough {
    let done = answers.iter().flatten().filter(|answer| answer.is_ok());
    if done.count() >= quorum {
        Enough::ButForLate
    } else {
        Enough::No
    }
}

fn note<T>(answers: &mut Answers<T>, (index, answer): (usize, Result<T, MemberError>)) {
    if let Some(place) = answers.get_mut(index) {
        *place = Some(answer);
    }
}
