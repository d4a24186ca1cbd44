//! A process that watches many services, and reads what each watch tells.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use roster_client::{Change, Instance, LiveView, Selector, Watch, WatchEvent};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::super::latencies::Latencies;
use super::super::node::BenchNode;
use super::answer::{Answer, Schedule, now};
use super::usage;
use crate::render::Figure;

/// Each service is this and its number.
pub(super) const PREFIX: &str = "bench/client-";
/// A change is recognised by its weight: this, and the number of the change.
pub(super) const WEIGHT_BASE: u32 = 1_000;

/// Where the readers put down what they were told.
#[derive(Debug)]
struct Sheet {
    schedule: OnceLock<Schedule>,
    /// Watches whose state is whole.
    whole: Count,
    /// Changes that came.
    changed: Count,
    latencies: Mutex<Latencies>,
    /// Why there will be none more.
    torn: Mutex<Option<String>>,
}

/// Who waits is woken at the end and not for each: that would be measured, too.
#[derive(Debug)]
struct Count {
    goal: u32,
    counted: AtomicU32,
    over: Notify,
}

pub(super) async fn measure(
    node: &BenchNode,
    services: u32,
    instances: u32,
    changes: u32,
    idle: Duration,
) -> anyhow::Result<Answer> {
    let client = node.client()?;
    // What a connection and a stream take is not counted.
    let first = client.watch(Selector::parse(&format!("{PREFIX}nothing"))?).start();
    first.view().loaded().await.context("watch")?;
    let before = usage::settled().await?;

    let sheet = Arc::new(Sheet {
        schedule: OnceLock::new(),
        whole: Count::to(services),
        changed: Count::to(changes),
        latencies: Mutex::new(Latencies::new()?),
        torn: Mutex::new(None),
    });
    let (start, cpu) = (Instant::now(), usage::cpu());
    let mut readers = JoinSet::new();
    let mut views: Vec<LiveView> = Vec::with_capacity(services as usize);
    for service in 0..services {
        let watch = client.watch(Selector::parse(&format!("{PREFIX}{service}"))?).start();
        views.push(watch.view());
        readers.spawn(read(watch, sheet.clone()));
    }
    sheet.until(&sheet.whole).await?;
    let (whole, whole_cpu) = (start.elapsed(), usage::cpu() - cpu);
    let known: usize = views.iter().map(|view| view.current().all().count()).sum();
    let expected = services as usize * instances as usize;
    ensure!(known == expected, "{known} instances are in the views, and not {expected}");
    let after = usage::settled().await?;

    let idle_cpu = usage::cpu_us_per_second(idle).await;

    let growth = after as f64 - before as f64;
    let mut figures = vec![
        Figure::count("watched_services", services.into()),
        Figure::count("watched_instances", expected as u64),
        Figure::count("watching_bytes_before", before),
        Figure::count("watching_bytes_after", after),
        Figure::measure("watching_bytes_per_service", growth / f64::from(services)),
        Figure::measure("watching_bytes_per_instance", growth / (expected.max(1) as f64)),
        Figure::measure("watching_whole_ms", whole.as_secs_f64() * 1e3),
        Figure::measure("watching_whole_cpu_ms", whole_cpu.as_secs_f64() * 1e3),
        Figure::measure("watching_idle_cpu_us_per_second", idle_cpu),
        Figure::count("watching_connections", usage::connections()?),
        Figure::count("watching_threads", usage::threads()?),
    ];
    let mut latencies = Vec::new();
    if changes > 0 {
        println!("{}", serde_json::to_string("ready").context("say that it is ready")?);
        let mut line = String::new();
        BufReader::new(tokio::io::stdin()).read_line(&mut line).await.context("hear when changes are due")?;
        let schedule = serde_json::from_str(&line).context("hear when changes are due")?;
        if sheet.schedule.set(schedule).is_err() {
            bail!("changes are made once");
        }
        let cpu = usage::cpu();
        sheet.until(&sheet.changed).await?;
        let cpu = (usage::cpu() - cpu).as_secs_f64() * 1e6;
        figures.push(Figure::count("changes", changes.into()));
        figures.push(Figure::measure("watching_cpu_us_per_change", cpu / f64::from(changes)));
        figures
            .push(Figure::measure("watching_bytes_more_after_changes", usage::settled().await? as f64 - after as f64));
        let seen = sheet.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.push(seen.percentiles("change_told"));
    }
    Ok(Answer { figures, latencies })
}

async fn read(mut watch: Watch, sheet: Arc<Sheet>) {
    while let Some(event) = watch.next().await {
        match event {
            WatchEvent::Change(Change::Loaded { .. }) => sheet.whole.add(),
            WatchEvent::Change(Change::Changed(instance)) => sheet.changed(&instance),
            WatchEvent::Change(_) | WatchEvent::Connected { .. } => {}
            WatchEvent::Resynchronise => sheet.tear("a watch could not be read in time"),
            WatchEvent::Disconnected { why } => sheet.tear(&why),
            WatchEvent::Refused(refusal) => sheet.tear(&refusal.message),
        }
    }
}

impl Count {
    fn to(goal: u32) -> Self {
        Self { goal, counted: AtomicU32::new(0), over: Notify::new() }
    }

    fn add(&self) {
        if self.counted.fetch_add(1, Ordering::Relaxed) + 1 == self.goal {
            self.over.notify_one();
        }
    }
}

impl Sheet {
    fn changed(&self, instance: &Instance) {
        let number = instance.registration.weight.checked_sub(WEIGHT_BASE + 1);
        let (Some(schedule), Some(number)) = (self.schedule.get(), number) else {
            return self.tear("a change that nobody made");
        };
        let latency = now().saturating_sub(schedule.due(number));
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).record(latency);
        self.changed.add();
    }

    async fn until(&self, count: &Count) -> anyhow::Result<()> {
        count.over.notified().await;
        match &*self.torn.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => bail!("{why}"),
            None => Ok(()),
        }
    }

    fn tear(&self, why: &str) {
        self.torn.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
        [&self.whole, &self.changed].into_iter().for_each(|count| count.over.notify_one());
    }
}
