//! Processes join, and are found where they say they are.

use std::time::Instant;

use crate::commands::demo::member;
use crate::commands::demo::stage::{MEMBERS, ORDERS, PATIENCE, Stage};
use crate::render::{Fact, Measure, SceneReport};

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let mark = stage.watcher()?.mark();
    let began = Instant::now();
    let mut addresses = Vec::new();
    let mut last_up = began;
    for _ in 0..MEMBERS {
        addresses.push(stage.start_member().await?.address().clone());
    }
    for address in &addresses {
        last_up = last_up.max(stage.watcher()?.wait_up(mark, address, PATIENCE).await?);
    }
    let ports: Vec<String> = addresses.iter().map(|address| format!(":{}", address.port())).collect();
    report.say(&format!("They listen at 127.0.0.1, at {}.", ports.join(" ")))?;
    report.fact("addresses", Fact::Words(addresses.iter().map(ToString::to_string).collect()));
    let label = "the first process started → the watcher knows all three";
    report.measure("all_up_ms", label, Measure::Took(last_up - began))?;

    let mut answered = 0;
    for address in &addresses {
        answered += usize::from(member::call(address).await?.contains(ORDERS));
    }
    report.measure("answered", "of them answer a call at the address that was pushed", Measure::Count(answered))?;
    report.expect(answered == MEMBERS, || format!("{answered} of {MEMBERS} members answer as {ORDERS}"));
    Ok(())
}
