//! Threads that share the work of one large operation.
#![expect(unsafe_code, reason = "items of one slice are lent to several threads, each to one")]

use std::sync::atomic::{AtomicUsize, Ordering};

use skinner_core::pool::Pool;

/// A fixed number of threads (this one among them) that take items of work from one list. Results never
/// depend on which thread takes what: an item is worked on alone, from beginning to end.
pub struct Team {
    pool: Pool,
    threads: Vec<usize>,
}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

/// The start of a slice whose items are handed out one at a time.
struct Items<T>(*mut T);

// SAFETY: each item is reached by one thread only, see `for_each`.
unsafe impl<T: Send> Sync for Items<T> {}

impl<T> Items<T> {
    /// # Safety
    /// `i` is within the slice, and nobody else asks for it.
    #[expect(clippy::mut_from_ref, reason = "each item is lent once")]
    unsafe fn get(&self, i: usize) -> &mut T {
        unsafe { &mut *self.0.add(i) }
    }
}

impl Team {
    /// A team of `threads` (at least one).
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        Self { pool: Pool::new(threads - 1), threads: (0..threads).collect() }
    }

    /// How many threads.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Calls `f` on every item, each on one of the threads.
    ///
    /// # Panics
    /// If `f` does.
    pub fn for_each<T: Send>(&mut self, items: &mut [T], f: impl Fn(&mut T) + Sync) {
        if self.threads.len() == 1 || items.len() < 2 {
            return items.iter_mut().for_each(f);
        }
        let (next, count) = (AtomicUsize::new(0), items.len());
        let items = Items(items.as_mut_ptr());
        let workers = self.threads.len().min(count);
        self.pool.for_each(&mut self.threads[..workers], |_| {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return;
                }
                // SAFETY: the counter gives every `i` once, and `items` is borrowed until all are done.
                f(unsafe { items.get(i) });
            }
        });
    }

    /// Calls `f` on the chunks of `data` (all of `chunk` elements but the last) with their numbers.
    pub fn for_chunks<T: Send>(
        &mut self,
        data: &mut [T],
        chunk: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let mut items: Vec<_> = data.chunks_mut(chunk.max(1)).enumerate().collect();
        self.for_each(&mut items, |(i, part)| f(*i, part));
    }

    /// Calls `f` on every number below `count`.
    pub fn for_range(&mut self, count: usize, f: impl Fn(usize) + Sync) {
        let mut numbers: Vec<usize> = (0..count).collect();
        self.for_each(&mut numbers, |&mut i| f(i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        for threads in [1, 2, 5] {
            let mut team = Team::new(threads);
            let mut data = vec![0usize; 1003];
            for _ in 0..20 {
                team.for_chunks(&mut data, 10, |i, part| {
                    part.iter_mut().enumerate().for_each(|(j, x)| *x += 10 * i + j);
                });
            }
            assert!(data.iter().enumerate().all(|(i, &x)| x == 20 * i));
        }
    }
}
