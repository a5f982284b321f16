//! What is going to happen, in the order of time; what was put in first comes first where times are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug)]
struct Entry<T> {
    key: Reverse<(u64, u64)>,
    happening: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    pub(crate) fn put(&mut self, at: u64, happening: T) {
        self.sequence += 1;
        self.heap.push(Entry { key: Reverse((at, self.sequence)), happening });
    }

    pub(crate) fn take(&mut self) -> Option<(u64, T)> {
        self.heap.pop().map(|entry| (entry.key.0.0, entry.happening))
    }
}
