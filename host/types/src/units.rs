//! Sizes and durations with their units, as people write them and as machines count them.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes, written `64MiB`, `10kB` or `512B`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

/// A duration in whole milliseconds, written `250ms`, `30s`, `5m` or `1h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(u64);

const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is not a quantity with a known unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a {what}: expected a whole number and one of {units}, such as `{example}`"
)]
pub struct ParseUnitError {
    text: String,
    what: &'static str,
    units: &'static str,
    example: &'static str,
}

impl ByteSize {
    /// `count` bytes.
    #[must_use]
    pub const fn bytes(count: u64) -> Self {
        Self(count)
    }

    /// `count` KiB (1,024 bytes).
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` MiB (1,048,576 bytes).
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl Millis {
    /// `count` milliseconds.
    #[must_use]
    pub const fn new(count: u64) -> Self {
        Self(count)
    }

    /// `count` seconds.
    #[must_use]
    pub const fn seconds(count: u64) -> Self {
        Self(count * 1_000)
    }

    /// The duration in milliseconds.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The duration for use with clocks.
    #[must_use]
    pub const fn duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

/// Writes `value` in the largest unit that divides it.
fn format(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let exact = units
        .iter()
        .find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    let (unit, factor) = exact.or(units.last()).copied().unwrap_or(("", 1));
    f.pad(&format!("{}{unit}", value / factor))
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format(self.0, &SIZE_UNITS, f)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        format(self.0, &TIME_UNITS, f)
    }
}

impl FromStr for ByteSize {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &SIZE_UNITS)
            .map(Self)
            .ok_or_else(|| ParseUnitError {
                text: text.chars().take(40).collect(),
                what: "size",
                units: "B, kB, MB, GB, KiB, MiB, GiB",
                example: "64MiB",
            })
    }
}

impl FromStr for Millis {
    type Err = ParseUnitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text, &TIME_UNITS)
            .map(Self)
            .ok_or_else(|| ParseUnitError {
                text: text.chars().take(40).collect(),
                what: "duration",
                units: "ms, s, m, h",
                example: "30s",
            })
    }
}

/// Text for people, the bare number for canonical bytes.
macro_rules! unit_serde {
    ($unit:ident, $expected:literal) => {
        impl fmt::Debug for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $unit;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$unit, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$unit, E> {
                        Err(E::invalid_type(Unexpected::Signed(number), &self))
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_any(Text)
                } else {
                    u64::deserialize(deserializer)
                        .map(Self)
                        .map_err(D::Error::custom)
                }
            }
        }
    };
}

unit_serde!(ByteSize, "a size in quotes, such as \"64MiB\"");
unit_serde!(Millis, "a duration in quotes, such as \"30s\"");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_round_trip() {
        for text in ["64MiB", "10kB", "512B", "1GiB", "0B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
        for text in ["250ms", "30s", "5m", "1h", "0ms"] {
            assert_eq!(text.parse::<Millis>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn unknown_units_and_overflow_are_refused() {
        for bad in [
            "",
            "64",
            "MiB",
            "64mib",
            "-1B",
            "1.5GiB",
            "99999999999999GiB",
            "1 B B",
        ] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
        for bad in ["", "30", "s", "1d", "-1s"] {
            assert!(bad.parse::<Millis>().is_err(), "{bad}");
        }
    }
}
