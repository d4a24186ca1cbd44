//! A connection and the calls that it carries, as one task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{self, SendRequest};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use prost::Message;
use tokio::net::TcpStream;

use crate::CallError;

/// Answers of all calls under way must not wait for window updates.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A connection of its own.
#[derive(Debug)]
pub struct Connection {
    requests: SendRequest<Bytes>,
    connection: client::Connection<TcpStream, Bytes>,
}

/// Makes calls over a connection that somebody runs.
#[derive(Debug, Clone)]
pub struct Caller(SendRequest<Bytes>);

/// What is called.
#[derive(Debug, Clone)]
pub struct Method(Request<()>);

impl Method {
    /// `address` is HOST:PORT, `path` is `/package.Service/Method`.
    ///
    /// # Errors
    /// When they are not.
    pub fn new(address: &str, path: &str) -> Result<Self, CallError> {
        let text = || format!("{address}{path}");
        let uri = Uri::builder().scheme("http").authority(address).path_and_query(path).build();
        let uri = uri.map_err(|source| CallError::Address { text: text(), source })?;
        let request = Request::post(uri)
            .header(TE, HeaderValue::from_static("trailers"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        request.body(()).map(Self).map_err(|source| CallError::Address { text: text(), source })
    }
}

impl Connection {
    /// `address` is HOST:PORT.
    ///
    /// # Errors
    /// When nobody listens there, or it does not speak HTTP/2.
    pub async fn open(address: &str) -> Result<Self, CallError> {
        let failed = |source| CallError::Connect { address: address.to_owned(), source };
        let socket = TcpStream::connect(address).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        let mut http = client::Builder::new();
        http.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES).enable_push(false);
        let (requests, connection) = http.handshake(socket).await?;
        Ok(Self { requests, connection })
    }

    /// Runs lanes, each of which makes one call after the other, until all are done.
    ///
    /// # Errors
    /// That of the first lane that fails, or of the connection.
    pub async fn run<T, E, L>(self, lanes: u32, lane: impl Fn(u32, Caller) -> L) -> Result<Vec<T>, E>
    where
        E: From<CallError>,
        L: Future<Output = Result<T, E>>,
    {
        let Self { requests, mut connection } = self;
        let mut running: Vec<Pin<Box<L>>> =
            (0..lanes).map(|number| Box::pin(lane(number, Caller(requests.clone())))).collect();
        drop(requests);
        let mut done = Vec::new();
        poll_fn(move |cx| {
            // The lanes first, so that what they send leaves together. All of them each time: there are few, and
            // to know whom an answer woke would cost more than to look.
            let mut at = 0;
            while at < running.len() {
                match running[at].as_mut().poll(cx) {
                    Poll::Ready(Ok(result)) => {
                        done.push(result);
                        drop(running.swap_remove(at));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => at += 1,
                }
            }
            if running.is_empty() {
                return Poll::Ready(Ok(std::mem::take(&mut done)));
            }
            match Pin::new(&mut connection).poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) => Poll::Ready(Err(CallError::Ended.into())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(CallError::from(error).into())),
            }
        })
        .await
    }
}

impl Caller {
    /// Makes one call; the answer is a whole message, and the server has said that all went well.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unary<A: Message + Default>(
        &mut self,
        method: &Method,
        request: &impl Message,
    ) -> Result<A, CallError> {
        let length = request.encoded_len();
        let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(length).map_err(|_| CallError::Torn)?);
        request.encode_raw(&mut framed);

        poll_fn(|cx| self.0.poll_ready(cx)).await?;
        let (answer, mut body) = self.0.send_request(method.0.clone(), false)?;
        body.send_data(framed.freeze(), true)?;
        let (head, mut body) = answer.await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(CallError::Http(head.status));
        }
        let message = read(&mut body).await?;
        let trailers = body.trailers().await?;
        // A call that fails at once is answered with headers alone.
        went_well(trailers.as_ref().unwrap_or(&head.headers))?;
        Ok(A::decode(unframed(message)?)?)
    }
}

/// The whole body, without a copy when it came in one piece.
async fn read(body: &mut RecvStream) -> Result<Bytes, CallError> {
    let mut whole = Bytes::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole = if whole.is_empty() { piece } else { [whole, piece].concat().into() };
    }
    Ok(whole)
}

fn went_well(trailers: &HeaderMap) -> Result<(), CallError> {
    let text = |name| String::from_utf8_lossy(trailers.get(name).map_or(b"", HeaderValue::as_bytes)).into_owned();
    match trailers.get("grpc-status") {
        Some(status) if status == "0" => Ok(()),
        Some(_) => Err(CallError::Refused { status: text("grpc-status"), message: text("grpc-message") }),
        None => Err(CallError::Torn),
    }
}

/// The one message of a body.
fn unframed(mut body: Bytes) -> Result<Bytes, CallError> {
    if body.len() < PREFIX_BYTES || body.get_u8() != 0 {
        return Err(CallError::Torn);
    }
    let length = body.get_u32() as usize;
    if body.len() == length { Ok(body) } else { Err(CallError::Torn) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number, as a message.
    #[derive(Clone, PartialEq, Message)]
    struct Number {
        #[prost(uint64, tag = "1")]
        number: u64,
    }

    /// Answers each call with its own message, in two pieces, and the status that `status` names.
    async fn echo(status: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::spawn(async move {
                    assert_eq!(request.uri().path(), "/test.Echo/Echo");
                    let said = read(&mut request.into_body()).await.unwrap();
                    let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                    body.send_data(said.slice(..3), false).unwrap();
                    body.send_data(said.slice(3..), false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static(status));
                    trailers.insert("grpc-message", HeaderValue::from_static("as asked"));
                    body.send_trailers(trailers).unwrap();
                });
            }
        });
        address
    }

    async fn call(address: &str, lanes: u32, calls: u64) -> Result<Vec<u64>, CallError> {
        let method = Method::new(address, "/test.Echo/Echo")?;
        let connection = Connection::open(address).await?;
        connection
            .run(lanes, |lane, mut caller| {
                let method = method.clone();
                async move {
                    for call in 0..calls {
                        let asked = Number { number: u64::from(lane) * calls + call };
                        let answer: Number = caller.unary(&method, &asked).await?;
                        assert_eq!(answer, asked);
                    }
                    Ok(calls)
                }
            })
            .await
    }

    #[tokio::test]
    async fn each_lane_gets_the_answers_to_its_own_calls() {
        let address = echo("0").await;
        assert_eq!(call(&address, 8, 50).await.unwrap(), [50; 8]);
    }

    #[tokio::test]
    async fn a_call_that_is_refused_says_why() {
        let address = echo("5").await;
        let Err(CallError::Refused { status, message }) = call(&address, 1, 1).await else { panic!("it went well") };
        assert_eq!((status.as_str(), message.as_str()), ("5", "as asked"));
    }

    #[test]
    fn an_answer_that_is_cut_or_padded_is_torn() {
        let whole = |bytes: &'static [u8]| unframed(Bytes::from_static(bytes));
        assert_eq!(whole(&[0, 0, 0, 0, 2, 8, 7]).unwrap().as_ref(), [8, 7]);
        for torn in [&[0, 0, 0, 0, 2, 8][..], &[0, 0, 0, 0, 2, 8, 7, 7], &[1, 0, 0, 0, 2, 8, 7], &[0, 0]] {
            assert!(matches!(whole(torn), Err(CallError::Torn)));
        }
    }
}
