//! Bars as SVG, readable on light and dark ground: the picture asks the reader's screen which it is.

use std::fmt::Write as _;

use super::page::{label, shown};
use super::samples::{Samples, Spread};
use super::workloads::{System, Workload};

const WIDTH: f64 = 760.0;
const LEFT: f64 = 250.0;
/// For the value behind a bar.
const RIGHT: f64 = 170.0;
const BAR: f64 = 22.0;
const STEP: f64 = 32.0;
const TOP: f64 = 62.0;

/// The figures of a workload that are worth a picture; each is the beginning of a name.
const FIGURES: [&str; 8] = [
    "per_second",
    "cpu_us_each",
    "delivered_p99_ms",
    "killed_to_known_p50_ms",
    "start_to_full_answer_ms",
    "bytes_per_instance_at_",
    "bytes_per_watch_at_",
    "bytes_per_connection",
];

#[derive(Debug)]
struct Bar {
    /// What tells it from other bars of the same system.
    variant: String,
    system: System,
    spread: Spread,
    text: String,
}

/// The pictures of a workload, with their file names.
pub(super) fn draw(workload: &Workload, samples: &Samples) -> Vec<(String, String)> {
    let names = samples.names(workload);
    let mut pictures = Vec::new();
    for figure in FIGURES {
        let mut bars = Vec::new();
        for name in names.iter().filter(|name| name.starts_with(figure)) {
            let variant = name.trim_start_matches(figure).replace('_', " ");
            for &system in &workload.systems {
                let Some(spread) = samples.spread(workload, system, name) else { continue };
                let text = shown(name, spread.median);
                bars.push(Bar { variant: variant.clone(), system, spread, text });
            }
        }
        // One bar alone compares nothing.
        if bars.len() > 1 {
            let stem = format!("{} {} {figure}", workload.id, workload.short());
            let title = format!("{}: {}", workload.id, workload.title);
            let what = label(figure.trim_end_matches('_'));
            pictures.push((format!("{}.svg", file_stem(&stem)), svg(&title, &what, &bars)));
        }
    }
    pictures
}

fn file_stem(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

fn svg(title: &str, what: &str, bars: &[Bar]) -> String {
    let height = TOP + STEP * bars.len() as f64 + 12.0;
    let most = bars.iter().map(|bar| bar.spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let scale = |value: f64| (value / most).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    let mut text = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">
<title>{title}</title>
<style>
  text {{ font: 13px system-ui, sans-serif; fill: #1f2328; }}
  .title {{ font-weight: 600; font-size: 14px; }}
  .what {{ opacity: 0.75; }}
  .ground {{ fill: #ffffff; }}
  .roster {{ fill: #0969da; }}
  .peer {{ fill: #8c959f; }}
  .range {{ stroke: #1f2328; stroke-width: 1.5; }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3; }}
    .ground {{ fill: #0d1117; }}
    .roster {{ fill: #58a6ff; }}
    .peer {{ fill: #6e7681; }}
    .range {{ stroke: #e6edf3; }}
  }}
</style>
<rect class="ground" width="100%" height="100%" rx="6"/>
<text class="title" x="12" y="26">{title}</text>
<text class="what" x="12" y="46">{what}</text>
"#,
        title = escaped(title),
        what = escaped(what)
    );
    let one_system = bars.windows(2).all(|pair| pair[0].system == pair[1].system);
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + STEP * row as f64;
        let class = if bar.system == System::Roster { "roster" } else { "peer" };
        let name = match bar.variant.as_str() {
            "" => bar.system.name().to_owned(),
            variant if one_system => variant.to_owned(),
            variant => format!("{}: {variant}", bar.system.name()),
        };
        let (length, least, end) = (scale(bar.spread.median).max(1.0), scale(bar.spread.least), scale(bar.spread.most));
        let middle = y + BAR / 2.0;
        let baseline = middle + 4.5;
        let _ =
            writeln!(text, r#"<text x="{}" y="{baseline}" text-anchor="end">{}</text>"#, LEFT - 10.0, escaped(&name));
        let _ =
            writeln!(text, r#"<rect class="{class}" x="{LEFT}" y="{y}" width="{length:.1}" height="{BAR}" rx="3"/>"#);
        let (from, to) = (LEFT + least, LEFT + end);
        let _ = writeln!(text, r#"<path class="range" d="M{from:.1} {middle} H{to:.1}"/>"#);
        let behind = LEFT + end.max(length) + 8.0;
        let _ = writeln!(text, r#"<text x="{behind:.1}" y="{baseline}">{}</text>"#, escaped(&bar.text));
    }
    text.push_str("</svg>\n");
    text
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(system: System, value: f64) -> Bar {
        let spread = Spread { median: value, least: value * 0.9, most: value * 1.1 };
        Bar { variant: String::new(), system, spread, text: value.to_string() }
    }

    #[test]
    fn bars_are_in_proportion_and_stay_inside() {
        let picture = svg("a < b", "a second", &[bar(System::Roster, 100.0), bar(System::Etcd, 50.0)]);
        let widths: Vec<f64> = picture
            .split(r#" y=""#)
            .skip(1)
            .filter_map(|part| part.split_once(r#"" width=""#)?.1.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2, "{picture}");
        assert!((widths[0] / widths[1] - 2.0).abs() < 0.01 && LEFT + widths[0] < WIDTH - RIGHT, "{widths:?}");
        assert!(picture.contains("a &lt; b"));
    }

    #[test]
    fn a_file_name_has_no_blanks() {
        assert_eq!(file_stem("W2 push to 1000 watches per_second"), "w2-push-to-1000-watches-per-second");
    }
}
