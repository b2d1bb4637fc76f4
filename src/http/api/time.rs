//! Timestamps in the format of RFC 3339.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::clock::{Timestamp, millis};

/// The latest time that RFC 3339 can represent, in milliseconds since the Unix epoch.
const MAX_MILLIS: u64 = 253_402_300_799_999;

/// A timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-01-31T12:00:00Z"))]
pub struct Time(pub Timestamp);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.0).unwrap_or(0).min(MAX_MILLIS);
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let time: SystemTime =
            humantime::parse_rfc3339(&String::deserialize(from)?).map_err(Error::custom)?;
        Ok(Self(Timestamp(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_a_round_trip() {
        let time = Time(Timestamp(1_700_000_000_123));
        let text = serde_json::to_string(&time).expect("written");
        assert_eq!(text, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Time>(&text).expect("read"), time);
        for extreme in [i64::MIN, -1, i64::MAX] {
            let text = serde_json::to_string(&Time(Timestamp(extreme))).expect("written");
            assert!(serde_json::from_str::<Time>(&text).is_ok(), "{text}");
        }
    }
}
