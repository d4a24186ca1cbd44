//! What the second book says of each delivery and of each state.

use std::collections::{BTreeMap, VecDeque};

use roster_core::Timestamp;
use roster_core::queue::{Command, ConsumerId, Deliveries, Delivery, MessageId, Place, Queue, QueueName};

use super::{Consumer, Node};

impl Node {
    /// The order over consumers is lost in the batches: find one that keeps to the rule of the next consumer.
    pub(super) fn check_deliveries(&mut self, name: &QueueName, queue: &Queue, deliveries: Deliveries) {
        self.most_shared = self.most_shared.max(deliveries.len());
        let mut batches: BTreeMap<_, VecDeque<Delivery>> =
            deliveries.into_iter().map(|(id, batch)| (id, batch.into())).collect();
        let mut fresh = Vec::new();
        while batches.values().any(|batch| !batch.is_empty()) {
            let free = |consumer: &Consumer| (consumer.window as usize).saturating_sub(consumer.held.len());
            let own = self.consumers.iter().filter(|(_, consumer)| consumer.queue == *name && free(consumer) > 0);
            let order = own.map(|(id, consumer)| (std::cmp::Reverse(free(consumer)), consumer.served, *id));
            let (_, _, next) = order.min().expect("K9: delivered to a full window");
            let batch = batches.get_mut(&next).unwrap_or_else(|| panic!("K10: {next} is next and got nothing"));
            let delivery = batch.pop_front().unwrap_or_else(|| panic!("K10: {next} is next and got too little"));
            let in_flight = self.consumers.values().filter(|one| one.queue == *name).map(|one| one.held.len());
            let in_flight: usize = in_flight.sum();
            assert!(in_flight < queue.settings().in_flight_max as usize, "K9: in flight");
            fresh.extend(self.check_delivery(name, queue, next, &delivery));
        }
        fresh.sort_unstable();
        let newest = self.newest.entry(name.clone()).or_default();
        assert!(fresh.first().is_none_or(|first| first > newest), "first deliveries go back");
        *newest = fresh.last().copied().unwrap_or(*newest);
    }

    /// The id, when it was never delivered by this node.
    fn check_delivery(
        &mut self,
        name: &QueueName,
        queue: &Queue,
        to: ConsumerId,
        sent: &Delivery,
    ) -> Option<MessageId> {
        let id = sent.id;
        let stored = queue.message(id).expect("delivered what is gone");
        assert!(!matches!(stored.place, Place::Dead { .. }), "delivered a dead letter");
        if let Place::Failed { due, .. } = stored.place {
            assert!(due <= self.now, "delivered before it is due");
        }
        assert_eq!((sent.attempt, sent.enqueued), (stored.attempts + 1, stored.enqueued));
        let others = self.consumers.values().filter(|one| one.queue == *name && one.held.contains_key(&id));
        assert_eq!(others.count(), 0, "K8: {id} is with another consumer");
        let is_acknowledged = |command: &Command| matches!(command, Command::Acknowledge { queue, messages } if queue == name && messages.contains(&id));
        let is_exempt = self.exempt.contains(&(name.clone(), id));
        assert!(is_exempt || !self.pending.iter().any(is_acknowledged), "{id} is being acknowledged");
        self.clock += 1;
        self.deliveries += 1;
        let deadline = Timestamp::new(self.now.get() + u64::from(queue.settings().ack_timeout_millis));
        let consumer = self.consumers.get_mut(&to).unwrap();
        consumer.held.insert(id, deadline);
        consumer.given.push(id);
        consumer.served = self.clock;
        (stored.place == Place::Fresh && id > self.newest.get(name).copied().unwrap_or_default()).then_some(id)
    }

    pub(super) fn check(&self) {
        self.queues.check_invariants();
        for (name, dispatcher) in &self.dispatchers {
            dispatcher.check_invariants(self.queues.queue(name).unwrap());
            let held = self.consumers.values().filter(|one| one.queue == *name).map(|one| one.held.len());
            assert_eq!(dispatcher.traffic().in_flight, held.sum::<usize>(), "K8: in flight in {name}");
        }
    }
}
