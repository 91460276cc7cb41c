//! Cheating with space, on real files: what is deleted, cut, changed, somebody else's or late fails.

use std::io::ErrorKind;

use hypermesh_proofs::{
    Answer, CHUNK_BYTES, COMMITTED_BYTES_MAX, Challenge, Commitment, Content, Plot, SignedAnswer,
    SpaceFacts, VerifySpaceError,
};
use tempfile::tempdir;
use types::Digest;

use crate::world::{ASKED, DEADLINE, FABRIC, Kept, asset, beacon, public, sign};

const BYTES: u64 = 3_000_000;

/// Whether the challenges of the next `count` heights are met from what `kept` holds now.
fn outcomes(kept: &Kept, count: u64) -> Vec<bool> {
    let heights = ASKED..ASKED + count;
    let judged = heights.map(|height| {
        let facts = SpaceFacts {
            challenge: Challenge::draw(&beacon(height), height, &kept.commitment),
            seen_at_height: height + 1,
            deadline_height: height + 4,
            ..kept.facts()
        };
        let answer = kept.answer(1, &facts);
        answer.is_ok_and(|answer| answer.verify(&facts).is_ok())
    });
    judged.collect()
}

#[test]
fn who_keeps_everything_passes_every_challenge() {
    let dir = tempdir().unwrap();
    for bytes in [1, 1_024, 20_000, BYTES] {
        let kept = Kept::filler(dir.path(), 1, bytes);
        assert!(outcomes(&kept, 20).iter().all(|passed| *passed), "{bytes}");
    }
    let content = vec![7; 500_000];
    let kept = Kept::new(dir.path(), 1, Content::Kept, 500_000, &content);
    assert!(outcomes(&kept, 20).iter().all(|passed| *passed));
}

#[test]
fn presence_is_answered_without_a_disk_and_by_its_node_only() {
    let commitment = Commitment::presence(public(1), asset());
    let facts = SpaceFacts {
        fabric: FABRIC,
        challenge: Challenge::draw(&beacon(ASKED), ASKED, &commitment),
        deadline_height: DEADLINE,
        seen_at_height: ASKED + 1,
    };
    let answered = |seed: u8, commitment: &Commitment| {
        let challenge = Challenge::draw(&beacon(ASKED), ASKED, commitment);
        let answer = Answer::present(FABRIC, &challenge);
        let signature = sign(seed, &answer.signing_bytes());
        SignedAnswer { answer, signature }.verify(&facts)
    };
    assert_eq!(answered(1, &commitment), Ok(()));
    let forged = answered(2, &commitment);
    assert!(matches!(forged, Err(VerifySpaceError::Signature(_))));
    let other = Commitment::presence(public(2), asset());
    let elsewhere = answered(2, &other);
    assert!(matches!(elsewhere, Err(VerifySpaceError::OtherNode { .. })));
    let other = Commitment::presence(public(1), Digest::of(b"another"));
    let about_another = answered(1, &other);
    assert!(matches!(
        about_another,
        Err(VerifySpaceError::OtherAsset { .. })
    ));
}

#[test]
fn truncated_files_fail_within_few_challenges() {
    let dir = tempdir().unwrap();
    let kept = Kept::filler(dir.path(), 1, BYTES);
    // The last tenth: one challenge meets it 96.6 times in 100.
    kept.data.truncate(BYTES - BYTES / 10);
    let failed = outcomes(&kept, 50)
        .iter()
        .filter(|passed| !**passed)
        .count();
    assert!(failed >= 40, "{failed}");
    let short = kept.answer(1, &kept.facts()).unwrap_err();
    assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn punched_blocks_fail_as_often_as_they_are_met() {
    let dir = tempdir().unwrap();
    let kept = Kept::filler(dir.path(), 1, BYTES);
    // 5 %: one challenge meets them 80.6 times in 100.
    kept.data.punch(1_000_000, 150_000);
    let failed = outcomes(&kept, 100)
        .iter()
        .filter(|passed| !**passed)
        .count();
    assert!((65..95).contains(&failed), "{failed}");
}

#[test]
fn a_deleted_file_has_no_answer_and_is_overdue_after_the_deadline() {
    let dir = tempdir().unwrap();
    let kept = Kept::filler(dir.path(), 1, BYTES);
    kept.data.truncate(0);
    let at = |seen_at_height| SpaceFacts {
        seen_at_height,
        ..kept.facts()
    };
    assert!(kept.answer(1, &kept.facts()).is_err());
    assert!(!at(DEADLINE).is_overdue());
    assert!(at(DEADLINE + 1).is_overdue());
}

#[test]
fn a_flipped_bit_in_data_or_tree_fails_where_it_is_asked_for() {
    let dir = tempdir().unwrap();
    let kept = Kept::filler(dir.path(), 1, BYTES);
    let facts = kept.facts();
    let chunk = facts.challenge.chunks()[9];
    kept.data.flip(chunk * CHUNK_BYTES);
    let refusal = kept.answer(1, &facts).unwrap().verify(&facts);
    // Whoever shows a neighbour in the same group shows a hash of what is damaged.
    let Err(VerifySpaceError::Damaged { chunk: found }) = refusal else {
        panic!("{refusal:?}");
    };
    assert_eq!(found / 16, chunk / 16);
    kept.data.flip(chunk * CHUNK_BYTES);
    assert_eq!(kept.answer(1, &facts).unwrap().verify(&facts), Ok(()));
    kept.outboard.flip(0);
    kept.outboard.flip(32);
    let refusal = kept.answer(1, &facts).unwrap().verify(&facts);
    assert!(matches!(refusal, Err(VerifySpaceError::Damaged { .. })));
}

#[test]
fn another_nodes_answer_relayed_is_refused_in_time_and_past_the_deadline() {
    let (mine, theirs) = (tempdir().unwrap(), tempdir().unwrap());
    let content = vec![7; 500_000];
    let keep = |dir, seed| Kept::new(dir, seed, Content::Kept, 500_000, &content);
    // Both committed to the same content; only the other has it.
    let (lazy, honest) = (keep(mine.path(), 1), keep(theirs.path(), 2));
    let facts = lazy.facts();
    let relayed = honest.answer(2, &honest.facts()).unwrap();
    let (expected, found) = (public(1), public(2));
    let refusal = relayed.verify(&facts);
    assert_eq!(
        refusal,
        Err(VerifySpaceError::OtherNode { expected, found })
    );
    // Under the own name the signature is missing, and with it the chunks are others.
    let mut renamed = relayed;
    renamed.answer.node = public(1);
    let refusal = renamed.verify(&facts);
    assert!(matches!(refusal, Err(VerifySpaceError::Signature(_))));
    renamed.signature = crate::world::sign(1, &renamed.answer.signing_bytes());
    let refusal = renamed.verify(&facts);
    assert!(matches!(refusal, Err(VerifySpaceError::Damaged { .. })));
    // Fetched from the other for the own challenge: the deadline is what remains.
    let mut fetched = honest.answer(1, &facts).unwrap();
    assert_eq!(fetched.answer.node, public(1));
    assert_eq!(
        fetched.verify(&facts),
        Ok(()),
        "nothing forbids to fetch in time"
    );
    let late = SpaceFacts {
        seen_at_height: DEADLINE + 1,
        ..facts
    };
    fetched.answer.fabric = FABRIC;
    let (deadline, seen) = (DEADLINE, DEADLINE + 1);
    assert_eq!(
        fetched.verify(&late),
        Err(VerifySpaceError::Late { deadline, seen })
    );
}

#[test]
fn who_claims_more_or_less_than_there_is_never_passes() {
    let dir = tempdir().unwrap();
    let content = vec![7; 500_000];
    let mut kept = Kept::new(dir.path(), 1, Content::Kept, 500_000, &content);
    for claimed in [1, 499_000, 499_999, 500_001, 501_000, 524_288, 1_000_000] {
        kept.commitment.bytes = claimed;
        assert!(
            outcomes(&kept, 20).iter().all(|passed| !*passed),
            "{claimed}"
        );
    }
}

#[test]
fn two_nodes_cannot_share_one_copy_of_filler() {
    let dir = tempdir().unwrap();
    // The second commits to what the first keeps, root and all.
    let first = Plot::new(&public(1), &asset());
    let shared = Kept::new(dir.path(), 2, Content::Filler, 100_000, &first);
    let facts = shared.facts();
    let refusal = shared.answer(2, &facts).unwrap().verify(&facts);
    assert!(matches!(refusal, Err(VerifySpaceError::NotFiller { .. })));
}

#[test]
fn filler_that_packs_better_is_no_filler() {
    let dir = tempdir().unwrap();
    let zeros = Kept::new(dir.path(), 1, Content::Filler, 100_000, &vec![0; 100_000]);
    let facts = zeros.facts();
    let refusal = zeros.answer(1, &facts).unwrap().verify(&facts);
    assert!(matches!(refusal, Err(VerifySpaceError::NotFiller { .. })));
}

#[test]
fn an_answer_is_good_for_its_own_question_only() {
    use VerifySpaceError as E;
    let dir = tempdir().unwrap();
    let kept = Kept::filler(dir.path(), 1, 100_000);
    let facts = kept.facts();
    let answer = kept.answer(1, &facts).unwrap();
    let with = |commitment: Commitment, height| SpaceFacts {
        challenge: Challenge::draw(&beacon(ASKED), height, &commitment),
        ..facts.clone()
    };
    let other = Digest::of(b"other");
    let other_asset = Commitment {
        asset: other,
        ..kept.commitment
    };
    let empty = Commitment {
        bytes: 0,
        ..kept.commitment
    };
    let huge = Commitment {
        bytes: COMMITTED_BYTES_MAX + 1,
        ..kept.commitment
    };
    let cases = [
        (
            with(other_asset, ASKED),
            E::OtherAsset {
                expected: other,
                found: asset(),
            },
        ),
        (
            with(kept.commitment, ASKED + 1),
            E::OtherHeight {
                expected: ASKED + 1,
                found: ASKED,
            },
        ),
        (
            SpaceFacts {
                fabric: other,
                ..facts.clone()
            },
            E::OtherFabric {
                expected: other,
                found: FABRIC,
            },
        ),
        (
            SpaceFacts {
                seen_at_height: ASKED,
                ..facts.clone()
            },
            E::Early {
                asked: ASKED,
                seen: ASKED,
            },
        ),
        (with(empty, ASKED), E::Commitment { bytes: 0 }),
        (
            with(huge, ASKED),
            E::Commitment {
                bytes: COMMITTED_BYTES_MAX + 1,
            },
        ),
    ];
    for (facts, refusal) in cases {
        assert_eq!(answer.verify(&facts), Err(refusal));
    }
}

#[test]
fn an_answer_shows_as_many_chunks_as_were_asked_for() {
    let dir = tempdir().unwrap();
    let kept = Kept::filler(dir.path(), 1, 100_000);
    let facts = kept.facts();
    let mut fewer = kept.answer(1, &facts).unwrap();
    fewer.answer.chunks.pop();
    let (expected, found) = (33, 32);
    let refusal = fewer.verify(&facts);
    assert_eq!(refusal, Err(VerifySpaceError::Count { expected, found }));
}
