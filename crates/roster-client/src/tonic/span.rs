//! The time that a call may take, as gRPC writes it into a header.

use std::time::Duration;

use http::HeaderMap;

/// The value of `grpc-timeout`: up to eight digits and a unit. What is not of that form counts as none.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &'static str) -> Option<Duration> {
        of(&HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), text.parse().unwrap())]))
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(span("250m"), Some(Duration::from_millis(250)));
        assert_eq!(span("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(span("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "m", "12", "-1m", "123456789S", "1x", "1.5S"] {
            assert_eq!(span(wrong), None, "{wrong:?}");
        }
    }
}
