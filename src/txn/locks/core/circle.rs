//! Circles: those who wait for each other for ever.
//!
//! Promises: where somebody begins to wait and so closes a circle, its youngest is wounded at once. Must not know: other nodes (a
//! circle over several is broken by [`Core::press`]).

use super::{Core, Key, PartyId, Side, Standing};

/// Parties looked at for a circle, at most.
const CIRCLE_MAX: usize = 256;

impl<K: Key> Core<K> {
    /// Those whom it waits for: holders, and older ones in the queue.
    fn awaited(&self, id: PartyId) -> Vec<PartyId> {
        let Some(party) = self.parties.get(&id) else { return Vec::new() };
        let mut out = Vec::new();
        for key in &party.waits {
            let Some(modes) = self.queued(id, key) else { continue };
            out.extend(self.in_the_way(id, key, modes));
            let Some(lock) = self.locks.get(key) else { continue };
            let ahead = lock.queue.iter().take_while(|(_, w, _)| *w != id);
            out.extend(
                ahead
                    .filter(|(_, w, m)| m.conflicts(modes) && !self.are_friends(id, *w))
                    .map(|(_, w, _)| *w),
            );
        }
        out
    }
    /// Whoever begins to wait may close a circle: its youngest is wounded.
    pub(super) fn break_circles(&mut self, id: PartyId) {
        while let Some(circle) = self.circle(id) {
            let open = circle.iter().filter_map(|p| Some((*p, self.parties.get(p)?)));
            let open = open.filter(|(_, p)| p.standing == Standing::Open && p.side != Side::Away);
            let Some((victim, _)) = open.max_by_key(|(_, p)| p.age) else {
                return;
            };
            let by = circle.iter().copied().find(|p| *p != victim).unwrap_or(id);
            let waits = self.parties.get(&by).and_then(|p| p.waits.first().cloned());
            let Some(key) = waits else { return };
            self.wound(victim, by, &key);
        }
    }
    /// A way from the party back to itself, over whoever waits for whom.
    fn circle(&self, id: PartyId) -> Option<Vec<PartyId>> {
        let party = self.parties.get(&id)?;
        // Nobody waits for what it holds, nor behind it: the usual case.
        let held = |key: &K| self.locks.get(key).is_some_and(|lock| !lock.queue.is_empty());
        let ahead = |key: &K| {
            self.locks
                .get(key)
                .and_then(|lock| lock.queue.last())
                .is_some_and(|(_, last, _)| *last != id)
        };
        if party.waits.is_empty() || !(party.held.iter().any(held) || party.waits.iter().any(ahead)) {
            return None;
        }
        let mut path = vec![(id, self.awaited(id))];
        let mut seen = vec![id];
        while let Some((_, next)) = path.last_mut() {
            let Some(other) = next.pop() else {
                path.pop();
                continue;
            };
            if other == id {
                return Some(path.iter().map(|(p, _)| *p).collect());
            }
            if !seen.contains(&other) && seen.len() < CIRCLE_MAX {
                seen.push(other);
                path.push((other, self.awaited(other)));
            }
        }
        None
    }
}
