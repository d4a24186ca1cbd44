//! A cluster of queues that changes all the time, and a message each millisecond through it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use roster_client::queue::{Message, QueueName, Settings};
use roster_client::{Change, InstanceId, RemovedCause};
use roster_core::Address;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::median_and_longest;
use crate::commands;
use crate::commands::demo::ledger::{Account, Ledger};
use crate::commands::demo::node::Node;
use crate::commands::demo::stage::{MESSAGES, PATIENCE, Stage};
use crate::commands::demo::traffic::{self, Traffic};
use crate::commands::demo::watcher::{Mark as Since, Watcher, is_at};
use crate::render::{Fact, Mark, Measure, Passing, SceneReport};

/// Between two that join.
const JOIN_INTERVAL: Duration = Duration::from_secs(1);
/// Between two that leave, unless leaving takes longer.
const LEAVE_INTERVAL: Duration = Duration::from_secs(1);
/// How long all are there before one is killed, and after it is back.
const FULL: Duration = Duration::from_millis(1_500);
/// How long the killed one is down before it is started again.
const DOWN: Duration = Duration::from_secs(1);
/// How long the last one is alone.
const ALONE: Duration = Duration::from_secs(2);
/// Between two lines for people.
const LINE_INTERVAL: Duration = Duration::from_secs(1);
/// A queue that nobody consumes, at the one that is killed.
const KEPT_QUEUE: &str = "kept";
const KEPT: usize = 100;
/// Missing messages that are named.
const NAMED_MAX: usize = 10;

/// What is seen of the members.
#[derive(Debug)]
struct View {
    marks: Vec<Mark>,
    news: Vec<String>,
    most: usize,
}

impl View {
    fn new(members: usize) -> RefCell<Self> {
        RefCell::new(Self { marks: vec![Mark::Absent; members], news: Vec::new(), most: 0 })
    }

    /// That a member, counted from 1, stands like this.
    fn set(&mut self, number: usize, mark: Mark, did: &str) {
        self.marks[number - 1] = mark;
        self.news.push(format!("{number} {did}"));
        self.most = self.most.max(self.marks.iter().filter(|mark| **mark == Mark::Up).count());
    }
}

/// What came of it.
#[derive(Debug)]
struct Story {
    /// Everything that was registered, the killed one before and after.
    instances: Vec<(usize, InstanceId)>,
    addresses: Vec<String>,
    /// From the kill to the first message that it stored again.
    away: Duration,
    /// Of the messages that nobody consumed, what the killed one had on its return.
    kept: u64,
    /// Members that did not leave as they should, and why.
    bad_leaves: Vec<String>,
}

pub(super) async fn play(stage: &mut Stage, report: &mut SceneReport) -> anyhow::Result<()> {
    let members = stage.queue_members_max;
    report.say(&format!("Up to {members} nodes, each a process with its own data. One is killed and returns."))?;
    let view = View::new(members);
    let mut story =
        Story { instances: Vec::new(), addresses: Vec::new(), away: Duration::ZERO, kept: 0, bad_leaves: Vec::new() };
    join(stage, 1, &view, &mut story).await?;
    let mut traffic = Traffic::start(&stage.client()?, MESSAGES)?;
    report.pass(|paint| Passing::head(members, paint))?;
    tokio::select! {
        acted = act(stage, traffic.ledger(), &view, &mut story) => acted?,
        told = tell_each_second(report, traffic.ledger(), &view) => match told? {},
    }

    traffic.stop(PATIENCE).await?;
    traffic.settle(PATIENCE).await;
    let account = traffic.ledger().account();
    let last = stage.queue_members.last().context("the last member is there")?;
    let left = traffic::left_in(&commands::node::client(&[last.url()])?, PATIENCE).await?;
    let idle = story.instances.iter().filter(|(_, id)| traffic.ledger().first_stored_by(*id).is_none());
    let idle: Vec<String> = idle.map(|(number, _)| number.to_string()).collect();
    traffic.close(PATIENCE).await?;

    tell(report, view.borrow().most, &story, &account)?;
    report.fact("left", Fact::Number(left));
    let most = view.borrow().most;
    report.expect(most == members, || format!("{most} of {members} members were up at the same time"));
    report.expect(left == 0, || format!("the last member keeps {left} messages"));
    report.expect(idle.is_empty(), || format!("no message was stored by member {}", idle.join(", ")));
    report.expect(story.bad_leaves.is_empty(), || story.bad_leaves.join("; "));
    Ok(())
}

async fn act(stage: &mut Stage, ledger: &Ledger, view: &RefCell<View>, story: &mut Story) -> anyhow::Result<()> {
    let mut ticks = interval(JOIN_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    for number in 2..=stage.queue_members_max {
        ticks.tick().await;
        join(stage, number, view, story).await?;
    }
    sleep(FULL).await;
    kill_and_start_again(stage, ledger, view, story).await?;
    sleep(FULL).await;

    let mut ticks = interval(LEAVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1..stage.queue_members_max {
        ticks.tick().await;
        leave(stage, number, view, story).await?;
    }
    sleep(ALONE).await;
    Ok(())
}

async fn join(stage: &mut Stage, number: usize, view: &RefCell<View>, story: &mut Story) -> anyhow::Result<()> {
    let since = stage.watcher()?.mark();
    let address = stage.start_queue_member(number).await?.address()?;
    let (_, instance) = wait_up(stage.watcher()?, since, &address).await?;
    story.instances.push((number, instance));
    story.addresses.push(address.to_string());
    view.borrow_mut().set(number, Mark::Up, "joins");
    Ok(())
}

/// One in the middle: it comes back at the same address with what it had stored.
async fn kill_and_start_again(
    stage: &mut Stage,
    ledger: &Ledger,
    view: &RefCell<View>,
    story: &mut Story,
) -> anyhow::Result<()> {
    let place = stage.queue_members_max / 2;
    let (number, _) = story.instances[place];
    let since = stage.watcher()?.mark();
    let victim = stage.queue_members.remove(place);
    let address = victim.address()?;
    let (queues, queue) = (commands::node::client(&[victim.url()])?.queues(), QueueName::parse(KEPT_QUEUE)?);
    queues.create(&queue, Settings::default()).await?;
    queues.publish(&queue, &vec![Message::plain(Bytes::from_static(b"for later")); KEPT]).await?;

    let killed = Instant::now();
    let listen = victim.kill().await?;
    view.borrow_mut().set(number, Mark::Killed, "is killed");
    sleep(DOWN).await;

    let registry = stage.node()?.url();
    let again = Node::start_member(&stage.folder, number, Some(listen), &registry, MESSAGES).await;
    stage.queue_members.insert(place, again.context("start the killed member again")?);
    let (_, instance) = wait_up(stage.watcher()?, since, &address).await?;
    view.borrow_mut().set(number, Mark::Up, "is back");
    let stored = traffic::until(PATIENCE, || ledger.first_stored_by(instance)).await;
    let stored = stored.with_context(|| format!("member {number} got no message within {PATIENCE:?} of its return"))?;
    story.away = stored.saturating_duration_since(killed);
    story.instances.push((number, instance));

    story.kept = queues.get(&queue).await?.waiting;
    queues.delete(&queue).await?;
    Ok(())
}

/// The one that has been there longest.
async fn leave(stage: &mut Stage, number: usize, view: &RefCell<View>, story: &mut Story) -> anyhow::Result<()> {
    let since = stage.watcher()?.mark();
    let member = stage.queue_members.first().context("a member is there")?;
    let address = member.address()?;
    member.ask_to_stop()?;
    let (_, cause) = stage.watcher()?.wait_gone(since, &address, PATIENCE).await?;
    view.borrow_mut().set(number, Mark::Absent, "leaves");
    if cause != Some(RemovedCause::Logout) {
        story.bad_leaves.push(format!("member {number} was removed for {cause:?} instead of its logout"));
    }
    if !stage.queue_members.remove(0).ended().await? {
        story.bad_leaves.push(format!("member {number} did not end well"));
    }
    Ok(())
}

async fn wait_up(watcher: &Watcher, since: Since, address: &Address) -> anyhow::Result<(Instant, InstanceId)> {
    let up = |change: &Change| {
        let (Change::Up(instance) | Change::Replaced { new: instance, .. }) = change else { return None };
        is_at(instance, address).then_some(instance.id)
    };
    watcher.wait(since, &format!("that {address} is up"), PATIENCE, up).await
}

async fn tell_each_second(report: &SceneReport, ledger: &Ledger, view: &RefCell<View>) -> anyhow::Result<Infallible> {
    let mut ticks = interval(LINE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    for second in 1.. {
        ticks.tick().await;
        let look = ledger.look(Instant::now());
        let (members, news) = {
            let mut view = view.borrow_mut();
            (view.marks.clone(), std::mem::take(&mut view.news).join(", "))
        };
        let (sent, received, gap) = (look.sent, look.received, look.gap);
        let passing = Passing { second, members: &members, sent, received, gap, news: &news };
        report.pass(|paint| passing.line(paint))?;
    }
    std::future::pending().await
}

fn tell(report: &mut SceneReport, most: usize, story: &Story, account: &Account) -> anyhow::Result<()> {
    report.fact("member_addresses", Fact::Words(story.addresses.clone()));
    report.measure("members_max", "members at most", Measure::Count(most))?;
    report.measure("sent", "messages sent, one each millisecond", Measure::Count(account.sent))?;
    report.measure("received", "of them received", Measure::Count(account.received))?;
    report.measure("missing", "of them missing", Measure::Count(account.missing.len()))?;
    report.measure("failed", "of them that could not be published", Measure::Count(account.failed))?;
    report.measure("duplicates", "received once more", Measure::Count(account.duplicates))?;
    let (median, longest) = median_and_longest(account.delays.clone());
    report.measure("delay_ms", "its millisecond → stored on disk, and received (median)", Measure::Took(median))?;
    report.fact("delay_longest_ms", Fact::Took(longest));
    report.measure("longest_gap_ms", "the longest time between two receptions", Measure::Took(account.longest_gap))?;
    report.measure("away_ms", "SIGKILL to a member → started again, it stores messages", Measure::Took(story.away))?;
    let kept = usize::try_from(story.kept)?;
    let label = format!("of {KEPT} messages in it that nobody consumes, there after that");
    report.measure("kept", &label, Measure::Count(kept))?;
    report.highlight("sent", "messages through queue nodes that come, die and leave");
    report.highlight("missing", "… of them missing");
    report.highlight("duplicates", "… received once more");
    report.highlight("longest_gap_ms", "… longest time between two receptions");

    let named: Vec<String> = account.missing.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    report.expect(account.missing.is_empty(), || {
        format!("{} of {} messages are missing, first {}", account.missing.len(), account.sent, named.join(", "))
    });
    report.expect(account.failed == 0, || {
        let why = account.first_failure.as_deref().unwrap_or_default();
        format!("{} of {} messages could not be published: {why}", account.failed, account.sent)
    });
    report.expect(kept == KEPT, || format!("the killed member came back with {kept} of {KEPT} messages that it kept"));
    let unanswered = account.sent.saturating_sub(account.answered + account.failed);
    report.expect(unanswered == 0, || format!("{unanswered} messages were never answered"));
    Ok(())
}
