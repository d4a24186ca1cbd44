//! What goes between producers and collectors, and the two gRPC services, written by hand.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use roster_client::tonic::Line as Connection;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::book::Book;
use super::ring::Ring;

/// One line of a log.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Line {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
}

/// Lines of one run of one producer, in their order.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Batch {
    #[prost(string, tag = "1")]
    pub(crate) producer: String,
    #[prost(uint64, tag = "2")]
    pub(crate) run: u64,
    #[prost(message, repeated, tag = "3")]
    pub(crate) lines: Vec<Line>,
}

/// Up to where a collector has the lines of one run of one producer.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Place {
    #[prost(string, tag = "1")]
    pub(crate) producer: String,
    #[prost(uint64, tag = "2")]
    pub(crate) run: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) after: u64,
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// Pull: a producer streams its ring from a place on. The stream ends when the producer does.
#[derive(Debug, Clone)]
pub(crate) struct Producing(pub(crate) Ring);

impl NamedService for Producing {
    const NAME: &'static str = "example.LogProducer";
}

impl Service<http::Request<Body>> for Producing {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let mut grpc = Grpc::new(ProstCodec::<Batch, Place>::default());
        let producing = self.clone();
        Box::pin(async move { Ok(grpc.server_streaming(producing, request).await) })
    }
}

impl ServerStreamingService<Place> for Producing {
    type Response = Batch;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Batch, Status>> + Send>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Place>) -> Self::Future {
        let ring = self.0.clone();
        Box::pin(async move {
            let after = ring.resume(request.get_ref());
            Ok(Response::new(Box::pin(ring.stream(after).map(Ok)) as Self::ResponseStream))
        })
    }
}

/// Push: a collector takes lines, and answers up to where it has them.
#[derive(Debug, Clone)]
pub(crate) struct Collecting(pub(crate) Book);

impl NamedService for Collecting {
    const NAME: &'static str = "example.LogCollector";
}

impl Service<http::Request<Body>> for Collecting {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let mut grpc = Grpc::new(ProstCodec::<Place, Batch>::default());
        let collecting = self.clone();
        Box::pin(async move { Ok(grpc.unary(collecting, request).await) })
    }
}

impl UnaryService<Batch> for Collecting {
    type Response = Place;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Place>, Status>> + Send>>;

    fn call(&mut self, request: Request<Batch>) -> Self::Future {
        let book = self.0.clone();
        Box::pin(async move { Ok(Response::new(book.note(request.into_inner()))) })
    }
}

/// Calls a producer.
pub(crate) async fn follow(connection: &Connection, place: Place) -> Result<Streaming<Batch>, Status> {
    let mut grpc = tonic::client::Grpc::new(connection.clone());
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/example.LogProducer/Follow");
    let codec = ProstCodec::<Place, Batch>::default();
    Ok(grpc.server_streaming(Request::new(place), path, codec).await?.into_inner())
}

/// Calls a collector.
pub(crate) async fn append(connection: &Connection, batch: Batch) -> Result<Place, Status> {
    let mut grpc = tonic::client::Grpc::new(connection.clone());
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/example.LogCollector/Append");
    Ok(grpc.unary(Request::new(batch), path, ProstCodec::<Batch, Place>::default()).await?.into_inner())
}
