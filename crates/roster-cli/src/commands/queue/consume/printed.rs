//! Each message as a line on standard output, acknowledged after its line was handed to the operating
//! system whole, never before.

use std::io;
use std::time::Duration;

use roster_client::queue::{Claim, Message};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::takings::{Meanwhile, Takings};
use crate::commands::queue::contact::Contact;
use crate::exit::Exit;
use crate::render::{Delivered, Screen};
use crate::wrapped::StopSignals;

/// What is there already is written together, so many messages and about so many bytes.
const MESSAGES_PER_WRITE_MAX: usize = 256;
const BYTES_PER_WRITE: usize = 64 * 1024;
/// After a signal a write has so long: the reader of the pipe may be gone without having closed it.
const WRITE_WITHIN: Duration = Duration::from_secs(1);

/// How a write ended.
enum Written {
    Whole,
    /// A signal came, and the write was not done in time, or was.
    Stopped {
        whole: bool,
    },
    Failed(io::Error),
}

pub(super) async fn run(mut takings: Takings, mut contact: Contact, screen: Screen) -> anyhow::Result<Exit> {
    let mut signals = StopSignals::listen()?;
    let mut lines = Vec::new();
    loop {
        let first = tokio::select! {
            biased;
            _ = signals.next() => break,
            line = contact.next() => {
                eprintln!("roster: {}", line?);
                continue;
            }
            taken = takings.next(Meanwhile::Nothing) => match taken? {
                Some(claim) => claim,
                None => break,
            },
        };
        let mut claims = vec![first];
        lines.clear();
        Delivered::write(&claims[0], screen.format(), &mut lines)?;
        while claims.len() < MESSAGES_PER_WRITE_MAX && lines.len() < BYTES_PER_WRITE {
            let Some(claim) = takings.next_at_once().await else { break };
            Delivered::write(&claim, screen.format(), &mut lines)?;
            claims.push(claim);
        }
        match write(&lines, &mut signals).await {
            Written::Whole => acknowledge(claims),
            Written::Stopped { whole: true } => {
                acknowledge(claims);
                break;
            }
            Written::Stopped { whole: false } => {
                give_back(claims, "standard output was not read");
                break;
            }
            Written::Failed(error) => {
                give_back(claims, "standard output was closed");
                takings.close().await?;
                return Err(error.into()); // a closed pipe is a quiet end
            }
        }
        takings.touch();
    }
    takings.close().await?;
    Ok(Exit::Success)
}

/// Standard output may be a pipe that nobody reads just now: time goes on, and signals are heard, meanwhile.
async fn write(lines: &[u8], signals: &mut StopSignals) -> Written {
    let mut stdout = tokio::io::stdout();
    let writing = async {
        stdout.write_all(lines).await?;
        stdout.flush().await
    };
    let mut writing = std::pin::pin!(writing);
    tokio::select! {
        biased;
        written = &mut writing => match written {
            Ok(()) => Written::Whole,
            Err(error) => Written::Failed(error),
        },
        _ = signals.next() => match timeout(WRITE_WITHIN, writing).await {
            Ok(Ok(())) => Written::Stopped { whole: true },
            Ok(Err(error)) => Written::Failed(error),
            Err(_) => Written::Stopped { whole: false },
        },
    }
}

fn acknowledge(claims: Vec<Claim<Message>>) {
    claims.into_iter().for_each(Claim::ack);
}

/// To somebody else at once.
fn give_back(claims: Vec<Claim<Message>>, why: &str) {
    claims.into_iter().for_each(|claim| claim.nack_after(Duration::ZERO, why));
}
