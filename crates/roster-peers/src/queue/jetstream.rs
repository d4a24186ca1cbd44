//! NATS JetStream: a work-queue stream on file; publishers wait for the stream's acknowledgement of each
//! message, consumers pull batches and acknowledge each message.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::line::{Line, text_line};
use super::{Reading, Share, payload};
use crate::measured::Latencies;

const STREAM: &str = "JOBS";
const SUBJECT: &str = "jobs";
const CONSUMER: &str = "workers";
/// Messages of one pull.
const BATCH: u32 = 256;
/// Then a pull without messages ends, and a consumer looks whether it is over.
const PULL: Duration = Duration::from_millis(200);
/// Deliveries that wait for their acknowledgement, of all consumers together.
const PENDING_MAX: u32 = 20_000;

/// What the server sends.
#[derive(Debug, PartialEq)]
enum Frame {
    Message {
        subject: String,
        reply: Option<String>,
        payload: Vec<u8>,
    },
    /// A message with headers and no payload: a pull has ended.
    Note,
    Ping,
    Pong,
    /// INFO and +OK.
    Other,
}

/// The frame at the front, if it is whole.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Frame, usize)>> {
    let Some((line, length)) = text_line(bytes) else { return Ok(None) };
    let line = std::str::from_utf8(line).context("a line that is no text")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let body = |size: &str| -> anyhow::Result<Option<(Vec<u8>, usize)>> {
        let size: usize = size.parse().context("a length that is no number")?;
        let body = bytes.get(length..length + size + 2);
        Ok(body.map(|body| (body[..size].to_vec(), length + size + 2)))
    };
    Ok(match words.as_slice() {
        ["MSG", subject, _, size] => body(size)?
            .map(|(payload, length)| (Frame::Message { subject: (*subject).to_owned(), reply: None, payload }, length)),
        ["MSG", subject, _, reply, size] => body(size)?.map(|(payload, length)| {
            (Frame::Message { subject: (*subject).to_owned(), reply: Some((*reply).to_owned()), payload }, length)
        }),
        ["HMSG", .., size] => body(size)?.map(|(_, length)| (Frame::Note, length)),
        ["PING"] => Some((Frame::Ping, length)),
        ["PONG"] => Some((Frame::Pong, length)),
        ["-ERR", ..] => bail!("the server refuses: {line}"),
        _ => Some((Frame::Other, length)),
    })
}

/// A connection that hears what is sent to its inbox.
struct Inbox {
    line: Line,
    name: String,
}

impl Inbox {
    async fn open(address: &str, name: String) -> anyhow::Result<Self> {
        let mut line = Line::connect(address).await?;
        let hello = r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1,"lang":"rust","version":"1"}"#;
        line.send(format!("{hello}\r\nSUB {name}.* 1\r\nPING\r\n").as_bytes()).await?;
        let mut inbox = Self { line, name };
        while inbox.next().await? != Frame::Pong {}
        Ok(inbox)
    }

    async fn next(&mut self) -> anyhow::Result<Frame> {
        loop {
            let frame = self.line.next(parse).await?;
            if frame != Frame::Ping {
                return Ok(frame);
            }
            self.line.send(b"PONG\r\n").await?;
        }
    }

    async fn ask(&mut self, subject: &str, request: &Value) -> anyhow::Result<()> {
        let mut out = Vec::new();
        publication(&mut out, subject, Some(&format!("{}.0", self.name)), request.to_string().as_bytes());
        self.line.send(&out).await?;
        loop {
            match self.next().await? {
                Frame::Message { payload, .. } => {
                    let answer: Value = serde_json::from_slice(&payload).context("an answer that is no JSON")?;
                    ensure!(answer.get("error").is_none(), "the server refuses: {answer}");
                    return Ok(());
                }
                Frame::Note => bail!("nobody answers at {subject}; is JetStream switched on?"),
                Frame::Ping | Frame::Pong | Frame::Other => {}
            }
        }
    }
}

fn publication(out: &mut Vec<u8>, subject: &str, reply: Option<&str>, payload: &[u8]) {
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    out.extend_from_slice(format!("PUB {subject} {reply}{}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// A stream with its consumer.
pub(super) async fn prepare(address: &str) -> anyhow::Result<()> {
    let mut inbox = Inbox::open(address, "_INBOX.prepare".to_owned()).await?;
    let stream = serde_json::json!({
        "name": STREAM, "subjects": [SUBJECT], "retention": "workqueue", "storage": "file", "num_replicas": 1,
        "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_msg_size": -1, "discard": "old",
    });
    inbox.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
    let consumer = serde_json::json!({ "stream_name": STREAM, "config": {
        "durable_name": CONSUMER, "deliver_policy": "all", "ack_policy": "explicit", "replay_policy": "instant",
        "max_ack_pending": PENDING_MAX,
    }});
    inbox.ask(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{CONSUMER}"), &consumer).await
}

pub(super) async fn publish(share: Share) -> anyhow::Result<Latencies> {
    let mut inbox = Inbox::open(&share.address, format!("_INBOX.p{}", share.number)).await?;
    let mut latencies = Latencies::new()?;
    // By the number in the reply subject.
    let mut handed_over: Vec<Instant> = Vec::new();
    let (mut answered, mut out) = (0, Vec::new());
    while answered < share.messages as usize {
        out.clear();
        let now = Instant::now();
        while handed_over.len() < share.messages as usize && handed_over.len() - answered < share.in_flight as usize {
            let reply = format!("{}.{}", inbox.name, handed_over.len());
            publication(&mut out, SUBJECT, Some(&reply), &payload(share.start));
            handed_over.push(now);
        }
        inbox.line.send(&out).await?;
        let mut frame = Some(inbox.next().await?);
        let now = Instant::now();
        while let Some(found) = frame {
            match found {
                Frame::Message { subject, payload, .. } => {
                    ensure!(!payload.windows(7).any(|part| part == b"\"error\""), "a message was refused");
                    let number: usize = subject.rsplit('.').next().unwrap_or_default().parse().context("no number")?;
                    latencies.record(now - *handed_over.get(number).context("an answer to nothing")?);
                    answered += 1;
                }
                Frame::Ping => inbox.line.send(b"PONG\r\n").await?,
                Frame::Note => bail!("no stream takes what is published"),
                Frame::Pong | Frame::Other => {}
            }
            frame = inbox.line.ready(parse)?;
        }
    }
    Ok(latencies)
}

pub(super) async fn consume(reading: Reading) -> anyhow::Result<Latencies> {
    let mut inbox = Inbox::open(&reading.address, format!("_INBOX.c{}", reading.number)).await?;
    let mut latencies = Latencies::new()?;
    let pull = serde_json::json!({ "batch": BATCH, "expires": u64::try_from(PULL.as_nanos())? }).to_string();
    let mut out = Vec::new();
    let mut pulled = 0;
    while !reading.is_over() {
        if pulled == 0 {
            let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}");
            publication(&mut out, &subject, Some(&format!("{}.0", inbox.name)), pull.as_bytes());
            pulled = BATCH;
        }
        inbox.line.send(&out).await?;
        out.clear();
        let mut frame = Some(inbox.next().await?);
        while let Some(found) = frame {
            match found {
                Frame::Message { reply, payload, .. } => {
                    reading.took(&payload, &mut latencies)?;
                    publication(&mut out, &reply.context("a message that cannot be acknowledged")?, None, b"+ACK");
                    pulled -= 1;
                }
                Frame::Note => pulled = 0,
                Frame::Ping => out.extend_from_slice(b"PONG\r\n"),
                Frame::Pong | Frame::Other => {}
            }
            frame = inbox.line.ready(parse)?;
        }
    }
    // The server has taken in the last acknowledgements when it answers.
    out.extend_from_slice(b"PING\r\n");
    inbox.line.send(&out).await?;
    while inbox.next().await? != Frame::Pong {}
    Ok(latencies)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_when_it_is_whole() {
        let whole = b"MSG jobs 1 $JS.ACK.1 2\r\nhi\r\nPING\r\n";
        for cut in 0..whole.len() - 6 {
            assert_eq!(parse(&whole[..cut]).unwrap(), None, "{cut}");
        }
        let reply = Some("$JS.ACK.1".to_owned());
        let message = Frame::Message { subject: "jobs".to_owned(), reply, payload: b"hi".to_vec() };
        assert_eq!(parse(whole).unwrap(), Some((message, 28)));
        assert!(parse(b"-ERR 'Authorization Violation'\r\n").is_err());
    }
}
