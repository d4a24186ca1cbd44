//! Why a call failed.

/// Why a call, or the connection that carried it, failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("cannot connect to {address}")]
    Connect { address: String, source: std::io::Error },
    #[error("{text:?} is no address of a server and no method")]
    Address { text: String, source: http::Error },
    #[error("the connection failed")]
    Connection(#[from] h2::Error),
    #[error("the connection ended with calls under way")]
    Ended,
    #[error("the answer has HTTP status {0}")]
    Http(http::StatusCode),
    #[error("the call was refused with gRPC status {status}: {message}")]
    Refused { status: String, message: String },
    #[error("the answer is no whole message of gRPC")]
    Torn,
    #[error("the answer does not decode")]
    Undecodable(#[from] prost::DecodeError),
}
