//! The services by their numbers.
//!
//! A number is a seat that is given anew when its service is gone, so that finding a service is one
//! step however many there are. Each command does it several times (docs/performance.md).

use std::ops::Index;

use crate::words::ServiceName;

use super::service::{Service, ServiceNumber};

#[derive(Debug, Clone, Default)]
pub(super) struct Services {
    seats: Vec<Option<Box<Service>>>,
    /// Seats without a service.
    vacant: Vec<ServiceNumber>,
}

impl Services {
    pub(super) fn add(&mut self, name: ServiceName) -> ServiceNumber {
        let service = Some(Box::new(Service::new(name)));
        match self.vacant.pop() {
            Some(number) => {
                self.seats[number.seat()] = service;
                number
            }
            None => {
                let number = ServiceNumber::of_seat(self.seats.len());
                self.seats.push(service);
                number
            }
        }
    }

    pub(super) fn remove(&mut self, number: ServiceNumber) -> Option<Box<Service>> {
        let service = self.seats.get_mut(number.seat())?.take()?;
        self.vacant.push(number);
        if self.vacant.len() == self.seats.len() {
            *self = Self::default();
        }
        Some(service)
    }

    pub(super) fn len(&self) -> usize {
        self.seats.len() - self.vacant.len()
    }

    pub(super) fn get(&self, number: ServiceNumber) -> Option<&Service> {
        self.seats.get(number.seat())?.as_deref()
    }

    pub(super) fn get_mut(&mut self, number: ServiceNumber) -> Option<&mut Service> {
        self.seats.get_mut(number.seat())?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ServiceNumber, &Service)> {
        let seats = self.seats.iter().enumerate();
        seats.filter_map(|(seat, service)| Some((ServiceNumber::of_seat(seat), service.as_deref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Service> {
        self.seats.iter_mut().filter_map(Option::as_deref_mut)
    }
}

impl Index<ServiceNumber> for Services {
    type Output = Service;

    fn index(&self, number: ServiceNumber) -> &Service {
        self.get(number).expect("D2: a record's service exists")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_given_anew_and_the_last_one_gone_leaves_nothing() {
        let mut services = Services::default();
        let name = |text: &str| ServiceName::parse(text).unwrap();
        let (a, b) = (services.add(name("a")), services.add(name("b")));
        assert_eq!(services.remove(a).map(|service| service.name.clone()), Some(name("a")));
        assert!(services.get(a).is_none() && services.remove(a).is_none());
        let c = services.add(name("c"));
        assert_eq!((c, services.len(), services[c].name.as_str()), (a, 2, "c"));
        services.remove(b);
        services.remove(c);
        assert_eq!((services.len(), services.seats.capacity()), (0, 0));
    }
}
