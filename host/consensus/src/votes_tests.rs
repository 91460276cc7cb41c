//! The engine's journal over noted files, damaged and torn at every byte.

use commonware_runtime::buffer::paged::{CacheRef, page_size};
use commonware_runtime::{Runner as _, Supervisor as _, deterministic};
use commonware_storage::journal::segmented::variable::{Config, Journal};
use commonware_utils::NZUsize;

use super::*;
use crate::waking::Waking;

/// As long as a vote is, so that a view has some.
type Entry = [u8; 150];
type Context = deterministic::Context;

const EPOCH: u64 = 3;
const ENTRIES: u8 = 4;

async fn journal(context: &Context) -> Journal<Waking<Context>, Entry> {
    let notes = Notes::open(context, EPOCH, Time::default()).await.unwrap();
    let context = Waking::new(context.child("journal"), None, Arc::new(notes));
    let config = Config {
        partition: votes_partition(EPOCH),
        compression: None,
        codec_config: (),
        page_cache: CacheRef::new(page_size(PAGE_BYTES), NZUsize!(8)),
        write_buffer: NZUsize!(1 << 16),
    };
    Journal::init(context, config).await.unwrap()
}

/// Everything that a start finds in the journal, with the journal.
async fn replayed(context: &Context) -> (Vec<(u64, Entry)>, Journal<Waking<Context>, Entry>) {
    let journal = journal(context).await;
    let options = ReadOptions::default();
    let mut replay = journal
        .replay(0, 0, NZUsize!(1 << 16), options)
        .await
        .unwrap();
    let mut found = Vec::new();
    while let Some(entry) = replay.next().await {
        let (view, _, _, entry) = entry.unwrap();
        found.push((view, entry));
    }
    (found, replay.finish().unwrap())
}

/// A journal with `views` of some entries each, every one flushed by itself.
async fn voted(context: &Context, views: u64) -> Vec<(u64, Entry)> {
    let mut entries = Vec::new();
    for view in 1..=views {
        for number in 1..=ENTRIES {
            let entry = [number; 150];
            // A simulated file forgets what was not flushed when it is closed, and the first note
            // after an opening is.
            let (_, journal) = replayed(context).await;
            let (journal, _, _) = journal.append(view, &entry).await.unwrap();
            drop(journal.sync(view).await.unwrap());
            entries.push((view, entry));
        }
    }
    entries
}

async fn bytes_of(context: &Context, partition: &str, name: &[u8]) -> Vec<u8> {
    let (file, size) = context.open(partition, name).await.unwrap();
    let size = usize::try_from(size).unwrap();
    let bytes = file.read_at(0, size, ReadOptions::default()).await.unwrap();
    bytes.coalesce().as_ref().to_vec()
}

async fn put(context: &Context, partition: &str, name: &[u8], bytes: &[u8]) {
    let (file, _) = context.open(partition, name).await.unwrap();
    file.resize(bytes.len() as u64).await.unwrap();
    let options = WriteOptions::default();
    file.write_at(0, bytes.to_vec(), options).await.unwrap();
    file.sync().await.unwrap();
}

#[test]
fn whichever_byte_changes_every_vote_is_there_or_the_journal_is_refused() {
    deterministic::Runner::default().start(|context| async move {
        let expected = voted(&context, 3).await;
        let (votes, notes) = (votes_partition(EPOCH), notes_partition(EPOCH));
        let noted = bytes_of(&context, &notes, NOTES).await;
        let (mut refused, mut held) = (0, 0);
        for view in 1..=3_u64 {
            let name = view.to_be_bytes();
            let whole = bytes_of(&context, &votes, &name).await;
            for place in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[place] ^= 0x40;
                put(&context, &votes, &name, &damaged).await;
                match check(&context, EPOCH).await {
                    Ok(()) => {
                        let (found, _) = replayed(&context).await;
                        assert_eq!(found, expected, "view {view}, byte {place}");
                        held += 1;
                    }
                    Err(CheckVotesError::Lost { view: named, .. }) => {
                        assert_eq!(named, view);
                        refused += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
                put(&context, &votes, &name, &whole).await;
                put(&context, &notes, NOTES, &noted).await;
            }
        }
        // Every byte of an entry matters; the rest of a page does not.
        let entry_bytes = 3 * usize::from(ENTRIES) * 150;
        assert!(refused >= entry_bytes, "{refused}");
        assert!(held > 0);
    });
}

#[test]
fn a_journal_that_is_torn_behind_its_last_flush_is_taken() {
    deterministic::Runner::default().start(|context| async move {
        let expected = voted(&context, 2).await;
        let votes = votes_partition(EPOCH);
        let (old, notes) = (2_u64.to_be_bytes(), notes_partition(EPOCH));
        let before = bytes_of(&context, &votes, &old).await;
        let noted = bytes_of(&context, &notes, NOTES).await;
        let (_, journal) = replayed(&context).await;
        let (journal, _, _) = journal.append(2, &[9; 150]).await.unwrap();
        drop(journal.sync(2).await.unwrap());
        let after = bytes_of(&context, &votes, &old).await;
        assert_ne!(before, after);
        for kept in 0..=after.len() {
            // The beginning of the write reached the disk; its note did not.
            let torn = [&after[..kept], before.get(kept..).unwrap_or(&[])].concat();
            put(&context, &votes, &old, &torn).await;
            put(&context, &notes, NOTES, &noted).await;
            check(&context, EPOCH).await.unwrap();
            let (found, _) = replayed(&context).await;
            assert!(found.starts_with(&expected), "{kept} bytes");
            // What the replay mended is taken at the next start, too.
            check(&context, EPOCH).await.unwrap();
        }
    });
}

#[test]
fn views_may_go_from_the_oldest_on_and_in_no_other_order() {
    deterministic::Runner::default().start(|context| async move {
        voted(&context, 5).await;
        let votes = votes_partition(EPOCH);
        let (_, journal) = replayed(&context).await;
        let (journal, pruned) = journal.prune(3).await.unwrap();
        assert!(pruned);
        drop(journal);
        check(&context, EPOCH).await.unwrap();
        let gone = |view| CheckVotesError::Lost {
            view,
            flushed: check_len(),
            intact: 0,
        };
        for view in [4_u64, 5] {
            let whole = bytes_of(&context, &votes, &view.to_be_bytes()).await;
            let name = view.to_be_bytes();
            context.remove(&votes, Some(&name)).await.unwrap();
            assert_eq!(check(&context, EPOCH).await, Err(gone(view)));
            put(&context, &votes, &name, &whole).await;
        }
        check(&context, EPOCH).await.unwrap();
        context.remove(&votes, None).await.unwrap();
        assert!(check(&context, EPOCH).await.is_err());
        forget(&context, EPOCH).await;
        check(&context, EPOCH).await.unwrap();
    });
}

/// Flushed bytes of a view of [`voted`]: the entries, each with its length before it.
fn check_len() -> u64 {
    u64::from(ENTRIES) * (150 + 2)
}

#[test]
fn a_note_that_does_not_hold_refuses_nothing() {
    deterministic::Runner::default().start(|context| async move {
        voted(&context, 2).await;
        let notes = notes_partition(EPOCH);
        let whole = bytes_of(&context, &notes, NOTES).await;
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            put(&context, &notes, NOTES, &damaged).await;
            check(&context, EPOCH).await.unwrap();
        }
    });
}

#[test]
fn a_vote_is_noted_when_its_flush_returns() {
    deterministic::Runner::default().start(|context| async move {
        for number in 1..=3 {
            let (_, journal) = replayed(&context).await;
            let (journal, _, _) = journal.append(7, &[1; 150]).await.unwrap();
            drop(journal.sync(7).await.unwrap());
            let found = super::notes(&context, EPOCH).await.unwrap();
            assert_eq!(found, [(7, number * 152)]);
        }
    });
}

/// The format on disk.
#[test]
fn a_note_is_these_bytes() {
    let note = encode_note(0x0102, 0x0304);
    let sum = Crc32::checksum(&note[..16]).to_be_bytes();
    assert_eq!(note[..16], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 3, 4]);
    assert_eq!(note[16..20], sum);
    assert_eq!(note[20..], [0; 12]);
    assert_eq!(decode_note(&note), Some((0x0102, 0x0304)));
}
