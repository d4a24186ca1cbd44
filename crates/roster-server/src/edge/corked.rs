//! A connection that writes once for each time that its task runs.
//!
//! HTTP/2 hands each answer to the socket by itself, and a write to a socket is dear: over loopback it carries the
//! bytes all the way to the reader. Answers that come about in one go wait until the task of the connection has
//! nothing left to do and leave together: the bytes are copied once more, and far fewer writes are made
//! (docs/performance.md).
//!
//! # Always true
//! * **CK1, nothing stays behind**: when the task of a connection sleeps, all that was written is with the socket,
//!   or the socket is full and wakes the task.
//! * **CK2, bounded**: at most [`HELD_BYTES_MAX`] and one write wait here; then writing waits for the socket.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So much may wait for the end of the turn, and so long is the longest write that waits at all: copying more
/// costs more than another call.
const HELD_BYTES_MAX: usize = 64 * 1024;
const WRITE_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// Memory for what waits. Unless its socket is full, a connection has something waiting only while its task
    /// runs, so that the connections of a thread share it, and an idle one needs none.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a connection reads from and writes to.
#[derive(Debug)]
pub(super) struct Corked<S>(Arc<Mutex<Held<S>>>);

/// Runs the connection, and writes what waits whenever it pauses.
#[derive(Debug)]
pub(super) struct Uncorking<S, F> {
    held: Arc<Mutex<Held<S>>>,
    connection: Pin<Box<F>>,
}

#[derive(Debug)]
struct Held<S> {
    socket: S,
    waiting: Vec<u8>,
    /// Of them, already with the socket.
    written: usize,
    /// What the socket said when nobody was there to hear it.
    failed: Option<io::Error>,
}

/// A socket that is corked, and what makes a connection over it uncork it.
pub(super) fn corked<S, F>(socket: S, connection: impl FnOnce(Corked<S>) -> F) -> Uncorking<S, F> {
    let held = Arc::new(Mutex::new(Held { socket, waiting: Vec::new(), written: 0, failed: None }));
    let connection = Box::pin(connection(Corked(held.clone())));
    Uncorking { held, connection }
}

impl<S: AsyncWrite + Unpin> Held<S> {
    /// Gives what waits to the socket; pending when that is full.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        while self.written < self.waiting.len() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.waiting[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.keep_only(Vec::new());
        Poll::Ready(Ok(()))
    }

    /// Of what waits for a full socket, no more memory than it is long: its reader may be slow for ever.
    fn shed(&mut self) {
        let left = &self.waiting[self.written..];
        if self.waiting.capacity() > 2 * left.len() {
            self.keep_only(left.to_vec());
        }
    }

    fn keep_only(&mut self, left: Vec<u8>) {
        self.written = 0;
        let mut spare = std::mem::replace(&mut self.waiting, left);
        spare.clear();
        if spare.capacity() > 0 {
            SPARE.set(spare);
        }
    }

    fn poll_hold(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
        copy: impl FnOnce(&mut Vec<u8>),
    ) -> Poll<io::Result<usize>> {
        if self.failed.is_some() || length > WRITE_BYTES_MAX || self.waiting.len() >= HELD_BYTES_MAX {
            ready!(self.poll_drain(cx))?;
        }
        if length > WRITE_BYTES_MAX {
            return write(Pin::new(&mut self.socket), cx);
        }
        if self.waiting.capacity() == 0 {
            self.waiting = SPARE.take();
        }
        copy(&mut self.waiting);
        debug_assert!(self.waiting.len() <= HELD_BYTES_MAX + WRITE_BYTES_MAX, "CK2");
        Poll::Ready(Ok(length))
    }
}

fn lock<S>(held: &Mutex<Held<S>>) -> MutexGuard<'_, Held<S>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        if let Some(error) = held.failed.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut held.socket).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = |socket: Pin<&mut S>, cx: &mut Context<'_>| socket.poll_write(cx, bytes);
        lock(&self.0).poll_hold(cx, bytes.len(), write, |waiting| waiting.extend_from_slice(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        let write = |socket: Pin<&mut S>, cx: &mut Context<'_>| socket.poll_write_vectored(cx, pieces);
        lock(&self.0)
            .poll_hold(cx, length, write, |waiting| pieces.iter().for_each(|piece| waiting.extend_from_slice(piece)))
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).socket.is_write_vectored()
    }

    /// The end of the turn does it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut held = lock(&self.0);
        ready!(held.poll_drain(cx))?;
        Pin::new(&mut held.socket).poll_shutdown(cx)
    }
}

impl<S: AsyncWrite + Unpin, F: Future> Future for Uncorking<S, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.connection.as_mut().poll(cx);
        let mut held = lock(&self.held);
        if held.failed.is_some() {
            return polled;
        }
        match held.poll_drain(cx) {
            Poll::Ready(Ok(())) => debug_assert!(held.waiting.is_empty(), "CK1"),
            Poll::Pending => held.shed(),
            Poll::Ready(Err(error)) => {
                // Told to the connection when it reads or writes again, which it is woken for.
                (held.waiting, held.written) = (Vec::new(), 0);
                held.failed = Some(error);
                cx.waker().wake_by_ref();
            }
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes so many bytes, then is full until there is room again.
    #[derive(Debug)]
    struct Socket {
        taken: Arc<Mutex<Vec<Vec<u8>>>>,
        room: Arc<Mutex<Result<usize, io::ErrorKind>>>,
    }

    fn socket(room: usize) -> Socket {
        Socket { taken: Arc::default(), room: Arc::new(Mutex::new(Ok(room))) }
    }

    impl AsyncWrite for Socket {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let mut room = self.room.lock().unwrap();
            let left = room.as_mut().map_err(|kind| io::Error::from(*kind))?;
            let count = bytes.len().min(*left);
            if count == 0 {
                return Poll::Pending;
            }
            *left -= count;
            self.taken.lock().unwrap().push(bytes[..count].to_vec());
            Poll::Ready(Ok(count))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncRead for Socket {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn write<S: AsyncWrite + Unpin>(to: &mut S, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Pin::new(to).poll_write(cx, bytes)
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }

    #[test]
    fn what_is_written_in_one_turn_leaves_in_one_write() {
        let socket = socket(1_000);
        let taken = socket.taken.clone();
        let mut connection = corked(socket, |mut to| {
            poll_fn(move |cx| {
                assert!(write(&mut to, b"one ", cx).is_ready() && Pin::new(&mut to).poll_flush(cx).is_ready());
                let pieces = [IoSlice::new(b"t"), IoSlice::new(b"wo")];
                assert!(Pin::new(&mut to).poll_write_vectored(cx, &pieces).is_ready());
                Poll::<()>::Pending
            })
        });
        assert!(poll(&mut connection).is_pending());
        assert_eq!(*taken.lock().unwrap(), [b"one two".to_vec()], "CK1");
    }

    #[test]
    fn what_a_full_socket_did_not_take_leaves_when_there_is_room() {
        let socket = socket(5);
        let (taken, room) = (socket.taken.clone(), socket.room.clone());
        let mut first = true;
        let mut connection = corked(socket, |mut to| {
            poll_fn(move |cx| {
                let written = std::mem::take(&mut first).then(|| write(&mut to, b"one two", cx));
                assert!(written.is_none_or(|written| written.is_ready()));
                Poll::<()>::Pending
            })
        });
        assert!(poll(&mut connection).is_pending());
        assert_eq!(lock(&connection.held).waiting.capacity(), b"wo".len(), "what a slow reader keeps");
        room.lock().unwrap().as_mut().map(|room| *room = 100).unwrap();
        assert!(poll(&mut connection).is_pending());
        assert_eq!(taken.lock().unwrap().concat(), b"one two", "CK1");
    }

    #[test]
    fn whoever_writes_more_than_may_wait_waits_for_the_socket() {
        let socket = socket(1);
        let taken = socket.taken.clone();
        let mut connection = corked(socket, |mut to| {
            poll_fn(move |cx| {
                let mut sent = 0;
                while write(&mut to, &[7; 1_000], cx).is_ready() {
                    sent += 1_000;
                    assert!(sent <= HELD_BYTES_MAX + WRITE_BYTES_MAX, "CK2");
                }
                assert!(write(&mut to, &[7; WRITE_BYTES_MAX + 1], cx).is_pending(), "CK2");
                Poll::Ready(sent)
            })
        });
        let Poll::Ready(sent) = poll(&mut connection) else { panic!("it ended") };
        assert!(sent >= HELD_BYTES_MAX && taken.lock().unwrap().concat().len() == 1);
    }

    #[test]
    fn what_is_too_long_to_wait_leaves_after_what_came_before() {
        let socket = socket(1_000_000);
        let taken = socket.taken.clone();
        let mut connection = corked(socket, |mut to| {
            poll_fn(move |cx| {
                assert!(write(&mut to, b"before", cx).is_ready());
                assert!(write(&mut to, &[7; WRITE_BYTES_MAX + 1], cx).is_ready());
                write(&mut to, b"after", cx).map(drop)
            })
        });
        assert!(poll(&mut connection).is_ready());
        let lengths: Vec<usize> = taken.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(lengths, [6, WRITE_BYTES_MAX + 1, 5]);
    }

    #[test]
    fn a_connection_learns_that_its_socket_failed_when_it_reads_on() {
        let socket = socket(0);
        *socket.room.lock().unwrap() = Err(io::ErrorKind::BrokenPipe);
        let mut first = true;
        let mut connection = corked(socket, |mut to| {
            poll_fn(move |cx| {
                if std::mem::take(&mut first) {
                    assert!(write(&mut to, b"one", cx).is_ready());
                }
                Pin::new(&mut to).poll_read(cx, &mut ReadBuf::new(&mut []))
            })
        });
        assert!(poll(&mut connection).is_pending());
        let Poll::Ready(Err(error)) = poll(&mut connection) else { panic!("it failed") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
