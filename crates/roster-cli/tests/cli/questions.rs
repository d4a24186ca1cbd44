//! What is asked once: get, services, check, drain, cutover, status, rebuild.

use roster_client::testing::FakeNode;
use roster_client::{Announcement, Client, Handle, Kind, Registrar, State};
use serde_json::Value;

use crate::roster;

/// A node that knows two instances of `orders` and the singleton `team/scheduler`.
struct Town {
    node: FakeNode,
    orders: Vec<u64>,
    _held: (Registrar, Vec<Handle>),
}

impl Town {
    async fn new() -> Self {
        let node = FakeNode::listen().await.unwrap();
        let registrar = Client::builder().endpoint(node.url()).build().unwrap().registrar().start();
        let announcements = [
            Announcement::new("orders", "10.0.0.7", 8080).unwrap().version(2).zone("eu-1").tag("blue"),
            Announcement::new("orders", "10.0.0.8", 8080).unwrap().version(2).kind(Kind::Main).metadata("k", "v"),
            Announcement::new("team/scheduler", "10.0.0.9", 9000).unwrap().kind(Kind::Singleton),
        ];
        let mut handles = Vec::new();
        let mut ids = Vec::new();
        for announcement in announcements {
            let handle = registrar.register(announcement);
            let State::Active { instance, .. } = handle.settled().await else { panic!("it is registered") };
            ids.push(instance.get());
            handles.push(handle);
        }
        Self { node, orders: ids[..2].to_vec(), _held: (registrar, handles) }
    }

    /// What the command prints when it ends with `code`.
    fn ask(&self, arguments: &[&str], code: i32) -> String {
        let output = roster(arguments).env("ROSTER_SERVER", self.node.url()).assert().code(code).get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    }

    fn ask_json(&self, arguments: &[&str]) -> Value {
        let text = self.ask(&[arguments, &["--output", "json"]].concat(), 0);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instances_of_a_service_are_shown_in_each_form() {
    let town = Town::new().await;
    let table = town.ask(&["get", "orders"], 0);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ADDRESS"), "{table}");
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines.iter().any(|line| line.starts_with("10.0.0.8:8080  main *")), "{table}");

    let json = town.ask_json(&["get", "orders"]);
    let main = json.as_array().unwrap().iter().find(|instance| instance["main"] == true).unwrap();
    assert_eq!(main["address"], "10.0.0.8:8080");
    assert_eq!(main["metadata"]["k"], "v");
    assert_eq!(main["liveness"], "up");

    let text = town.ask(&["get", "orders", "--output", "text"], 0);
    let mut addresses: Vec<&str> = text.lines().map(|line| line.split('\t').next().unwrap()).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, ["10.0.0.7:8080", "10.0.0.8:8080"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_is_shown_alone() {
    let town = Town::new().await;
    assert_eq!(town.ask_json(&["get", "orders", "--main"])["id"], town.orders[1]);
    let token = &town.ask_json(&["get", "team/scheduler", "--main"])["fencing_token"];
    assert!(token.as_u64().is_some(), "{token}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_ends_with_3() {
    let town = Town::new().await;
    assert_eq!(town.ask(&["get", "nobody"], 3), "");
    assert_eq!(town.ask(&["get", "nobody", "--main"], 3), "");
    assert_eq!(town.ask(&["check", "nobody"], 3), "");
    assert_eq!(town.ask(&["check", "orders", "--session", "999"], 3), "");
    assert_eq!(town.ask(&["drain", "999999"], 3), "");
    assert_eq!(town.ask(&["drain", "10.0.0.99:1", "--service", "orders"], 3), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_counted() {
    let town = Town::new().await;
    let all = town.ask_json(&["services"]);
    assert_eq!(all[0]["service"], "orders");
    assert_eq!(all[0]["up"], 2);
    assert_eq!(all[0]["main_instance"], town.orders[1]);
    let below = town.ask(&["services", "team/", "--output", "text"], 0);
    assert_eq!(below.lines().count(), 1);
    assert!(below.starts_with("team/scheduler\t1\t0\t0\t0\t0\t"), "{below}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_answers_is_alive() {
    let town = Town::new().await;
    let checks = town.ask_json(&["check", "orders"]);
    assert_eq!(checks[0]["outcome"], "alive");
    assert_eq!(checks[0]["addresses"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_drained_by_its_address() {
    let town = Town::new().await;
    let told = town.ask(&["drain", "10.0.0.7:8080", "--service", "orders", "--output", "json"], 0);
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["instance"], town.orders[0]);
    assert_eq!(last["finished"], true);
    let drained = town.ask_json(&["get", "orders"]);
    assert!(drained.as_array().unwrap().iter().any(|instance| instance["draining"] == true), "{drained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_cutover_is_set_and_cleared() {
    let town = Town::new().await;
    assert_eq!(town.ask_json(&["cutover", "orders", "3"])["cutover"], "3");
    let set = town.ask_json(&["services"]);
    assert_eq!((&set[0]["cutover"], &set[0]["cutover_by_operator"]), (&"3".into(), &true.into()));
    assert!(town.ask_json(&["cutover", "orders", "clear"])["cutover"].is_null());
    assert_eq!(town.ask_json(&["services"])[0]["cutover_by_operator"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_a_document() {
    let town = Town::new().await;
    let status = town.ask_json(&["status"]);
    assert_eq!(status["instances"], 3);
    assert!(status["concerns"].is_array());
    let text = town.ask(&["status", "--output", "text"], 0);
    assert!(text.lines().all(|line| line.split('\t').count() == 2), "{text}");
}
