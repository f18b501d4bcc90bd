//! Ctrl-C: the first asks the run to save and stop, the second ends it at once.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Listens from now on.
pub(crate) fn listen() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(crate::INTERRUPTED.into());
        }
    })?;
    Ok(())
}

/// Whether a stop was asked for.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Whether a stop was asked for, which is answered thereby: the next Ctrl-C is a first one again.
#[cfg(feature = "lm")]
pub(crate) fn take() -> bool {
    ASKED.swap(false, Ordering::SeqCst)
}
