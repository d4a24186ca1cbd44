//! A connection of which bytes are read as they come, and taken off when they are understood.

use anyhow::{Context, bail};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READ_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    read: BytesMut,
}

impl Line {
    pub(super) async fn connect(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        Ok(Self { stream, read: BytesMut::new() })
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).await.context("write to the server")
    }

    /// The next thing that `parse` finds at the front, with its length in bytes; waits for more when it finds none.
    pub(super) async fn next<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> anyhow::Result<Option<(T, usize)>>,
    ) -> anyhow::Result<T> {
        loop {
            if let Some(found) = self.ready(&parse)? {
                return Ok(found);
            }
            self.read.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.read).await.context("read from the server")? == 0 {
                bail!("the server closed the connection");
            }
        }
    }

    /// As [`Self::next`], but only what has been read already.
    pub(super) fn ready<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> anyhow::Result<Option<(T, usize)>>,
    ) -> anyhow::Result<Option<T>> {
        let Some((found, length)) = parse(&self.read)? else { return Ok(None) };
        self.read.advance(length);
        Ok(Some(found))
    }
}

/// Up to the next CRLF, and how long it is with that.
pub(super) fn text_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], end + 2))
}
