//! Panics of tract's, made errors.

use crate::error::{Error, ErrorKind, Result};
use std::{
    any::Any,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Calls of [`guarded`] that run now. Not one count a thread: tract panics on threads of its own too.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Runs what calls tract: a panic in there becomes an error.
pub(super) fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let ended = catch_unwind(AssertUnwindSafe(run));
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    ended.unwrap_or_else(|panic| {
        Err(Error::new(
            ErrorKind::Failed,
            "the model can't be run",
            format!("tract panicked: {}", message(&*panic)),
            "check that the inputs' values are in range (token ids within the vocabulary), and the model with onnx.checker",
        ))
    })
}

/// From now on, this process prints nothing about a panic that a [`Session`](super::Session) makes an
/// error of. Other panics go to the hook that is set now.
///
/// This is for a program that shows those errors itself. Without it, panic hooks stay as they are.
pub fn quiet_panics() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if RUNNING.load(Ordering::SeqCst) == 0 {
            hook(info);
        }
    }));
}

/// What a panic says, without a backtrace that its error carries.
fn message(panic: &(dyn Any + Send)) -> &str {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
    let message = message.unwrap_or("it did not say why");
    message.split("\n\nStack backtrace:").next().unwrap_or(message)
}
