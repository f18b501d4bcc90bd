//! Threads that are a microsecond away: a step of a thousand small environments takes about twenty, less
//! than waking a sleeping thread. They spin for a short while between steps before they sleep.
//!
//! `unsafe` pays here: workers write into the caller's own buffers. With buffers of their own, copied by
//! the caller, two threads stepped 1,024 environments 1.4 times as fast as one; like this, 1.75 times.
#![expect(unsafe_code, reason = "work is lent to threads that outlive the call; see `for_each`")]

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Worker threads that wait for work.
pub struct Pool {
    workers: Vec<Worker>,
}

struct Worker {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

/// What the caller and one worker share. Each counter is written by one side and read by the other, so
/// they lie on cache lines of their own.
struct Desk {
    /// Jobs handed over so far; the worker starts when it grows.
    asked: OwnLine,
    /// Jobs that either side has taken so far: whoever raises it runs the job.
    claimed: OwnLine,
    /// Jobs finished so far.
    finished: OwnLine,
    stop: AtomicBool,
    panicked: AtomicBool,
    job: UnsafeCell<Job>,
}

/// A counter alone on its cache lines (processors fetch them in pairs of 64 bytes).
#[derive(Default)]
#[repr(align(128))]
struct OwnLine(AtomicUsize);

/// A closure and its argument with their types and lifetimes erased.
#[derive(Clone, Copy)]
struct Job {
    call: unsafe fn(*const (), *mut ()),
    closure: *const (),
    item: *mut (),
}

impl Desk {
    /// Takes the job after the first `before` ones, unless the other side has.
    fn claim(&self, before: usize) -> bool {
        let after = before.wrapping_add(1);
        self.claimed.0.compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Runs the claimed job.
    ///
    /// # Safety
    /// The caller has claimed it, and the thread that handed it over is still waiting in `for_each`.
    unsafe fn run(&self) {
        // SAFETY: whoever claims a job is alone with it, and what it points to outlives `for_each`.
        unsafe {
            let job = *self.job.get();
            (job.call)(job.closure, job.item);
        }
    }
}

// SAFETY: `job` is written by the caller only while no job is pending (`finished == asked`), and read only
// by the side that has claimed it, after `asked` grew, which the caller stores with `Release` after writing.
// What the job points to is `Sync` (the closure) and `Send` (the item), as `for_each` demands.
unsafe impl Sync for Desk {}
// SAFETY: as above; the pointers are only followed by the worker while the caller waits in `for_each`.
unsafe impl Send for Desk {}

const SPINS_BEFORE_SLEEP: u32 = 4_000;

unsafe fn nothing(_: *const (), _: *mut ()) {}

/// # Safety
/// `closure` is an `&F`, `item` an exclusive `&mut T`.
unsafe fn call<T, F: Fn(&mut T)>(closure: *const (), item: *mut ()) {
    // SAFETY: the caller's promise.
    unsafe { (*closure.cast::<F>())(&mut *item.cast::<T>()) }
}

impl Pool {
    /// A pool of `workers` threads beside the caller's own.
    pub fn new(workers: usize) -> Self {
        let start = |_| {
            let desk = Arc::new(Desk {
                asked: OwnLine::default(),
                claimed: OwnLine::default(),
                finished: OwnLine::default(),
                stop: AtomicBool::new(false),
                panicked: AtomicBool::new(false),
                job: UnsafeCell::new(Job {
                    call: nothing,
                    closure: std::ptr::null(),
                    item: std::ptr::null_mut(),
                }),
            });
            let theirs = Arc::clone(&desk);
            Worker { desk, thread: thread::spawn(move || serve(&theirs)) }
        };
        Self { workers: (0..workers).map(start).collect() }
    }

    /// Calls `f` on every item, the first on this thread and each other one on a worker of its own, and
    /// returns when all are done. Items that a worker has not begun when this thread is free (it sleeps,
    /// or its core is busy with something else) are done here.
    ///
    /// # Panics
    /// If there are more items than threads, or `f` panics on any item.
    pub fn for_each<T: Send, F: Fn(&mut T) + Sync>(&mut self, items: &mut [T], f: F) {
        let Some((own, others)) = items.split_first_mut() else { return };
        assert!(others.len() <= self.workers.len(), "one worker an item");
        let working = Working(&self.workers[..others.len()]);
        for (worker, item) in working.0.iter().zip(others) {
            let job = Job {
                call: call::<T, F>,
                closure: (&raw const f).cast(),
                item: std::ptr::from_mut(item).cast(),
            };
            // SAFETY: the worker waits, so nobody else touches its job. The pointers stay valid until it
            // has finished: `working` waits for that before this function returns or unwinds, and `f` and
            // `items` outlive `working`. Each item is lent to one worker only.
            unsafe { *worker.desk.job.get() = job };
            worker.desk.asked.0.fetch_add(1, Ordering::Release);
            worker.thread.thread().unpark();
        }
        f(own);
        for Worker { desk, .. } in working.0 {
            let asked = desk.asked.0.load(Ordering::Relaxed);
            if desk.claim(asked.wrapping_sub(1)) {
                // Finished whether it panics or not: the worker has no part in it.
                desk.finished.0.store(asked, Ordering::Release);
                // SAFETY: claimed just now, and this is the thread that handed it over.
                unsafe { desk.run() };
            }
        }
        drop(working);
        let panicked = |worker: &Worker| worker.desk.panicked.load(Ordering::Relaxed);
        assert!(!self.workers.iter().any(panicked), "a worker thread panicked");
    }
}

/// Workers that may hold borrowed work; dropping this waits until none does.
struct Working<'a>(&'a [Worker]);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        for Worker { desk, .. } in self.0 {
            let mut spins = 0;
            while desk.finished.0.load(Ordering::Acquire) != desk.asked.0.load(Ordering::Relaxed) {
                spins += 1;
                if spins < SPINS_BEFORE_SLEEP {
                    std::hint::spin_loop();
                } else {
                    thread::yield_now();
                }
            }
        }
    }
}

fn serve(desk: &Desk) {
    let (mut done, mut spins) = (0, 0);
    loop {
        if desk.asked.0.load(Ordering::Acquire) != done {
            let before = done;
            done = done.wrapping_add(1);
            spins = 0;
            if desk.claim(before) {
                // SAFETY: claimed just now; the caller waits until `finished` grows.
                if catch_unwind(AssertUnwindSafe(|| unsafe { desk.run() })).is_err() {
                    desk.panicked.store(true, Ordering::Relaxed);
                }
                desk.finished.0.store(done, Ordering::Release);
            }
        } else if desk.stop.load(Ordering::Acquire) {
            return;
        } else if spins < SPINS_BEFORE_SLEEP {
            spins += 1;
            std::hint::spin_loop();
        } else {
            // `unpark` leaves a token, so a job handed over just now is not slept through.
            thread::park();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for Worker { desk, thread } in self.workers.drain(..) {
            desk.stop.store(true, Ordering::Release);
            thread.thread().unpark();
            // A worker catches its jobs' panics, so there is no error to report here.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once_a_call() {
        let mut pool = Pool::new(3);
        let mut items = [0u64, 10, 20, 30];
        for round in 0..5_000 {
            if round % 1_000 == 0 {
                // Long enough for the workers to fall asleep.
                thread::sleep(std::time::Duration::from_millis(5));
            }
            pool.for_each(&mut items, |item| *item += 1);
        }
        assert_eq!(items, [5_000, 5_010, 5_020, 5_030]);
        pool.for_each(&mut items[..2], |item| *item = 0);
        assert_eq!(items, [0, 0, 5_020, 5_030]);
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_have_finished() {
        for bad in 0..3 {
            let mut pool = Pool::new(2);
            let mut items = [0usize, 1, 2];
            let caught = catch_unwind(AssertUnwindSafe(|| {
                pool.for_each(&mut items, |item| {
                    assert!(*item != bad, "bad item");
                    thread::sleep(std::time::Duration::from_millis(3));
                    *item += 10;
                });
            }));
            assert!(caught.is_err());
            let expected: Vec<usize> = (0..3).map(|i| if i == bad { i } else { i + 10 }).collect();
            assert_eq!(items.to_vec(), expected);
        }
    }
}
