//! Blocks against a slow reference that keeps every number, the series against counting, compact numbers against all before them.

use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

/// Every number that was granted and may still come, one by one, in blocks.
#[derive(Default)]
struct Slow {
    blocks: VecDeque<Vec<i64>>,
}

fn fits(series: (i64, i64), number: i64) -> bool {
    (number - series.1).rem_euclid(series.0) == 0
}

impl Slow {
    fn clean(&mut self) {
        self.blocks.retain(|b| !b.is_empty());
    }
    fn take(&mut self, series: (i64, i64)) -> Option<i64> {
        while let Some(block) = self.blocks.front_mut() {
            while !block.is_empty() {
                let number = block.remove(0);
                if fits(series, number) {
                    self.clean();
                    return Some(number);
                }
            }
            self.blocks.pop_front();
        }
        None
    }
    fn reserve(&mut self, count: usize, series: (i64, i64)) -> bool {
        let enough = |block: Option<&Vec<i64>>| block.is_some_and(|b| b.iter().filter(|n| fits(series, **n)).count() >= count);
        if !enough(self.blocks.front()) && enough(self.blocks.get(1)) {
            self.blocks.pop_front();
        }
        enough(self.blocks.front())
    }
    fn grant(&mut self, block: Vec<i64>) {
        if self.blocks.len() == 2 {
            self.blocks.pop_front();
        }
        match self.blocks.back_mut() {
            Some(last) if last[last.len() - 1] + 1 == block[0] => last.extend(block),
            _ => self.blocks.push_back(block),
        }
    }
    fn push(&mut self, number: i64) {
        self.blocks.iter_mut().for_each(|b| b.retain(|n| *n > number));
        self.clean();
    }
    fn left(&self) -> i64 {
        self.blocks.iter().map(|b| b.len() as i64).sum()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(u16, u16),
    Reserve(i64, u16, u16),
    /// How far behind the last block, and how long.
    Grant(i64, i64),
    Push(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u16..4, 0_u16..5).prop_map(|(i, o)| Step::Take(i, o)),
        2 => (1_i64..12, 1_u16..4, 0_u16..5).prop_map(|(n, i, o)| Step::Reserve(n, i, o)),
        2 => (0_i64..3, 1_i64..20).prop_map(|(gap, len)| Step::Grant(gap, len)),
        1 => (-3_i64..12).prop_map(Step::Push),
    ]
}

proptest! {
    #[test]
    fn a_supply_gives_what_the_slow_one_gives(steps in prop::collection::vec(step(), 0..120)) {
        let (mut supply, mut slow) = (Supply::default(), Slow::default());
        let mut end = 0;
        let mut given = 0;
        for step in steps {
            match step {
                Step::Take(i, o) => {
                    let number = supply.take(Series::new(i, o));
                    prop_assert_eq!(number, slow.take((i64::from(i), i64::from(o))));
                    if let Some(number) = number {
                        prop_assert!(number > given);
                        given = number;
                    }
                }
                Step::Reserve(count, i, o) => {
                    let there = slow.reserve(count as usize, (i64::from(i), i64::from(o)));
                    prop_assert_eq!(supply.reserve(count, Series::new(i, o)), there);
                    for at in 0..if there { count } else { 0 } {
                        let number = supply.take(Series::new(i, o));
                        prop_assert_eq!(number, slow.take((i64::from(i), i64::from(o))));
                        prop_assert!(at == 0 || number == Some(given + i64::from(i)));
                        given = number.unwrap_or(given);
                    }
                }
                Step::Grant(gap, len) => {
                    let block = Block { first: end + 1 + gap, last: end + gap + len };
                    end = block.last;
                    supply.grant(block);
                    slow.grant((block.first..=block.last).collect());
                }
                Step::Push(by) => {
                    supply.push(given + by);
                    slow.push(given + by);
                }
            }
            prop_assert_eq!(supply.left(), slow.left());
        }
    }

    #[test]
    fn a_series_is_what_counting_finds(from in -5_i64..200, increment in 1_u16..30, offset in 0_u16..60) {
        let found = (from.max(1)..).find(|n| fits((i64::from(increment), i64::from(offset)), *n));
        prop_assert_eq!(Series::new(increment, offset).from(from), found);
    }

    #[test]
    fn blocks_follow_demand_within_their_bounds(pauses in prop::collection::vec((0_u64..20_000, 0_i64..2_000, 0_i64..1 << 40), 1..60)) {
        let (mut demand, mut now) = (Demand::default(), 0);
        for (pause, needed, left) in pauses {
            now += pause;
            let size = block_size(demand.next(now), needed, left);
            prop_assert!(size <= left && size >= needed.min(left));
            prop_assert!(size <= BLOCK_MOST.max(needed));
            prop_assert!(size <= needed.max((left / SHARE).max(1)));
        }
    }

    #[test]
    fn compact_numbers_rise_and_differ(times in prop::collection::vec(0_u64..12, 1..300), again in 0_usize..300) {
        let (mut nodes, mut all) = ([Compact::default(); 2], BTreeSet::new());
        let mut now = 1_800_000_000_000;
        let mut last = [0_i64; 2];
        for (at, by) in times.into_iter().enumerate() {
            now += by / 4;
            if at == again {
                // A restart: only what stands in the table is known.
                nodes = [Compact::default(); 2];
            }
            let floor = last[0].max(last[1]);
            let number = nodes[at % 2].next(now, at as u64 % 2, floor).unwrap();
            prop_assert!(number > last[at % 2] && number < 1 << 53);
            prop_assert!(all.insert(number));
            last[at % 2] = number;
        }
    }
}

#[test]
fn a_hot_table_draws_once_for_thousands_of_numbers_and_an_idle_one_burns_few() {
    let mut demand = Demand::default();
    let sizes: Vec<i64> = (0..20).map(|i| demand.next(i * 100)).collect();
    assert_eq!((sizes[0], sizes[1], sizes[19]), (4, 8, BLOCK_MOST));
    let idle: Vec<i64> = (1..20).map(|i| demand.next(100_000 * i)).collect();
    assert_eq!(idle[18], 4);
    assert_eq!(block_size(Demand::default().next(0), 1, 127), 1, "a narrow type is not given away");
}

#[test]
fn compact_numbers_tell_their_time_and_node_and_end() {
    let mut compact = Compact::default();
    let day = 86_400_000;
    let number = compact.next(COMPACT_EPOCH_MS + day, 5, 0).unwrap();
    assert_eq!((number >> 14) * 4, day as i64);
    assert_eq!((number >> 5) & 511, 5);
    assert_eq!(Compact::default().next(COMPACT_EPOCH_MS + (4 << 39), 5, 0), None);
    assert_eq!((Compact::node(1), Compact::node(2), Compact::node(3)), (Some(0), Some(0), Some(1)));
    assert_eq!((Compact::node(1024), Compact::node(1025)), (Some(511), None));
}

#[test]
fn what_is_taken_comes_back_from_an_entry() {
    let list = [(7, 1 << 50, 9), (8, 3, i64::MAX), (7, 2, 1)];
    let changes = taken(&list);
    changes.validate().unwrap();
    assert_eq!(taken_in(&changes, 7).collect::<Vec<_>>(), [(1 << 50, 9), (2, 1)]);
    assert_eq!(taken_in(&changes, 8).collect::<Vec<_>>(), [(3, i64::MAX)]);
    assert_eq!(taken_in(&changes, 9).count(), 0);
}
