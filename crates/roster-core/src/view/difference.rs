//! What is different for a reader between what it knew and what it knows.

use crate::directory::{Instance, Liveness};
use crate::words::ServiceName;

use super::{Change, ServiceView, Services};

/// From one state to another, by service name: in each service what appears or changes, then the main,
/// then what is gone, each by ascending id.
pub(super) fn between(before: &Services, after: &Services, changes: &mut Vec<Change>) {
    let nothing = ServiceView::default();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let (name, was, is) = match (old.peek(), new.peek()) {
            (Some(&(o, was)), Some(&(n, is))) if o == n => {
                old.next();
                new.next();
                (o, was, is)
            }
            (Some(&(o, was)), Some(&(n, _))) if o < n => {
                old.next();
                (o, was, &nothing)
            }
            (Some(&(o, was)), None) => {
                old.next();
                (o, was, &nothing)
            }
            (_, Some(&(n, is))) => {
                new.next();
                (n, &nothing, is)
            }
            (None, None) => return,
        };
        of_service(name, was, is, changes);
    }
}

fn of_service(name: &ServiceName, was: &ServiceView, is: &ServiceView, changes: &mut Vec<Change>) {
    for instance in is.instances() {
        of_instance(was.instance(instance.id), instance, changes);
    }
    if was.main_id() != is.main_id() {
        changes.push(Change::MainChanged { service: name.clone(), main: is.main_id() });
    }
    for instance in was.instances() {
        if is.instance(instance.id).is_none() {
            changes.push(Change::Removed { instance: instance.clone(), cause: None });
        }
    }
}

/// Whether its session is confirmed after a restart of the node is nothing to act on, and neither is
/// the reason of a suspicion: both are known, and reported by nothing.
pub(super) fn of_instance(was: Option<&Instance>, is: &Instance, changes: &mut Vec<Change>) {
    let Some(was) = was else {
        changes.push(Change::Up(is.clone()));
        return;
    };
    if is_suspect(was) && !is_suspect(is) {
        changes.push(Change::Up(is.clone()));
    }
    if was.registration != is.registration || was.token != is.token || (was.draining && !is.draining) {
        changes.push(Change::Changed(is.clone()));
    }
    if !was.draining && is.draining {
        changes.push(Change::Draining(is.clone()));
    }
    if !is_suspect(was) && is_suspect(is) {
        changes.push(Change::Suspect(is.clone()));
    }
}

fn is_suspect(instance: &Instance) -> bool {
    match instance.liveness {
        Liveness::Up | Liveness::Unconfirmed => false,
        Liveness::Suspect(_) => true,
    }
}
