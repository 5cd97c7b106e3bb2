//! One log line for what happens again and again.
//!
//! Promises: the same subject is let through once in a while, not more; memory is bounded. Must not know: what the lines say.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const AGAIN_AFTER: Duration = Duration::from_secs(60);
const SUBJECTS_MAX: usize = 1000;

#[derive(Default)]
pub struct Quiet {
    last: Mutex<HashMap<String, Instant>>,
}

impl Quiet {
    /// May a line about `subject` be written now?
    pub fn lets(&self, subject: &str) -> bool {
        self.lets_at(subject, Instant::now())
    }

    fn lets_at(&self, subject: &str, now: Instant) -> bool {
        let mut last = self.last.lock();
        if last.get(subject).is_some_and(|at| now.duration_since(*at) < AGAIN_AFTER) {
            return false;
        }
        if last.len() >= SUBJECTS_MAX {
            last.retain(|_, at| now.duration_since(*at) < AGAIN_AFTER);
            if last.len() >= SUBJECTS_MAX {
                return false;
            }
        }
        last.insert(subject.to_owned(), now);
        true
    }

    /// It is over: the next time is news again.
    pub fn forget(&self, subject: &str) {
        self.last.lock().remove(subject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_minute_and_again_after_it_was_over() {
        let (quiet, now) = (Quiet::default(), Instant::now());
        assert!(quiet.lets_at("a", now));
        assert!(!quiet.lets_at("a", now + Duration::from_secs(1)));
        assert!(quiet.lets_at("b", now));
        assert!(quiet.lets_at("a", now + AGAIN_AFTER));
        quiet.forget("a");
        assert!(quiet.lets_at("a", now + AGAIN_AFTER));
    }

    #[test]
    fn memory_is_bounded() {
        let (quiet, now) = (Quiet::default(), Instant::now());
        for n in 0..2 * SUBJECTS_MAX {
            quiet.lets_at(&n.to_string(), now);
        }
        assert!(quiet.last.lock().len() <= SUBJECTS_MAX);
    }
}
