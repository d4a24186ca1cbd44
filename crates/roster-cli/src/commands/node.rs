//! The connection to a node that every question needs.

use roster_client::Client;

/// A client for these addresses. It connects at its first use.
///
/// # Errors
/// When an address is not one.
pub(super) fn client(nodes: &[String]) -> anyhow::Result<Client> {
    let urls = nodes.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
    let client = Client::builder().endpoints(urls).name(concat!("roster ", env!("CARGO_PKG_VERSION"))).build()?;
    Ok(client)
}
