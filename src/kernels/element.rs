//! The number types of activations and outputs.

use half::{bf16, f16, slice::HalfFloatSliceExt as _};

/// A number type of activations and outputs: f32, f16 or bf16.
pub trait Element: Copy + Default + Send + Sync + private::Sealed + 'static {
    /// Elements as f32, in place or in the front of a buffer of at least their number.
    #[doc(hidden)]
    fn widen<'a>(elements: &'a [Self], buffer: &'a mut [f32]) -> &'a [f32];

    /// Elements as f32, in a slice of their number.
    #[doc(hidden)]
    fn widen_into(elements: &[Self], numbers: &mut [f32]);

    /// Rounds each number to the nearest that an element can be, ties to even.
    #[doc(hidden)]
    fn round(numbers: &mut [f32]);

    /// Rounds each number to the nearest element, ties to even.
    #[doc(hidden)]
    fn narrow(numbers: &[f32], elements: &mut [Self]);

    /// The sum, rounded once.
    #[doc(hidden)]
    fn plus(self, other: Self) -> Self;
}

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl Element for f32 {
    fn widen<'a>(elements: &'a [f32], _: &'a mut [f32]) -> &'a [f32] {
        elements
    }

    fn widen_into(elements: &[f32], numbers: &mut [f32]) {
        numbers.copy_from_slice(elements);
    }

    fn round(_: &mut [f32]) {}

    fn narrow(numbers: &[f32], elements: &mut [f32]) {
        elements.copy_from_slice(numbers);
    }

    fn plus(self, other: f32) -> f32 {
        self + other
    }
}

/// A type of 16 bits, whose arithmetic is that of f32, rounded.
macro_rules! half {
    ($half:ident) => {
        impl Element for $half {
            fn widen<'a>(elements: &'a [$half], buffer: &'a mut [f32]) -> &'a [f32] {
                let buffer = &mut buffer[..elements.len()];
                $half::widen_into(elements, buffer);
                buffer
            }

            fn widen_into(elements: &[$half], numbers: &mut [f32]) {
                elements.convert_to_f32_slice(numbers);
            }

            fn round(numbers: &mut [f32]) {
                numbers.iter_mut().for_each(|x| *x = $half::from_f32(*x).to_f32());
            }

            fn narrow(numbers: &[f32], elements: &mut [$half]) {
                elements.convert_from_f32_slice(numbers);
            }

            fn plus(self, other: $half) -> $half {
                $half::from_f32(self.to_f32() + other.to_f32())
            }
        }
    };
}

half!(f16);
half!(bf16);
