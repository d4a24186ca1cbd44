//! The driver: does what a machine says and tells it what happens. All rules are in the machine.

use std::future::pending;
use std::sync::Arc;

use super::line::{Line, Word};
use super::{Protocol, Shared, Step};
use crate::endpoint::Endpoint;

/// Runs until the machine finishes.
pub(crate) async fn drive<P: Protocol>(shared: Arc<Shared<P>>, endpoints: Arc<[Endpoint]>) {
    let mut line: Option<Line<P>> = None;
    loop {
        while let Some(step) = shared.step(|protocol, _| protocol.poll_step()) {
            match step {
                Step::Open { endpoint } => {
                    let lease = endpoints[endpoint].lease();
                    line = Some(shared.read(|protocol| Line::open(protocol, endpoint, lease)));
                }
                Step::HangUp => line = None,
                Step::Discard => {
                    if let Some(line) = line.take() {
                        endpoints[line.endpoint].discard(&line.lease);
                    }
                }
                Step::Finish => return,
            }
        }
        let (timeout, has_message) = shared.step(|protocol, _| (protocol.poll_timeout(), protocol.has_message()));
        let (outgoing, incoming) = match &mut line {
            Some(line) => (Some(&line.outgoing).filter(|_| has_message), Some(&mut line.incoming)),
            None => (None, None),
        };
        let lost = tokio::select! {
            () = shared.woken() => None,
            () = async {
                match timeout {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => pending().await,
                }
            } => {
                shared.step(|protocol, moment| protocol.handle_timeout(moment));
                None
            }
            Ok(room) = async {
                match outgoing {
                    Some(outgoing) => outgoing.reserve().await,
                    None => pending().await,
                }
            } => {
                if let Some(message) = shared.step(|protocol, moment| protocol.poll_message(moment.now)) {
                    room.send(message);
                }
                None
            }
            word = async {
                match incoming {
                    Some(incoming) => incoming.next().await,
                    None => pending().await,
                }
            } => match word {
                Ok(word) => {
                    shared.step(|protocol, moment| match word {
                        Word::Opened => protocol.handle_opened(moment),
                        Word::Response(response) => protocol.handle_received(moment, response),
                    });
                    None
                }
                Err(loss) => Some(loss),
            },
        };
        if let Some(loss) = lost {
            line = None;
            shared.step(|protocol, moment| protocol.handle_lost(moment, loss));
        }
    }
}
