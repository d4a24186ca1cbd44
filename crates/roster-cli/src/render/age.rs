//! Points and spans of time as people read them.

use jiff::Timestamp;

/// How long ago that was, in its one or two largest units: `4m 10s`.
pub(crate) fn since(unix_ms: u64, now: Timestamp) -> String {
    let now_ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
    span(now_ms.saturating_sub(unix_ms) / 1000)
}

/// Seconds in their one or two largest units.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// RFC 3339 in UTC, to the millisecond: `2026-03-01T08:00:00.125Z`.
pub(crate) fn stamp(unix_ms: u64) -> String {
    let instant = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    instant.map_or_else(|| unix_ms.to_string(), |instant| format!("{instant:.3}"))
}

/// Only the time of day, for a line on a screen: `08:00:00.125`.
pub(crate) fn clock(instant: Timestamp) -> String {
    let stamp = format!("{instant:.3}");
    let time = stamp.split_once('T').map_or(stamp.as_str(), |(_, time)| time);
    time.trim_end_matches('Z').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_its_two_largest_units() {
        let shown = [0, 59, 250, 7_260, 266_400].map(span);
        assert_eq!(shown, ["0s", "59s", "4m 10s", "2h 1m", "3d 2h"]);
    }

    #[test]
    fn a_moment_of_the_future_is_now() {
        assert_eq!(since(5_000, Timestamp::from_second(1).unwrap()), "0s");
    }

    #[test]
    fn stamps_are_utc_to_the_millisecond() {
        assert_eq!(stamp(1_767_225_600_125), "2026-01-01T00:00:00.125Z");
        assert_eq!(clock(Timestamp::from_millisecond(1_767_225_600_000).unwrap()), "00:00:00.000");
    }
}
