//! The registry inside one process.

#![allow(clippy::unwrap_used, reason = "a file of tests")]

use std::time::Duration;

use roster_client::{Announcement, Client, Selector};
use roster_embedded::Embedded;
use roster_server::Settings;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

fn settings(directory: &TempDir) -> Settings {
    Settings { data_dir: directory.path().join("data"), ..Settings::default() }
}

async fn orders(client: &Client) -> usize {
    client.list(&Selector::parse("orders").unwrap()).await.unwrap().len()
}

#[tokio::test]
async fn what_is_registered_inside_is_watched_inside_and_survives_a_restart() {
    let directory = TempDir::new().unwrap();
    let roster = Embedded::start(settings(&directory)).await.unwrap();
    let client = roster.client().name("test").build().unwrap();
    let registrar = client.registrar().start();
    let handle = registrar.register(Announcement::new("orders", "10.0.0.7", 8080).unwrap());
    tokio::time::timeout(PATIENCE, handle.settled()).await.unwrap();

    let watch = client.watch(Selector::parse("orders").unwrap()).start();
    let view = watch.view();
    let loaded = tokio::time::timeout(PATIENCE, view.loaded()).await.unwrap().unwrap();
    assert_eq!(loaded.all().count(), 1);

    roster.shutdown().await.unwrap();
    let roster = Embedded::start(settings(&directory)).await.unwrap();
    let client = roster.client().build().unwrap();
    assert_eq!(orders(&client).await, 1, "restored, though its session is not back");
    roster.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_client_of_a_stopped_node_is_told_so() {
    let directory = TempDir::new().unwrap();
    let roster = Embedded::start(settings(&directory)).await.unwrap();
    let client = roster.client().deadline(Duration::from_secs(2)).build().unwrap();
    assert_eq!(orders(&client).await, 0);
    roster.shutdown().await.unwrap();
    let error = client.list(&Selector::parse("orders").unwrap()).await.unwrap_err();
    assert!(matches!(error, roster_client::Error::Unreachable { .. }), "{error:?}");
}
