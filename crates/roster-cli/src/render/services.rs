//! Services with their counts.

use roster_client::ServiceSummary;
use roster_core::InstanceId;
use serde::Serialize;

use super::answers::cutover_word;
use super::grid::{Grid, Side};
use super::paint::{Paint, Tone};
use super::screen::Shown;

/// The services of a node.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Services(Vec<OneService>);

#[derive(Debug, Serialize)]
struct OneService {
    service: String,
    up: u32,
    unconfirmed: u32,
    suspect: u32,
    draining: u32,
    pending: u32,
    floor: u64,
    cutover: String,
    cutover_by_operator: bool,
    main_instance: Option<u64>,
}

impl Services {
    pub(crate) fn new(services: &[ServiceSummary]) -> Self {
        let services = services.iter().map(|service| OneService {
            service: service.service.as_str().to_owned(),
            up: service.up,
            unconfirmed: service.unconfirmed,
            suspect: service.suspect,
            draining: service.draining,
            pending: service.pending,
            floor: service.floor,
            cutover: cutover_word(service.cutover),
            cutover_by_operator: service.cutover_by_operator,
            main_instance: service.main.map(InstanceId::get),
        });
        Self(services.collect())
    }
}

impl OneService {
    fn main_text(&self) -> String {
        self.main_instance.map(|id| id.to_string()).unwrap_or_default()
    }
}

impl Shown for Services {
    fn table(&self, paint: Paint) -> String {
        if self.0.is_empty() {
            return "no services\n".to_owned();
        }
        let columns = [
            ("service", Side::Left),
            ("up", Side::Right),
            ("unconfirmed", Side::Right),
            ("suspect", Side::Right),
            ("draining", Side::Right),
            ("pending", Side::Right),
            ("floor", Side::Right),
            ("cutover", Side::Left),
            ("main", Side::Right),
        ];
        let mut grid = Grid::new(paint, &columns);
        for service in &self.0 {
            let count = |count: u32, tone: Tone| (count.to_string(), if count == 0 { Tone::Faint } else { tone });
            let cutover = match service.cutover_by_operator {
                true => format!("{} (operator)", service.cutover),
                false => service.cutover.clone(),
            };
            grid.row([
                (service.service.clone(), Tone::Ordinary),
                count(service.up, Tone::Good),
                count(service.unconfirmed, Tone::Careful),
                count(service.suspect, Tone::Bad),
                count(service.draining, Tone::Careful),
                count(service.pending, Tone::Ordinary),
                (service.floor.to_string(), Tone::Ordinary),
                (cutover, Tone::Ordinary),
                (service.main_text(), Tone::Ordinary),
            ]);
        }
        grid.lines()
    }

    fn text(&self) -> String {
        let line = |service: &OneService| {
            let counts = [service.up, service.unconfirmed, service.suspect, service.draining, service.pending];
            let counts = counts.map(|count| count.to_string()).join("\t");
            let OneService { service: name, floor, cutover, .. } = service;
            format!("{name}\t{counts}\t{floor}\t{cutover}\t{}\n", service.main_text())
        };
        self.0.iter().map(line).collect()
    }
}
