//! A stream of lines as the client of a [`Cluster`](roster_client::Cluster): made when an instance comes,
//! made anew when it breaks, ended when the instance goes.

use std::future::pending;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

/// A task that moves lines; it is cut when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    task: JoinHandle<()>,
    /// How it has ended.
    ended: watch::Receiver<Option<Result<(), String>>>,
}

impl Worker {
    pub(crate) fn start(work: impl Future<Output = Result<(), Status>> + Send + 'static) -> Self {
        let (end, ended) = watch::channel(None);
        let task = tokio::spawn(async move {
            let result = work.await;
            end.send_replace(Some(result.map_err(|status| status.to_string())));
        });
        Self { task, ended }
    }

    /// Waits until the stream has broken, and tells why. What has come to its end in order is not made
    /// anew.
    pub(crate) async fn broken(&self) -> String {
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone());
        match ended {
            Some(Err(why)) => why,
            Some(Ok(())) => pending().await,
            None => "it was cut".to_owned(),
        }
    }

    /// Waits until it has ended, either way.
    pub(crate) async fn ended(&self) {
        // An error means that the task was cut.
        let _ = self.ended.clone().wait_for(Option::is_some).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
