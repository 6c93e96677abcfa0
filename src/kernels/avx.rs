//! AVX without AVX2: the definition, compiled for it.
#![allow(unsafe_code, reason = "vector instructions exist on some CPUs only")]

use super::{Job, Tier};

/// Made by [`Tier::detect`] alone: holding one proves that the CPU has AVX.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx(());

impl Tier for Avx {
    fn detect() -> Option<Avx> {
        is_x86_feature_detected!("avx").then_some(Avx(()))
    }

    #[inline]
    fn run<J: Job>(self, job: J) -> J::Output {
        #[target_feature(enable = "avx")]
        fn run<J: Job>(job: J, tier: Avx) -> J::Output {
            job.on(tier)
        }
        // SAFETY: the CPU has AVX, see `Avx`.
        unsafe { run(job, self) }
    }
}
