//! The four proofs that an asset operation needs, as values: what each claims and how it is checked.
//! Pure: knows no clock, no disk, no socket; heights, beacons and facts of the ledger are arguments.

mod answer;
mod beacon;
mod bundle;
mod calibration;
mod certificate;
mod draw;
mod encoding;
mod execution;
mod order;
mod plot;
mod receipt;
mod shown;
mod space;
mod stake;
mod time;
mod tree;
mod work;

pub use answer::{
    ANSWER_BYTES_MAX, Answer, ProvenChunk, SignedAnswer, SpaceFacts, VerifySpaceError,
};
pub use beacon::beacon_of;
pub use bundle::{Facts, MissingProofs, PROOFS_BYTES_MAX, ProofKind, Proofs, VerifyProofsError};
pub use calibration::{
    CALIBRATION_SAMPLES, CALIBRATION_UNITS_MAX, Calibration, CalibrationCheck, CalibrationFacts,
    CalibrationSeed, UNIT_ROUNDS, UNIT_STEPS, VerifyCalibrationError,
};
pub use certificate::{
    Agreement, CERTIFICATE_RECEIPTS_MAX, CertificateRule, ReceiptCertificate,
    VerifyReceiptCertificateError, draw_nodes,
};
pub use encoding::DecodeProofError;
pub use execution::{
    EXECUTION_PROOF_BYTES_MAX, ExecutionProof, RESULT_BYTES_MAX, VerifyExecutionError,
};
pub use order::{
    DrawError, ExecutionOrder, ORDER_ANCHOR_BLOCKS_MAX, ORDER_BYTES_MAX, Rerun, output_digest,
};
pub use plot::Plot;
pub use receipt::{
    CompareReceiptsError, Difference, EXPORT_BYTES_MAX, EngineMode, EngineProfile, Export,
    ExportError, RECEIPT_BYTES_MAX, Receipt, Refutation, SignedReceipt,
};
pub use shown::{SPACE_PROOF_BYTES_MAX, ShownFacts, SpaceProof, VerifyShownError};
pub use space::{
    CHALLENGE_CHUNKS, COMMITTED_BYTES_MAX, Challenge, Commitment, Content, drawn_commitment,
};
pub use stake::{StakeClaim, StakeFacts, StakeProof, StakeRole, VerifyStakeError};
pub use time::{ANCHOR_BLOCKS_MAX, EXPIRY_BLOCKS_MAX, TimeFacts, TimeProof, VerifyTimeError};
pub use tree::{CHUNK_BYTES, GROUP_BYTES, ReadAt, build_tree, outboard_bytes};
pub use work::{VerifyWorkError, WorkDemand, WorkEvidence, WorkProof, operation_digest};
