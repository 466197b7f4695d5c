//! Channels: a place that is freed is promised to the sender that has waited longest.

use super::{Model, Outcome};

impl Model<'_> {
    pub(super) fn try_send(&mut self, channel: usize, value: u32) -> Outcome {
        let state = &mut self.channels[channel];
        if state.closed || state.values.len() + state.promised.len() >= state.capacity {
            return Outcome::Refused;
        }
        state.values.push_back(value);
        for task in std::mem::take(&mut state.receivers) {
            self.wake(task);
        }
        Outcome::Done
    }

    pub(super) fn send(&mut self, task: usize, channel: usize) -> Option<Outcome> {
        let value = self.value(task);
        let state = &mut self.channels[channel];
        if state.closed {
            return Some(Outcome::Refused);
        }
        if state.senders.contains(&task) {
            return None;
        }
        state.promised.retain(|promised| *promised != task);
        if self.try_send(channel, value) == Outcome::Done {
            return Some(Outcome::Done);
        }
        self.channels[channel].senders.push_back(task);
        None
    }

    pub(super) fn receive(&mut self, task: usize, channel: usize) -> Option<Outcome> {
        let state = &mut self.channels[channel];
        if let Some(value) = state.values.pop_front() {
            state.receivers.retain(|waiting| *waiting != task);
            self.promise(channel);
            return Some(Outcome::Value(value));
        }
        if state.closed {
            return Some(Outcome::Nothing);
        }
        if !state.receivers.contains(&task) {
            state.receivers.push_back(task);
        }
        None
    }

    fn promise(&mut self, channel: usize) {
        let state = &mut self.channels[channel];
        if let Some(first) = state.senders.pop_front() {
            state.promised.push(first);
            self.wake(first);
        }
    }

    pub(super) fn give_up(&mut self, task: usize, channel: usize) {
        let state = &mut self.channels[channel];
        if state.senders.contains(&task) {
            state.senders.retain(|waiting| *waiting != task);
        } else if state.promised.contains(&task) {
            state.promised.retain(|promised| *promised != task);
            self.promise(channel);
        }
    }

    pub(super) fn close(&mut self, channel: usize) {
        let state = &mut self.channels[channel];
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        let mut waiting = std::mem::take(&mut state.senders);
        waiting.append(&mut state.receivers);
        state.promised.clear();
        for task in waiting {
            self.wake(task);
        }
    }
}
