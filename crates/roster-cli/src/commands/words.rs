//! The words of the command line that more than one subcommand parses.

use std::time::Duration;

use bytesize::ByteSize;
use roster_core::directory::OfflineReason;
use roster_core::queue::QueueName;
use roster_core::{Address, Cutover, Selector, ServiceName};

/// `10s`, `1m 30s`, `250ms`; a bare `0` is no time at all.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 3s, 250ms or 1m30s"))
}

/// `HOST:PORT`, with an IPv6 address in brackets.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err("it has no port; write it like 10.0.0.7:8080".to_owned());
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    Address::parse(host, port).map_err(|wrong| wrong.to_string())
}

/// A service name.
pub(crate) fn service(text: &str) -> Result<ServiceName, String> {
    ServiceName::parse(text).map_err(|wrong| wrong.to_string())
}

/// The name of a queue.
pub(crate) fn queue(text: &str) -> Result<QueueName, String> {
    QueueName::parse(text).map_err(|wrong| wrong.to_string())
}

/// `512`, `64 KiB`, `1GiB`; in bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text.parse().map_err(|error| format!("{error}; write it like 65536, 64KiB or 1MiB"))?;
    Ok(size.as_u64())
}

/// A service name, or a prefix that ends in `/`; not empty, so that everything is asked for by its own word.
pub(crate) fn selector(text: &str) -> Result<Selector, String> {
    if text.is_empty() {
        return Err("it is empty; use --all for everything".to_owned());
    }
    Selector::parse(text).map_err(|wrong| wrong.to_string())
}

/// A prefix that ends in `/`.
pub(crate) fn prefix(text: &str) -> Result<Selector, String> {
    match selector(text)? {
        Selector::Service(_) => Err("a prefix ends in /".to_owned()),
        prefix @ (Selector::Prefix(_) | Selector::All) => Ok(prefix),
    }
}

/// A number of instances, or `side-by-side`.
pub(crate) fn cutover(text: &str) -> Result<Cutover, String> {
    if text == "side-by-side" {
        return Ok(Cutover::SideBySide);
    }
    let instances = text.parse().map_err(|_| "write a number of instances, or side-by-side".to_owned())?;
    Cutover::after(instances).map_err(|wrong| wrong.to_string())
}

/// Why an instance should leave.
pub(crate) fn offline_word(reason: OfflineReason) -> &'static str {
    match reason {
        OfflineReason::Superseded => "a higher version took over",
        OfflineReason::Handover => "another instance takes the singleton over",
        OfflineReason::Displaced => "a further newcomer took its pending place",
        OfflineReason::Replaced => "its address was registered anew by another session",
        OfflineReason::Drained => "an operator drains it",
    }
}

/// A pair such as `key=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it like key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(address("10.0.0.7:80").unwrap().to_string(), "10.0.0.7:80");
        assert_eq!(address("[::1]:80").unwrap().host(), "::1");
        assert!(address("10.0.0.7").unwrap_err().contains("no port"));
        assert!(address("0.0.0.0:80").unwrap_err().contains("reachable"));
        assert!(address("a:http").unwrap_err().contains("not a port"));
    }

    #[test]
    fn a_span_has_a_unit() {
        assert_eq!(span("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(span("0"), Ok(Duration::ZERO));
        assert!(span("3").unwrap_err().contains("write it like"));
    }

    #[test]
    fn a_size_may_have_a_unit() {
        assert_eq!([size("512"), size("64 KiB"), size("1MiB")], [Ok(512), Ok(65_536), Ok(1_048_576)]);
        assert!(size("much").unwrap_err().contains("write it like"));
    }

    #[test]
    fn a_cutover_is_a_number_or_never() {
        assert_eq!(cutover("side-by-side"), Ok(Cutover::SideBySide));
        assert_eq!(cutover("2"), Ok(Cutover::after(2).unwrap()));
        assert!(cutover("0").is_err());
        assert!(cutover("often").unwrap_err().contains("side-by-side"));
    }

    #[test]
    fn a_prefix_is_told_from_a_name() {
        assert!(prefix("team/").is_ok());
        assert!(prefix("team").is_err());
        assert!(selector("").is_err());
    }
}
