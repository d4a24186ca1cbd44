//! What is to be said about the stream under a producer or a consumer: once when it is lost, once when it
//! is back, and that there is no node when there never was one.

use roster_client::queue::Link;
use tokio::sync::watch;

use crate::exit::{Ending, Exit};

/// The stream as a person at a terminal wants to know it.
pub(super) struct Contact {
    link: watch::Receiver<Link>,
    known: Known,
    /// Where it looks for a node.
    nodes: String,
}

/// What was seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Each address gets one attempt; then it is more useful to say so than to wait.
    Never { attempts_left: usize },
    /// From here on it outlives the node.
    Made,
    /// Lost, and said so.
    Lost,
}

/// What a change of the stream is worth.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Nothing,
    Say(String),
    Unreachable(String),
}

impl Contact {
    pub(super) fn new(link: watch::Receiver<Link>, nodes: &[String]) -> Self {
        Self { link, known: Known::Never { attempts_left: nodes.len() }, nodes: nodes.join(", ") }
    }

    /// The next thing worth saying. Nothing is lost when this is dropped before it is done; the end of the
    /// stream is told by whoever has the stream, and here never.
    ///
    /// # Errors
    /// When no node was reached at all.
    pub(super) async fn next(&mut self) -> anyhow::Result<String> {
        loop {
            if self.link.changed().await.is_err() {
                return std::future::pending().await;
            }
            let link = self.link.borrow_and_update().clone();
            match self.known.hear(&link) {
                News::Nothing => {}
                News::Say(line) => return Ok(line),
                News::Unreachable(why) => {
                    let why = format!("cannot reach a node at {}: {why}", self.nodes);
                    return Err(Ending::error(Exit::Unreachable, why));
                }
            }
        }
    }

    /// Whether what was given away will not be heard of for a while.
    pub(super) fn is_lost(&self) -> bool {
        !self.link.borrow().is_connected()
    }
}

impl Known {
    fn hear(&mut self, link: &Link) -> News {
        match (link, *self) {
            (Link::Connected { endpoint }, Self::Lost) => {
                *self = Self::Made;
                News::Say(format!("in contact again with {endpoint}"))
            }
            (Link::Connected { .. }, Self::Never { .. } | Self::Made) => {
                *self = Self::Made;
                News::Nothing
            }
            (Link::Away { why, .. }, Self::Made) => {
                *self = Self::Lost;
                News::Say(format!("out of contact, trying again: {why}"))
            }
            (Link::Away { why, .. }, Self::Never { attempts_left: 0 | 1 }) => News::Unreachable(why.clone()),
            (Link::Away { .. }, Self::Never { attempts_left }) => {
                *self = Self::Never { attempts_left: attempts_left - 1 };
                News::Nothing
            }
            // Each attempt that fails is nobody's news.
            (Link::Away { .. }, Self::Lost) | (Link::Connecting | Link::Ended { .. }, _) => News::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn away() -> Link {
        Link::Away { since: Instant::now(), why: "refused".to_owned() }
    }

    #[test]
    fn a_loss_and_a_return_are_each_said_once() {
        let here = Link::Connected { endpoint: "http://a:1".into() };
        let mut known = Known::Never { attempts_left: 1 };
        let links = [&here, &away(), &away(), &here, &here];
        let said: Vec<News> = links.into_iter().map(|link| known.hear(link)).collect();
        let lost = News::Say("out of contact, trying again: refused".to_owned());
        let back = News::Say("in contact again with http://a:1".to_owned());
        assert_eq!(said, [News::Nothing, lost, News::Nothing, back, News::Nothing]);
    }

    #[test]
    fn each_address_gets_one_attempt_before_the_first_contact() {
        let mut known = Known::Never { attempts_left: 2 };
        assert_eq!(known.hear(&away()), News::Nothing);
        assert_eq!(known.hear(&away()), News::Unreachable("refused".to_owned()));
    }
}
