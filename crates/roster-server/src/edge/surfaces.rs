//! Whatever can be called.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use roster_proto::server::registry_server::RegistryServer;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::ServiceExt;

use super::RegistryApi;
use super::arrival::Arriving;

/// The registry, and what is behind the router.
#[derive(Debug, Clone)]
pub(crate) struct Surfaces {
    registry: RegistryServer<RegistryApi>,
    others: Routes,
}

impl Surfaces {
    pub(crate) fn new(registry: RegistryServer<RegistryApi>, others: Routes) -> Self {
        Self { registry, others: others.prepare() }
    }

    pub(super) fn call(&self, request: Request<Arriving<Incoming>>) -> BoxFuture<Response<Body>, Infallible> {
        // What is called most passes by the router and its boxes.
        if is_of::<RegistryServer<RegistryApi>>(request.uri().path()) {
            return tower::Service::call(&mut self.registry.clone(), request);
        }
        Box::pin(self.others.clone().oneshot(request))
    }
}

fn is_of<S: NamedService>(path: &str) -> bool {
    path.strip_prefix('/').and_then(|path| path.strip_prefix(S::NAME)).is_some_and(|method| method.starts_with('/'))
}
