//! The addresses of nodes, and one shared connection to each.
//!
//! The session, the watches and the unary calls of a client travel over the same HTTP/2 connection.
//! It is made at first use and again after it broke; a connection that is silent rather than broken
//! is thrown away by whoever notices, so that the next user does not wait for it again.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roster_proto::v1::admin_client::AdminClient;
use roster_proto::v1::backup_client::BackupClient;
use roster_proto::v1::queues_client::QueuesClient;
use roster_proto::v1::registry_client::RegistryClient;
use tonic::transport::Channel;

use crate::error::Error;

/// An idle connection is asked for a sign of life this often.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long that sign may take before the connection counts as broken.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A page of a thousand instances with all their facts, or the welcome of a session that owns as many
/// as it may, is longer than what gRPC takes by default.
const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How bytes reach a node. By default over TCP; a node in the same process may be reached without.
pub trait Transport: Send + Sync + 'static {
    /// A channel to this address that connects at first use.
    fn channel(&self, endpoint: &tonic::transport::Endpoint) -> Channel;
}

/// Plain TCP.
pub(crate) struct Tcp;

impl Transport for Tcp {
    fn channel(&self, endpoint: &tonic::transport::Endpoint) -> Channel {
        endpoint.connect_lazy()
    }
}

/// A connection as of when it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    channel: Channel,
    made: u64,
}

impl Lease {
    pub(crate) fn registry(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn queues(&self) -> QueuesClient<Channel> {
        QueuesClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    pub(crate) fn backup(&self) -> BackupClient<Channel> {
        BackupClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

struct Connection {
    lease: Option<Lease>,
    made: u64,
}

/// One address.
pub(crate) struct Endpoint {
    url: Arc<str>,
    target: tonic::transport::Endpoint,
    transport: Arc<dyn Transport>,
    connection: Mutex<Connection>,
}

impl Endpoint {
    pub(crate) fn parse(url: &str, connect: Duration, transport: Arc<dyn Transport>) -> Result<Self, Error> {
        let invalid = |why: &str| Error::InvalidEndpoint { url: url.to_owned(), why: why.to_owned() };
        let Some((scheme, rest)) = url.split_once("://") else { return Err(invalid("it has no scheme")) };
        if scheme != "http" {
            return Err(invalid("only http is spoken"));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.is_empty() || authority.contains(['/', '?', '#']) {
            return Err(invalid("it is not a host and a port and nothing else"));
        }
        let target = tonic::transport::Endpoint::from_shared(url.to_owned())
            .map_err(|error| invalid(&error.to_string()))?
            .connect_timeout(connect)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if target.uri().port_u16().is_none_or(|port| port == 0) {
            return Err(invalid("it has no port"));
        }
        let connection = Mutex::new(Connection { lease: None, made: 0 });
        Ok(Self { url: url.into(), target, transport, connection })
    }

    /// As the caller wrote it.
    pub(crate) fn url(&self) -> &Arc<str> {
        &self.url
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The shared connection, made if there is none. Needs a tokio runtime.
    pub(crate) fn lease(&self) -> Lease {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = &connection.lease {
            return lease.clone();
        }
        connection.made += 1;
        let lease = Lease { channel: self.transport.channel(&self.target), made: connection.made };
        connection.lease = Some(lease.clone());
        lease
    }

    /// Nobody shall get this connection any more. Does nothing when a newer one was made meanwhile.
    pub(crate) fn discard(&self, lease: &Lease) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.made == lease.made {
            connection.lease = None;
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        Endpoint::parse(url, Duration::from_secs(1), Arc::new(Tcp)).expect_err("the address is wrong").to_string()
    }

    #[tokio::test]
    async fn a_connection_is_shared_until_who_uses_it_discards_it() {
        let endpoint = Endpoint::parse("http://a:1", Duration::from_secs(1), Arc::new(Tcp)).unwrap();
        let first = endpoint.lease();
        assert_eq!(endpoint.lease().made, first.made);
        endpoint.discard(&first);
        let second = endpoint.lease();
        assert_ne!(second.made, first.made);
        endpoint.discard(&first);
        assert_eq!(endpoint.lease().made, second.made, "the first is not in use any more");
    }

    #[test]
    fn a_wrong_address_is_refused_with_the_reason() {
        assert_eq!(
            refused("127.0.0.1:7400"),
            "endpoint \"127.0.0.1:7400\" is not valid: it has no scheme; write it like http://127.0.0.1:7400"
        );
        assert!(refused("https://a:1").contains("only http is spoken"));
        assert!(refused("http://a").contains("it has no port"));
        assert!(refused("http://a:1/b").contains("nothing else"));
        assert!(refused("http://").contains("nothing else"));
        assert!(refused("http://a b:1").contains("is not valid"));
    }
}
