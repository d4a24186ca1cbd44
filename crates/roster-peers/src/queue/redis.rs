//! Redis streams: XADD by publishers; XREADGROUP and, batch by batch, XACK by consumers of one group.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context, bail};

use super::line::{Line, text_line};
use super::{Reading, Share, payload};
use crate::measured::Latencies;

const STREAM: &str = "jobs";
const GROUP: &str = "workers";
/// Messages of one XREADGROUP at most.
const BATCH: &str = "256";
/// In milliseconds; then a consumer looks whether it is over.
const BLOCK: &str = "200";

/// What the server says. The protocol has more kinds; none of these commands answers with them.
#[derive(Debug, PartialEq)]
enum Reply {
    Status,
    Failure(String),
    Integer,
    Nothing,
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
}

/// The reply at the front, if it is whole.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Reply, usize)>> {
    let Some((line, mut length)) = text_line(bytes) else { return Ok(None) };
    let (kind, rest) = line.split_first().context("an empty line")?;
    let text = std::str::from_utf8(rest).context("a reply that is no text")?;
    let reply = match kind {
        b'+' => Reply::Status,
        b'-' => Reply::Failure(text.to_owned()),
        b':' => Reply::Integer,
        b'$' | b'*' if text.starts_with('-') => Reply::Nothing,
        b'$' => {
            let size: usize = text.parse().context("a length that is no number")?;
            let Some(body) = bytes.get(length..length + size + 2) else { return Ok(None) };
            length += size + 2;
            Reply::Bulk(body[..size].to_vec())
        }
        b'*' => {
            let count: usize = text.parse().context("a length that is no number")?;
            let mut items = Vec::new();
            for _ in 0..count {
                let Some((item, more)) = parse(&bytes[length..])? else { return Ok(None) };
                length += more;
                items.push(item);
            }
            Reply::Array(items)
        }
        _ => bail!("a reply of an unknown kind: {text}"),
    };
    Ok(Some((reply, length)))
}

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

async fn ask(line: &mut Line, words: &[&str]) -> anyhow::Result<Reply> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut out = Vec::new();
    command(&mut out, &words);
    line.send(&out).await?;
    let reply = line.next(parse).await?;
    if let Reply::Failure(message) = &reply {
        bail!("the server refuses: {message}");
    }
    Ok(reply)
}

/// An empty stream with its group.
pub(super) async fn prepare(address: &str) -> anyhow::Result<()> {
    let mut line = Line::connect(address).await?;
    ask(&mut line, &["DEL", STREAM]).await?;
    ask(&mut line, &["XGROUP", "CREATE", STREAM, GROUP, "0", "MKSTREAM"]).await?;
    Ok(())
}

pub(super) async fn publish(share: Share) -> anyhow::Result<Latencies> {
    let mut line = Line::connect(&share.address).await?;
    let mut latencies = Latencies::new()?;
    let mut under_way = VecDeque::new();
    let (mut left, mut out) = (share.messages, Vec::new());
    while left > 0 || !under_way.is_empty() {
        out.clear();
        let now = Instant::now();
        while left > 0 && under_way.len() < share.in_flight as usize {
            let words: [&[u8]; 5] = [b"XADD", STREAM.as_bytes(), b"*", b"d", &payload(share.start)];
            command(&mut out, &words);
            under_way.push_back(now);
            left -= 1;
        }
        line.send(&out).await?;
        let mut reply = Some(line.next(parse).await?);
        let now = Instant::now();
        while let Some(found) = reply {
            if let Reply::Failure(message) = found {
                bail!("the server refuses: {message}");
            }
            latencies.record(now - under_way.pop_front().context("more answers than messages")?);
            reply = line.ready(parse)?;
        }
    }
    Ok(latencies)
}

pub(super) async fn consume(reading: Reading) -> anyhow::Result<Latencies> {
    let mut line = Line::connect(&reading.address).await?;
    let mut latencies = Latencies::new()?;
    let name = format!("worker-{}", reading.number);
    let read = ["XREADGROUP", "GROUP", GROUP, &name, "COUNT", BATCH, "BLOCK", BLOCK, "STREAMS", STREAM, ">"];
    while !reading.is_over() {
        let ids = messages(ask(&mut line, &read).await?, |payload| reading.took(payload, &mut latencies))?;
        if !ids.is_empty() {
            let mut acknowledge = vec!["XACK", STREAM, GROUP];
            acknowledge.extend(ids.iter().map(String::as_str));
            ask(&mut line, &acknowledge).await?;
        }
    }
    Ok(latencies)
}

/// `[[stream, [[id, [field, payload]], …]]]`
fn messages(reply: Reply, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<Vec<String>> {
    let mut ids = Vec::new();
    let Reply::Array(streams) = reply else { return Ok(ids) };
    for stream in streams {
        let Reply::Array(parts) = stream else { bail!("no stream") };
        let Some(Reply::Array(messages)) = parts.into_iter().nth(1) else { bail!("a stream without messages") };
        for message in messages {
            let Reply::Array(parts) = message else { bail!("no message") };
            let [Reply::Bulk(id), Reply::Array(fields)] = parts.as_slice() else { bail!("a message without an id") };
            let [_, Reply::Bulk(payload)] = fields.as_slice() else { bail!("a message without a payload") };
            take(payload)?;
            ids.push(String::from_utf8(id.clone()).context("an id that is no text")?);
        }
    }
    Ok(ids)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_taken_only_when_it_is_whole() {
        let whole = b"*2\r\n$3\r\nabc\r\n:7\r\n+OK\r\n";
        for cut in 0..whole.len() - 5 {
            assert_eq!(parse(&whole[..cut]).unwrap(), None, "{cut}");
        }
        let (reply, length) = parse(whole).unwrap().unwrap();
        assert_eq!((reply, length), (Reply::Array(vec![Reply::Bulk(b"abc".to_vec()), Reply::Integer]), 17));
        assert_eq!(parse(b"$-1\r\n").unwrap().unwrap().0, Reply::Nothing);
    }

    #[test]
    fn messages_are_read_from_a_group() {
        let text = b"*1\r\n*2\r\n$4\r\njobs\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nd\r\n$2\r\nhi\r\n";
        let mut payloads = Vec::new();
        let ids = messages(parse(text).unwrap().unwrap().0, |payload| {
            payloads.push(payload.to_vec());
            Ok(())
        });
        assert_eq!((ids.unwrap(), payloads), (vec!["1-0".to_owned()], vec![b"hi".to_vec()]));
    }
}
