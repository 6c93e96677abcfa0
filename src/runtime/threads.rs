//! Splitting work over the threads that tract itself uses.

use tract_hir::internal::TractResult;
use tract_linalg::multithread::{Executor, current_tract_executor, par_chunks_mut};

/// Threads that [`for_each`] may use here.
pub(super) fn count() -> usize {
    match current_tract_executor() {
        Executor::SingleThread => 1,
        Executor::MultiThread(pool) => pool.current_num_threads(),
        Executor::RayonGlobal => rayon::current_num_threads(),
    }
}

/// Runs every task, on several threads where `elements` of work are worth it.
pub(super) fn for_each<T: Send>(
    tasks: Vec<T>,
    elements: usize,
    run: impl Fn(T) -> TractResult<()> + Send + Sync,
) -> TractResult<()> {
    let mut tasks: Vec<Option<T>> = tasks.into_iter().map(Some).collect();
    par_chunks_mut(&mut tasks, 1, elements, |_, tasks| {
        tasks.iter_mut().filter_map(Option::take).try_for_each(&run)
    })
}
