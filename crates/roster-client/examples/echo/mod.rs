//! A gRPC service small enough to be written by hand: it answers with who it is, and can take its time.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::body::Body;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// What is asked and what is answered.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Words {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    /// How long the answer shall take.
    #[prost(uint64, tag = "2")]
    pub(crate) millis: u64,
}

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Echo {
    name: Arc<str>,
    asked: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Echo {
    /// Answers with this name.
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), asked: Arc::default(), answered: Arc::default() }
    }

    /// Calls that have come.
    #[allow(dead_code, reason = "not everybody who includes this asks")]
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Calls it has answered.
    #[allow(dead_code, reason = "not everybody who includes this asks")]
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "example.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        let codec = ProstCodec::<Words, Words>::default();
        Box::pin(async move { Ok(Grpc::new(codec).unary(echo, request).await) })
    }
}

impl UnaryService<Words> for Echo {
    type Response = Words;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Words>, Status>> + Send>>;

    fn call(&mut self, request: Request<Words>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            echo.asked.fetch_add(1, Ordering::Relaxed);
            let asked = request.into_inner();
            tokio::time::sleep(Duration::from_millis(asked.millis)).await;
            echo.answered.fetch_add(1, Ordering::Relaxed);
            Ok(Response::new(Words { text: echo.name.to_string(), millis: asked.millis }))
        })
    }
}

/// One call: who answers.
pub(crate) async fn ask<S>(channel: &S, millis: u64) -> Result<String, Status>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Status> + Clone,
{
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let asked = Words { text: "who are you?".to_owned(), millis };
    let path = PathAndQuery::from_static("/example.Echo/Ask");
    let answer = grpc.unary(Request::new(asked), path, ProstCodec::<Words, Words>::default()).await?;
    Ok(answer.into_inner().text)
}
