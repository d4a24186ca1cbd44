//! `roster.v1.Backup`: the files of the node's logs, for whoever copies them.
//!
//! A stream reads by itself what a log shows; neither writer nor director know of it. It reads when there
//! is room for the next message, so a caller that does not read costs one message and a waiting task.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use roster_proto::convert::{status_of, unavailable};
use roster_proto::server::backup_server::Backup;
use roster_proto::v1;
use roster_proto::v1::follow_response::Piece as WirePiece;
use roster_proto::v1::refusal::Code;
use roster_store::{FeedError, FeedReader, HeldFile, LogFeed, Piece};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Desk, Gauges, Place, stopping, too_many};
use crate::clock::WallClock;
use crate::writer::with_causes;

/// Copies that may be under way at once.
const BACKUP_STREAMS_MAX: usize = 16;
/// When nothing changes, the caller is told so this often.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// After a caller has caught up, what comes is gathered for so long: a copy is no watch, and each look
/// costs the node a read and the caller a sync.
const GATHER_PAUSE: Duration = Duration::from_millis(20);

/// The logs of a node by their names.
pub(crate) type Feeds = Vec<(&'static str, LogFeed)>;

#[derive(Debug, Clone)]
pub(crate) struct BackupApi {
    desk: Desk,
    clock: Arc<dyn WallClock>,
    feeds: Arc<Feeds>,
    stop: CancellationToken,
}

impl BackupApi {
    pub(crate) fn new(desk: Desk, clock: Arc<dyn WallClock>, feeds: Feeds) -> Self {
        Self { desk, clock, feeds: Arc::new(feeds), stop: CancellationToken::new() }
    }

    /// Ends its streams when this is cancelled.
    pub(crate) fn until(self, stop: CancellationToken) -> Self {
        Self { stop, ..self }
    }

    fn feed(&self, name: &str) -> Result<LogFeed, Status> {
        if let Some((_, feed)) = self.feeds.iter().find(|(known, _)| *known == name) {
            return Ok(feed.clone());
        }
        let known: Vec<_> = self.feeds.iter().map(|(name, _)| *name).collect();
        Err(wrong(format!("this node has no log {name:?}; it has {}", known.join(", "))))
    }
}

#[tonic::async_trait]
impl Backup for BackupApi {
    type FollowStream = ReceiverStream<Result<v1::FollowResponse, Status>>;

    async fn follow(&self, request: Request<v1::FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        let request = request.into_inner();
        let feed = self.feed(&request.log)?;
        let of: fn(&Gauges) -> &AtomicUsize = |gauges| &gauges.backup_streams;
        let place = Place::take(&self.desk.gauges, of, BACKUP_STREAMS_MAX)
            .ok_or_else(|| too_many("backup streams", BACKUP_STREAMS_MAX))?;
        let held = request.held.into_iter().map(|held| HeldFile {
            name: held.name,
            bytes: held.bytes,
            tail_crc: held.tail_crc32c,
        });
        let reader = feed.reader(held.collect()).map_err(|error| unreadable(&error))?;
        let (responses, stream) = mpsc::channel(1);
        let follow = Follow { feed, clock: self.clock.clone(), responses, stop: self.stop.clone(), _place: place };
        self.desk.tasks.spawn(follow.run(reader));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// One stream.
struct Follow {
    feed: LogFeed,
    clock: Arc<dyn WallClock>,
    responses: mpsc::Sender<Result<v1::FollowResponse, Status>>,
    stop: CancellationToken,
    _place: Place,
}

impl Follow {
    async fn run(self, mut reader: FeedReader) {
        loop {
            let permit = tokio::select! {
                permit = self.responses.reserve() => permit,
                () = self.stop.cancelled() => break,
            };
            let Ok(permit) = permit else { return };
            let now = self.clock.now();
            let read = tokio::task::spawn_blocking(move || {
                let next = reader.next(now);
                (reader, next)
            });
            let Ok((back, next)) = read.await else { return };
            reader = back;
            let pause = match next {
                Ok(Some(piece)) => {
                    let pause = matches!(piece, Piece::CaughtUp { .. }).then_some(GATHER_PAUSE);
                    let is_last = matches!(piece, Piece::Diverged { .. });
                    permit.send(Ok(encode(piece)));
                    if is_last {
                        return;
                    }
                    pause
                }
                Ok(None) => {
                    drop(permit);
                    tokio::select! {
                        () = self.feed.changed(reader.seen()) => None,
                        () = tokio::time::sleep(HEARTBEAT_INTERVAL) => {
                            reader.tell_again();
                            None
                        }
                        () = self.responses.closed() => return,
                        () = self.stop.cancelled() => break,
                    }
                }
                Err(error) => {
                    permit.send(Err(unreadable(&error)));
                    return;
                }
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.stop.cancelled() => break,
                }
            }
        }
        // If there is no room the stream just ends, which says the same.
        let _ = self.responses.try_send(Err(stopping()));
    }
}

fn wrong(message: String) -> Status {
    status_of(&v1::Refusal { code: Code::InvalidArgument.into(), message, ..Default::default() })
}

fn unreadable(error: &FeedError) -> Status {
    match error {
        FeedError::NoFiles => wrong(error.to_string()),
        FeedError::Damaged(_) | FeedError::Io(_) => status_of(&unavailable(with_causes(error))),
    }
}

fn encode(piece: Piece) -> v1::FollowResponse {
    let piece = match piece {
        Piece::Files(set) => WirePiece::Files(v1::LogFiles {
            content: set.content,
            log_id: set.log,
            last_generation: set.last_generation,
            snapshot: set.snapshot.unwrap_or_default(),
            segments: set.segments,
            bytes: set.bytes,
        }),
        Piece::Chunk { file, offset, bytes } => WirePiece::Chunk(v1::FileChunk { file, offset, bytes }),
        Piece::CaughtUp { position, at } => {
            WirePiece::CaughtUp(v1::CaughtUp { position: position.get(), unix_ms: at.get() })
        }
        Piece::Diverged { file, why } => WirePiece::Diverged(v1::Diverged { file, why }),
    };
    v1::FollowResponse { piece: Some(piece) }
}
