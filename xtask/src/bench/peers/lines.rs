//! Cost against size as SVG: lines over a logarithmic axis, readable on light and dark ground.

use std::fmt::Write as _;

use super::chart::escaped;
use super::growth::{self, Operation};
use super::page::digits;
use super::samples::{Samples, Spread};
use super::workloads::Workload;

/// Of a panel; a picture has one or two.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 52.0;
/// From the axis to the first and the last size.
const INSET: f64 = 14.0;
/// On the axis of the values.
const TICKS: u32 = 4;

struct Panel {
    class: &'static str,
    what: &'static str,
    points: Vec<(u64, Spread)>,
}

/// A picture of each operation, with its file name: what it cost, and beside that what it took.
pub(super) fn draw(workload: &Workload, samples: &Samples) -> Vec<(String, String)> {
    let mut pictures = Vec::new();
    for operation in &growth::OPERATIONS {
        let panel = |class, what, figure| Panel {
            class,
            what,
            points: growth::points(samples, workload, operation.name, figure),
        };
        let panels = [
            panel("cpu", "processor time of the node, µs each", growth::CPU),
            panel("elapsed", "what passed, with others under way, µs each", growth::ELAPSED),
        ];
        // Some wait on purpose, and have no second.
        let panels: Vec<Panel> = panels.into_iter().filter(|panel| panel.points.len() > 1).collect();
        if !panels.is_empty() {
            pictures.push((format!("w8-growth-{}.svg", operation.name.replace('_', "-")), svg(operation, &panels)));
        }
    }
    pictures
}

fn svg(operation: &Operation, panels: &[Panel]) -> String {
    let mut text = head(operation, WIDTH * panels.len() as f64);
    for (index, panel) in panels.iter().enumerate() {
        let _ = writeln!(text, r#"<g transform="translate({} 0)">"#, WIDTH * index as f64);
        draw_panel(&mut text, panel, operation);
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

fn draw_panel(text: &mut String, panel: &Panel, operation: &Operation) {
    let Panel { class, what, points } = panel;
    let sizes = || points.iter().map(|(size, _)| *size);
    let smallest = sizes().min().unwrap_or(1).max(1) as f64;
    let largest = sizes().max().unwrap_or(1) as f64;
    let decades = (largest / smallest).log10().max(f64::MIN_POSITIVE);
    let most = points.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let top = round_up(most);
    let x =
        |size: u64| LEFT + INSET + (size as f64 / smallest).log10() / decades * (WIDTH - LEFT - RIGHT - 2.0 * INSET);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    for tick in 0..=TICKS {
        let value = top * f64::from(tick) / f64::from(TICKS);
        let (line, baseline, before) = (y(value), y(value) + 4.0, LEFT - 7.0);
        let number = digits(value);
        let _ = writeln!(text, r#"<path class="grid" d="M{LEFT} {line:.1} H{:.1}"/>"#, WIDTH - RIGHT);
        let _ =
            writeln!(text, r#"<text class="tick" x="{before}" y="{baseline:.1}" text-anchor="end">{number}</text>"#);
    }
    let way: Vec<String> =
        points.iter().map(|(size, spread)| format!("{:.1} {:.1}", x(*size), y(spread.median))).collect();
    let _ = writeln!(text, r#"<path class="line {class}" d="M{}"/>"#, way.join(" L"));
    let below = HEIGHT - BOTTOM + 18.0;
    for (size, spread) in points {
        let (x, least, most, middle) = (x(*size), y(spread.least), y(spread.most), y(spread.median));
        let size = short(*size);
        let _ = writeln!(text, r#"<path class="range {class}" d="M{x:.1} {least:.1} V{most:.1}"/>"#);
        let _ = writeln!(text, r#"<circle class="dot {class}" cx="{x:.1}" cy="{middle:.1}" r="3.5"/>"#);
        let _ = writeln!(text, r#"<text class="tick" x="{x:.1}" y="{below}" text-anchor="middle">{size}</text>"#);
    }
    let (middle, last, size) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 12.0, escaped(operation.size));
    let _ = writeln!(text, r#"<text class="what" x="12" y="46">{what}</text>"#);
    let _ = writeln!(
        text,
        r#"<text class="what" x="{middle}" y="{last}" text-anchor="middle">{size} (logarithmic)</text>"#
    );
}

fn head(operation: &Operation, width: f64) -> String {
    let title = escaped(operation.what);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img">
<title>W8: {title}, in microseconds against size</title>
<style>
  text {{ font: 13px system-ui, sans-serif; fill: #1f2328; }}
  .title {{ font-weight: 600; font-size: 14px; }}
  .tick {{ font-size: 12px; }}
  .what {{ font-size: 12px; opacity: 0.8; }}
  .ground {{ fill: #ffffff; }}
  .grid {{ stroke: #d1d9e0; stroke-width: 1; }}
  .line {{ fill: none; stroke-width: 2; }}
  .range {{ fill: none; stroke-width: 1.5; opacity: 0.6; }}
  .cpu {{ stroke: #0969da; }}
  .elapsed {{ stroke: #9a6700; }}
  .dot.cpu {{ fill: #0969da; }}
  .dot.elapsed {{ fill: #9a6700; }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e6edf3; }}
    .ground {{ fill: #0d1117; }}
    .grid {{ stroke: #30363d; }}
    .cpu {{ stroke: #58a6ff; }}
    .elapsed {{ stroke: #d29922; }}
    .dot.cpu {{ fill: #58a6ff; }}
    .dot.elapsed {{ fill: #d29922; }}
  }}
</style>
<rect class="ground" width="100%" height="100%" rx="6"/>
<text class="title" x="12" y="26">W8: {title}</text>
"#
    )
}

/// To one, two, four or eight times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

fn short(size: u64) -> String {
    match size {
        millions if millions >= 1_000_000 && millions.is_multiple_of(1_000_000) => {
            format!("{} M", millions / 1_000_000)
        }
        thousands if thousands >= 1_000 && thousands.is_multiple_of(1_000) => format!("{} k", thousands / 1_000),
        few => few.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decade_is_as_wide_as_the_next_and_zero_is_at_the_bottom() {
        let spread = |median| Spread { median, least: median, most: median };
        let points = vec![(1_000, spread(1.0)), (10_000, spread(2.0)), (100_000, spread(4.0))];
        let picture = svg(&growth::OPERATIONS[0], &[Panel { class: "cpu", what: "cost", points }]);
        let of = |attribute: &str| -> Vec<f64> {
            let parts = picture.split(attribute).skip(1);
            parts.filter_map(|part| part.split('"').next()?.parse().ok()).collect()
        };
        let (across, down) = (of(r#"" cx=""#), of(r#"" cy=""#));
        assert!((across[1] - across[0] - (across[2] - across[1])).abs() < 0.2, "{across:?}");
        let bottom = HEIGHT - BOTTOM;
        assert!(((bottom - down[2]) / (bottom - down[0]) - 4.0).abs() < 0.05, "{down:?}");
        assert!(picture.contains(">10 k<") && picture.contains(">100 k<"));
    }

    #[test]
    fn an_axis_ends_at_a_round_number() {
        assert_eq!([0.9, 1.3, 3.0, 5.1, 8.5, 130.0].map(round_up), [1.0, 2.0, 4.0, 8.0, 10.0, 200.0]);
    }

    #[test]
    fn large_sizes_are_short() {
        assert_eq!([500, 5_000, 10_000_000].map(short), ["500", "5 k", "10 M"]);
    }
}
