//! Discovery: where members are and whether they live. Signed address records and their exchange,
//! liveness by SWIM, hints from the local network. Knows neither the ledger nor STOQ: who is a
//! member is an argument, and what is to be sent comes out as values.

mod exchange;
mod lan;
mod record;
mod swim;
mod table;

pub use exchange::{Exchange, Heard, MESSAGE_BYTES_MAX, ReadMessageError, Sending};
pub use lan::{Announced, HINTS_MAX, Hint, Hints, Lan, LanError, Sightings};
pub use record::{
    ADDRESSES_MAX, AddressRecord, CLOCK_SKEW_MAX_MS, DecodeRecordError, RECORD_BYTES_MAX,
    RECORD_LIFE_MS, RELAYS_MAX, RecordProblem, SignedRecord, advertisable,
};
pub use swim::{DATAGRAM_BYTES_MAX, Effect, Liveness, Swim};
pub use table::{RECORD_PAUSE_MS, RECORDS_MAX, Records, RefusedRecord, Taken};
