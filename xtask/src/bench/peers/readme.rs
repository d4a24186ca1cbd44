//! What the two readmes say of performance: a few figures of the last whole run, and under which conditions.

use std::fmt::Write as _;

use super::page::shown;
use super::record::Record;
use super::targets;
use super::workloads::{System, Workload};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Chinese,
}

/// The beginning of a workload, a figure of it, a peer, and what it is in both languages.
type Headline = (&'static str, &'static str, System, &'static str, &'static str);

const HEADLINES: [Headline; 7] = [
    ("W1", "per_second", System::Etcd, "durable registrations a second", "每秒持久化注册数"),
    (
        "W2 push to 5000 ",
        "delivered_p99_ms",
        System::Etcd,
        "a change at 5,000 watches, p99",
        "一次变更推送到 5,000 个监视,p99",
    ),
    (
        "W3 a provider dies",
        "killed_to_known_p50_ms",
        System::Etcd,
        "a killed process known to watchers, p50",
        "进程被杀后监视者得知,p50",
    ),
    (
        "W4 SIGKILL with 300000 ",
        "start_to_full_answer_ms",
        System::Etcd,
        "300,000 instances, killed and whole again",
        "30 万实例,被杀后恢复完整",
    ),
    (
        "W6",
        "per_second",
        System::Etcd,
        "unary reads a second of services of 20 that do not change meanwhile",
        "每秒读取 20 实例服务的次数（期间服务不变）",
    ),
    ("W7 publish 5", "per_second", System::Redis, "durable messages published a second", "每秒持久化发布消息数"),
    ("W7 publish and", "per_second", System::Redis, "published and consumed a second", "每秒发布并消费消息数"),
];

/// # Errors
/// When the list of targets is none.
pub(super) fn paragraph(record: &Record, workloads: &[Workload], language: Language) -> anyhow::Result<String> {
    let (reached, asked) = targets::reached(workloads, &record.samples)?;
    let version = |name: &str| {
        let said = record.versions.iter().find(|(known, _)| known == name).map_or("", |(_, version)| version);
        let numbers = said.split(|c: char| !c.is_ascii_digit() && c != '.').find(|word| word.contains('.'));
        numbers.unwrap_or_default().trim_matches('.').to_owned()
    };
    let (etcd, redis) = (version("etcd"), version("Redis"));
    let (cores, rounds, sync) = (record.before.cores, record.rounds, record.before.sync_us);
    let mut text = match language {
        Language::English => format!(
            "Medians of {rounds} rounds in one run, on {cores} cores that servers and clients share; every write is \
             synced before it is answered (etcd {etcd} as it is, Redis {redis} with `appendfsync always`; a sync \
             takes {sync} µs here). Of {asked} targets {reached} are reached; \
             [docs/performance.md](docs/performance.md) has all of them, with what stands in the way of the rest, and \
             the command that measures it again.\n\n| | Roster | beside it |\n|---|---|---|\n"
        ),
        Language::Chinese => format!(
            "同一次运行中 {rounds} 轮的中位数;服务端与客户端共用 {cores} 个核;每次写入都先落盘同步再应答\
             (etcd {etcd} 默认设置,Redis {redis} 为 `appendfsync always`;此处一次同步约 {sync} µs)。\
             {asked} 项目标达成 {reached} 项;全部数字、未达成的原因以及重新测量的命令见 \
             [docs/performance.md](docs/performance.md)。\n\n| | Roster | 对照 |\n|---|---|---|\n"
        ),
    };
    for (workload, figure, peer, english, chinese) in HEADLINES {
        let Some(workload) = workloads.iter().find(|known| known.name().starts_with(workload)) else { continue };
        let median = |system| record.samples.spread(workload, system, figure).map(|spread| spread.median);
        let Some(measured) = median(System::Roster) else { continue };
        let beside = median(peer).map_or_else(|| "–".to_owned(), |value| shown(figure, value));
        let name = peer.name().split(',').next().unwrap_or_default();
        let what = if language == Language::English { english } else { chinese };
        let _ = writeln!(text, "| {what} | {} | {name}: {beside} |", shown(figure, measured));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::conditions::Conditions;
    use crate::bench::peers::samples::Measured;
    use crate::bench::peers::workloads::Sizes;

    #[test]
    fn both_readmes_say_the_same_figures_with_their_conditions() {
        let workloads = Workload::chosen(&Sizes::full(), &[]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let versions = vec![
            ("etcd".to_owned(), "etcd Version: 3.5.1".to_owned()),
            ("Redis".to_owned(), "Redis server v=7.0.15 sha=0:0".to_owned()),
        ];
        let conditions = Conditions::look(folder.path()).unwrap();
        let mut record = Record::new("one".to_owned(), 3, conditions, versions);
        let register = workloads.iter().find(|workload| workload.id == "W1").unwrap();
        for (system, rate) in [(System::Roster, 300_000.0), (System::Etcd, 10_000.0)] {
            let said = serde_json::json!({ "figures": { "per_second": rate } });
            record.add(register, system, Measured::read(&said).unwrap(), 1.0);
        }
        for language in [Language::English, Language::Chinese] {
            let text = paragraph(&record, &workloads, language).unwrap();
            assert!(text.contains("| 300,000 | etcd: 10,000 |"), "{text}");
            assert!(text.contains("etcd 3.5.1") && text.contains("Redis 7.0.15"), "{text}");
        }
    }
}
