//! Messages out of standard input or the arguments, some at a time.
//!
//! A thread reads, because a read of a terminal or a pipe cannot be taken back: it ends with the process.
//! A line that is larger than any message of the queue is not kept; it only counts.

use std::io::{self, BufRead as _, BufReader, Read};

use anyhow::Context;
use bytes::Bytes;
use roster_client::queue::Message;
use roster_core::{Label, Metadata};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

/// Messages that are handed over together at most.
const MESSAGES_PER_HAND_MAX: usize = 256;
/// Payloads that are handed over together, about.
const BYTES_PER_HAND: usize = 256 * 1024;
/// Hands that wait for the sender.
const HANDS_WAITING_MAX: usize = 4;

/// How input becomes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Each line is one.
    Lines,
    /// Each line is one, and JSON.
    JsonLines,
    /// All of it is one.
    Whole,
}

/// What each message has besides its payload.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) content_type: Label,
    pub(super) headers: Metadata,
}

/// One piece of input; the first has the number 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) number: u64,
    pub(super) content: Content,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Message(Message),
    /// More bytes than a message of this queue may have, that many with all that was left out.
    TooLarge {
        bytes: u64,
        max: usize,
    },
    /// The input ends here: it cannot be read, or is not what it should be.
    Broken(String),
}

/// Input that is being read.
#[derive(Debug)]
pub(super) struct Reader {
    hands: mpsc::Receiver<Vec<Piece>>,
    hand: std::vec::IntoIter<Piece>,
}

impl Reader {
    /// Messages that are all there.
    pub(super) fn of_list(payloads: impl Iterator<Item = Vec<u8>>, template: Template, max: usize) -> Self {
        let cut = Cut { template, max, number: 0 };
        let pieces = payloads.scan(cut, |cut, payload| Some(cut.piece(payload.into(), 0)));
        let hand = pieces.collect::<Vec<_>>().into_iter();
        let (_, hands) = mpsc::channel(1);
        Self { hands, hand }
    }

    /// Starts reading.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub(super) fn start(
        source: impl Read + Send + 'static,
        input: Input,
        template: Template,
        max: usize,
    ) -> anyhow::Result<Self> {
        let (sender, hands) = mpsc::channel(HANDS_WAITING_MAX);
        let cut = Cut { template, max, number: 0 };
        let read = move || match input {
            Input::Lines | Input::JsonLines => read_lines(BufReader::new(source), input, cut, &sender),
            Input::Whole => read_whole(source, cut, &sender),
        };
        std::thread::Builder::new().name("input".to_owned()).spawn(read).context("start to read the input")?;
        Ok(Self { hands, hand: Vec::new().into_iter() })
    }

    /// The next piece, as long as there are any. Nothing is lost when this is dropped before it is done.
    pub(super) async fn next(&mut self) -> Option<Piece> {
        loop {
            if let Some(piece) = self.hand.next() {
                return Some(piece);
            }
            self.hand = self.hands.recv().await?.into_iter();
        }
    }
}

/// Numbers pieces and makes messages of them.
#[derive(Debug)]
struct Cut {
    template: Template,
    max: usize,
    number: u64,
}

impl Cut {
    /// `left_out`: bytes that belong to it and were not kept.
    fn piece(&mut self, payload: Bytes, left_out: u64) -> Piece {
        let Template { content_type, headers } = self.template.clone();
        let message = Message::described(payload, content_type, headers);
        let bytes = message.bytes() + left_out;
        let content = match bytes > self.max as u64 {
            true => Content::TooLarge { bytes, max: self.max },
            false => Content::Message(message),
        };
        self.number(content)
    }

    fn number(&mut self, content: Content) -> Piece {
        self.number += 1;
        Piece { number: self.number, content }
    }

    fn broken(&mut self, why: impl ToString) -> Piece {
        self.number(Content::Broken(why.to_string()))
    }
}

/// Hands over what was read when there is enough, or when nothing more is to be had at once.
fn read_lines(mut source: BufReader<impl Read>, input: Input, mut cut: Cut, sender: &mpsc::Sender<Vec<Piece>>) {
    let mut hand = Vec::new();
    let mut bytes = 0;
    loop {
        let piece = match read_line(&mut source, cut.max) {
            Ok(None) => break,
            Ok(Some((line, left_out))) => {
                let wrong = match input {
                    Input::JsonLines if left_out == 0 => serde_json::from_slice::<IgnoredAny>(&line).err(),
                    Input::JsonLines | Input::Lines | Input::Whole => None,
                };
                bytes += line.len();
                match wrong {
                    Some(wrong) => cut.broken(format!("it is not JSON: {wrong}")),
                    None => cut.piece(line.into(), left_out),
                }
            }
            Err(error) => cut.broken(format!("the input cannot be read: {error}")),
        };
        let is_last = matches!(piece.content, Content::Broken(_));
        hand.push(piece);
        if is_last {
            break;
        }
        if hand.len() >= MESSAGES_PER_HAND_MAX || bytes >= BYTES_PER_HAND || !has_line(&source) {
            bytes = 0;
            if sender.blocking_send(std::mem::take(&mut hand)).is_err() {
                return; // nobody wants more
            }
        }
    }
    // Nothing is wrong when nobody wants it.
    let _ = sender.blocking_send(hand);
}

/// Whether a line can be read without waiting for it.
fn has_line(source: &BufReader<impl Read>) -> bool {
    source.buffer().contains(&b'\n')
}

/// A line without its end, and how many bytes more than `max` it had; `None` at the end of the input.
fn read_line(source: &mut BufReader<impl Read>, max: usize) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut line = Vec::new();
    let mut left_out = 0;
    let mut is_begun = false;
    loop {
        let available = match source.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(is_begun.then_some((line, left_out)));
        }
        is_begun = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        let kept = part.len().min(max - line.len());
        line.extend_from_slice(&part[..kept]);
        left_out += (part.len() - kept) as u64;
        let used = part.len() + usize::from(end.is_some());
        source.consume(used);
        if end.is_some() {
            return Ok(Some((line, left_out)));
        }
    }
}

fn read_whole(mut source: impl Read, mut cut: Cut, sender: &mpsc::Sender<Vec<Piece>>) {
    let mut payload = Vec::new();
    let read = source.by_ref().take(cut.max as u64).read_to_end(&mut payload);
    let read = read.and_then(|_| io::copy(&mut source, &mut io::sink()));
    let piece = match read {
        Ok(left_out) => cut.piece(payload.into(), left_out),
        Err(error) => cut.broken(format!("the input cannot be read: {error}")),
    };
    let _ = sender.blocking_send(vec![piece]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Template {
        Template { content_type: Label::parse("content type", "").unwrap(), headers: Metadata::default() }
    }

    async fn read(source: &'static [u8], input: Input, max: usize) -> Vec<Content> {
        let mut reader = Reader::start(source, input, template(), max).unwrap();
        let mut contents = Vec::new();
        while let Some(piece) = reader.next().await {
            contents.push(piece.content);
            assert_eq!(piece.number, contents.len() as u64);
        }
        contents
    }

    fn message(payload: &'static [u8]) -> Content {
        Content::Message(Message::plain(payload.into()))
    }

    #[tokio::test]
    async fn each_line_is_a_message_and_the_last_needs_no_end() {
        let expected = vec![message(b"one"), message(b""), message(b" three\r"), message(b"four")];
        assert_eq!(read(b"one\n\n three\r\nfour", Input::Lines, 100).await, expected);
        assert_eq!(read(b"", Input::Lines, 100).await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_large_is_measured_and_the_next_is_whole() {
        let expected = vec![message(b"1234"), Content::TooLarge { bytes: 6, max: 4 }, message(b"ab")];
        assert_eq!(read(b"1234\n123456\nab\n", Input::Lines, 4).await, expected);
    }

    #[tokio::test]
    async fn input_ends_at_the_first_line_that_is_not_json() {
        let read = read(b"{\"a\": 1}\n7\n{oh\n8\n", Input::JsonLines, 100).await;
        assert_eq!(read.len(), 3, "{read:?}");
        assert_eq!(read[..2], [message(b"{\"a\": 1}"), message(b"7")]);
        let Content::Broken(why) = &read[2] else { panic!("{read:?}") };
        assert!(why.starts_with("it is not JSON: "), "{why}");
    }

    #[tokio::test]
    async fn the_whole_input_is_one_message() {
        assert_eq!(read(b"a\nb\n", Input::Whole, 4).await, [message(b"a\nb\n")]);
        assert_eq!(read(b"a\nb\nc", Input::Whole, 4).await, [Content::TooLarge { bytes: 5, max: 4 }]);
    }
}
