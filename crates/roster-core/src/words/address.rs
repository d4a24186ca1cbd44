//! Where an instance listens.

use std::fmt;
use std::net::IpAddr;

use smol_str::SmolStr;

use super::InvalidWord;
use crate::limits::HOST_BYTES_MAX;

/// A host (name or IP literal, IPv6 without brackets) and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: SmolStr,
    port: u16,
}

impl Address {
    /// # Errors
    /// [`InvalidWord`] when the port is 0 or above 65535, or the host is empty, too long, an
    /// unspecified address (nobody can connect to `0.0.0.0`), or neither an IP literal nor a host name.
    pub fn parse(host: &str, port: u32) -> Result<Self, InvalidWord> {
        let invalid = |why: String| Err(InvalidWord::new("address", &format!("{host}:{port}"), why));
        if host.len() > HOST_BYTES_MAX {
            return invalid(format!("the host has {} bytes; {HOST_BYTES_MAX} at most", host.len()));
        }
        let port = match u16::try_from(port) {
            Ok(port) if port > 0 => port,
            Ok(_) | Err(_) => return invalid("the port must be from 1 to 65535".into()),
        };
        match host.parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => {
                return invalid("nobody can connect to an unspecified address; advertise a reachable one".into());
            }
            Ok(_) => {}
            Err(_) if is_host_name(host) => {}
            Err(_) => return invalid("the host is neither an IP literal nor a host name".into()),
        }
        Ok(Self { host: SmolStr::new(host), port })
    }

    /// The host as it was given; not resolved.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// 1 to 65535.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// RFC 1123 §2.1 labels, with `_` allowed as container platforms use it.
fn is_host_name(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.strip_suffix('.').unwrap_or(host).split('.').all(label)
}
