//! Following the main of a service by its name: the singleton that holds it, wherever it goes.
//!
//! ```no_run
//! use std::time::Duration;
//! use roster_client::{Client, Instance, connect_fn};
//! use tokio::net::TcpStream;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder().endpoint("http://127.0.0.1:7400").build()?;
//! let connector = connect_fn(|instance: Instance| async move {
//!     let address = &instance.registration.address;
//!     Ok(TcpStream::connect((address.host(), address.port())).await?)
//! });
//! let scheduler = client.follower("scheduler", connector)?.build();
//! let holder = scheduler.get().await?;
//! println!("{} holds the name by token {:?}", holder.peer_addr()?, holder.instance().token);
//! # Ok(())
//! # }
//! ```
//!
//! When the main changes and the former one is still listed, calls go there until the client of the new
//! one is made. When it is not listed any more, they wait for the new one: it has left by its own word,
//! was superseded, or is lost, and a singleton must not be called after its time. Calls under way end
//! where they began.

use std::fmt;
use std::time::Duration;

use roster_core::directory::Instance;
use roster_core::{InvalidWord, ServiceName, Token};

use crate::client::Client;
use crate::cluster::{Cluster, ClusterBuilder, Connect, MemberChanges, NoneUsable, Picked, Scope, Standing};
use crate::reconnect::BackOff;

/// How long a call waits for a main.
const PATIENCE_DEFAULT: Duration = Duration::from_secs(10);

impl Client {
    /// A client for the main of a service, to be completed and built.
    ///
    /// # Errors
    /// [`InvalidWord`] when this is not the name of a service.
    pub fn follower<C: Connect>(&self, service: &str, connector: C) -> Result<FollowerBuilder<C>, InvalidWord> {
        let cluster = self.cluster(service, connector)?.scope(Scope::Main);
        Ok(FollowerBuilder { cluster, patience: PATIENCE_DEFAULT })
    }
}

/// What a follower is made of.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct FollowerBuilder<C> {
    cluster: ClusterBuilder<C>,
    patience: Duration,
}

impl<C: Connect> FollowerBuilder<C> {
    /// How long a call waits while there is no main that can be reached; 10 s by default.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How long to pause between failed attempts to connect to the main.
    pub fn back_off(mut self, back_off: BackOff) -> Self {
        self.cluster = self.cluster.back_off(back_off);
        self
    }

    /// How long one attempt to connect to the main may take; 5 s by default.
    pub fn connect_deadline(mut self, deadline: Duration) -> Self {
        self.cluster = self.cluster.connect_deadline(deadline);
        self
    }

    /// The follower. It watches and connects from the first call on.
    pub fn build(self) -> Follower<C> {
        Follower { cluster: self.cluster.build(), patience: self.patience }
    }
}

/// The main of a service by the service's name. Cheap to clone; ends as a [`Cluster`] does.
pub struct Follower<C: Connect> {
    cluster: Cluster<C>,
    patience: Duration,
}

impl<C: Connect> Clone for Follower<C> {
    fn clone(&self) -> Self {
        Self { cluster: self.cluster.clone(), patience: self.patience }
    }
}

impl<C: Connect> fmt::Debug for Follower<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("service", self.service()).finish_non_exhaustive()
    }
}

impl<C: Connect> Follower<C> {
    /// The name.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        self.cluster.service()
    }

    /// The client of the main, for one call. While there is no main that can be reached, this waits.
    ///
    /// # Errors
    /// [`NoneUsable`] as of the end of the wait.
    ///
    /// # Panics
    /// Outside of a tokio runtime, when it is the first call.
    pub async fn get(&self) -> Result<Picked<C>, NoneUsable> {
        self.cluster.get_or_wait(self.patience).await
    }

    /// The main as the registry knows it, whether there is a client for it or not.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[must_use]
    pub fn main(&self) -> Option<Instance> {
        self.cluster.main()
    }

    /// The fencing token of the singleton that holds the name.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        self.main()?.token
    }

    /// Tells when the main, or what is known of it, has changed.
    ///
    /// # Panics
    /// As [`get`](Self::get).
    #[must_use]
    pub fn changes(&self) -> MemberChanges {
        self.cluster.changes()
    }

    /// Its client is of no use; see [`Cluster::report_broken`].
    pub fn report_broken(&self, picked: &Picked<C>, why: &str) {
        self.cluster.report_broken(picked, why);
    }

    /// Whether somebody else is the main than when this was picked, or it is about to be so: it drains,
    /// its session is lost, or its client is closed.
    #[must_use]
    pub fn has_moved(&self, picked: &Picked<C>) -> bool {
        let stays = |main: Instance| {
            let same = main.id == picked.instance().id && main.token == picked.instance().token;
            same && matches!(Standing::of(&main), Standing::Up | Standing::Unconfirmed)
        };
        !self.main().is_some_and(stays) || self.cluster.is_closed(picked)
    }

    /// Makes a call, and makes it once more when it has failed and the main [has moved](Self::has_moved)
    /// meanwhile. The first attempt may have been carried out all the same: only for calls that do no
    /// harm when they are made twice.
    ///
    /// # Errors
    /// [`CallError::NoneUsable`] when there is nobody to call, [`CallError::Failed`] when the call
    /// failed at a main that stays, or failed twice.
    pub async fn call_repeatable<T, E, Call>(&self, call: impl Fn(Picked<C>) -> Call) -> Result<T, CallError<E>>
    where
        Call: Future<Output = Result<T, E>>,
    {
        let picked = self.get().await?;
        let witness = picked.clone();
        match call(picked).await {
            Ok(answer) => Ok(answer),
            Err(_) if self.has_moved(&witness) => {
                drop(witness);
                call(self.get().await?).await.map_err(CallError::Failed)
            }
            Err(error) => Err(CallError::Failed(error)),
        }
    }

    /// Ends the watch and the client; see [`Cluster::close`].
    pub async fn close(self) {
        self.cluster.close().await;
    }

    pub(crate) fn into_cluster(self) -> Cluster<C> {
        self.cluster
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }
}

/// Why a call to the main did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// There was nobody to call.
    #[error(transparent)]
    NoneUsable(#[from] NoneUsable),
    /// The call itself failed.
    #[error("the call failed")]
    Failed(#[source] E),
}
