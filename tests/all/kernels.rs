//! Every kernel against the scalar one, bit for bit, and that one against the formula.

use bitonnx::{
    kernels::{Activations, Element, Error, Kernel, Norm, Product, Weights},
    operator::Codes,
};
use half::{bf16, f16};
use proptest::prelude::*;

const EPS: f32 = 1e-5;

fn scalar() -> Kernel {
    Kernel::by_name("scalar").unwrap()
}

/// Uniform numbers from a seed.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let step =
        |x: &u64| Some(x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
    std::iter::successors(step(&seed), step).map(|x| x >> 33)
}

fn trits(count: usize, seed: u64) -> Vec<i8> {
    numbers(seed).map(|x| (x % 3) as i8 - 1).take(count).collect()
}

fn floats(count: usize, seed: u64) -> Vec<f32> {
    numbers(seed).map(|x| x as f32 / (1u64 << 30) as f32 - 1.0).take(count).collect()
}

fn weights(t: &[i8], n: usize, k: usize) -> Weights {
    let mut codes = Codes::zeros(n, k);
    for (t, row) in t.chunks(k).zip(codes.bytes_mut().chunks_mut(Codes::row_bytes(k))) {
        let t: Vec<u8> = t.iter().map(|t| (t + 1) as u8).collect();
        Codes::pack(&t, row);
    }
    Weights::pack(codes.bytes(), n, k).unwrap()
}

fn quantized<T: Element>(kernel: Kernel, x: &[T], k: usize) -> Activations {
    let mut activations = Activations::new();
    activations.quantize(kernel, x, k, None, EPS).unwrap();
    activations
}

fn normalized<T: Element>(kernel: Kernel, x: &[T], k: usize, norm: Norm) -> Activations {
    let mut activations = Activations::new();
    activations.quantize(kernel, x, k, Some(norm), EPS).unwrap();
    activations
}

fn codes(x: &Activations) -> Vec<i8> {
    (0..x.m()).flat_map(|row| (0..x.k()).map(move |k| x.code(row, k))).collect()
}

fn product<T: Element>(
    kernel: Kernel,
    x: &Activations,
    weights: &Weights,
    scale: &[f32],
    bias: Option<&[T]>,
) -> Vec<T> {
    let mut y = vec![T::default(); x.m() * weights.n()];
    Product::new(kernel, x, weights, scale, bias).unwrap().run(&mut y).unwrap();
    y
}

fn sums(kernel: Kernel, x: &Activations, weights: &Weights) -> Vec<i32> {
    Product::<f32>::new(kernel, x, weights, &[1.0], None).unwrap().sums()
}

/// Bits, every NaN alike.
fn bits(y: &[f32]) -> Vec<u32> {
    y.iter().map(|y| if y.is_nan() { f32::NAN.to_bits() } else { y.to_bits() }).collect()
}

/// `Σₖ q·t`, as the formula has it.
fn formula(q: &[i8], t: &[i8], k: usize) -> Vec<i32> {
    let dot =
        |q: &[i8], t: &[i8]| q.iter().zip(t).map(|(q, t)| i64::from(*q) * i64::from(*t)).sum();
    let sums = q.chunks(k).flat_map(|q| t.chunks(k).map(move |t| dot(q, t)));
    sums.map(|sum: i64| i32::try_from(sum).unwrap()).collect()
}

/// Rows of different kinds: ordinary, all extreme, tiny, any bits, and with a NaN or an infinity in one place.
fn rows(m: usize, k: usize, seed: u64) -> Vec<f32> {
    let mut x = floats(m * k, seed);
    for (row, (x, draw)) in x.chunks_mut(k).zip(numbers(seed ^ 99)).enumerate() {
        let at = draw as usize % k;
        match draw / 7 % 12 {
            0 => x.iter_mut().for_each(|x| *x = x.signum()),
            1 => x.iter_mut().for_each(|x| *x *= f32::MIN_POSITIVE),
            2 => x.iter_mut().zip(numbers(draw)).for_each(|(x, n)| *x = f32::from_bits(n as u32)),
            3 => x[at] = [f32::NAN, -f32::NAN][row % 2],
            4 => x[at] = [f32::INFINITY, f32::NEG_INFINITY][row % 2],
            _ => (),
        }
    }
    x
}

/// Holds all kernels to the formula and to each other, whichever filled the activations.
fn check((m, n, k): (usize, usize, usize), seed: u64) {
    let shape = format!("{m} x {n} x {k}, seed {seed}");
    let t = trits(n * k, seed);
    let weights = weights(&t, n, k);
    let x = rows(m, k, seed ^ 77);
    let (scale, bias) = (floats(n, seed ^ 5), floats(n, seed ^ 6));
    let reference = quantized(scalar(), &x, k);
    let expected = formula(&codes(&reference), &t, k);
    let plain = |i: usize| expected[i] as f32 * (scale[i % n] * reference.steps()[i / n]);
    let y: Vec<_> = (0..m * n).map(|i| plain(i) + bias[i % n]).collect();
    for filler in Kernel::available() {
        // What the buffer held before leaves no trace.
        let mut filled = quantized(scalar(), &floats(40 * 300, seed), 300);
        filled.quantize(*filler, &x, k, None, EPS).unwrap();
        assert_eq!(codes(&filled), codes(&reference), "{filler:?}, {shape}");
        assert_eq!(bits(filled.steps()), bits(reference.steps()), "{filler:?}, {shape}");
        for kernel in Kernel::available() {
            let found = sums(*kernel, &filled, &weights);
            assert_eq!(found, expected, "{filler:?}, {kernel:?}, {shape}");
            let found = product(*kernel, &filled, &weights, &scale, Some(&bias));
            assert_eq!(bits(&found), bits(&y), "{filler:?}, {kernel:?}, {shape}");
        }
    }
}

#[test]
fn kernels_agree_on_awkward_shapes() {
    for k in [1, 2, 3, 4, 5, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 257, 321, 576, 1025] {
        for (m, n) in [(1, 1), (1, 17), (2, 15), (3, 16), (4, 33), (5, 3), (6, 1), (7, 31), (9, 5)]
        {
            check((m, n, k), (m * n * k) as u64);
        }
    }
    for m in [15, 16, 17, 24, 31, 33, 47, 130] {
        check((m, 19, 130), m as u64);
    }
}

#[test]
fn kernels_agree_where_rows_take_several_passes() {
    check((70, 33, 9000), 1);
}

#[test]
fn sums_of_extremes_are_exact() {
    for k in [64, 256, 4096, 4100, 20_000] {
        for (q, t) in [(1.0, 1), (-1.0, 1), (1.0, -1), (-1.0, -1)] {
            for m in [1, 3, 8, 9] {
                let weights = weights(&vec![t; 18 * k], 18, k);
                for kernel in Kernel::available() {
                    let x = quantized(*kernel, &vec![q; m * k], k);
                    let expected = 127 * q as i32 * i32::from(t) * k as i32;
                    assert_eq!(
                        sums(*kernel, &x, &weights),
                        vec![expected; m * 18],
                        "{kernel:?} {k}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_longest_row_has_an_exact_sum() {
    let k = i32::MAX as usize / 127;
    let weights = Weights::pack(&vec![0b10_10_10_10; k.div_ceil(4)], 1, k).unwrap();
    for kernel in Kernel::available() {
        for q in [1.0, -1.0] {
            let x = quantized(*kernel, &vec![q; k], k);
            assert_eq!(sums(*kernel, &x, &weights), [127 * k as i32 * q as i32], "{kernel:?}");
        }
    }
    let beyond = Weights::pack(&[], 1, k + 1).unwrap_err();
    assert_eq!(beyond, Error::Dimensions { n: 1, k: k + 1 });
}

/// Rows that are hard to round, each of 100 numbers.
fn hard_rows() -> Vec<Vec<f32>> {
    let tie = |g: f32| -> Vec<f32> {
        (0..100).map(|i| if i == 99 { g } else { (i as f32 - 49.5) * (g / 127.0) }).collect()
    };
    let bits = |seed: u64, mask: u32, or: u32| -> Vec<f32> {
        numbers(seed).map(|x| f32::from_bits(x as u32 & mask | or)).take(100).collect()
    };
    vec![
        tie(127.0),
        tie(63.5),
        tie(1.0),
        tie(f32::MAX),
        vec![0.0; 100],
        vec![-0.0; 100],
        vec![1e-6; 100],
        vec![f32::MIN_POSITIVE / 8.0; 100],
        bits(1, 0x807f_ffff, 0),
        bits(2, 0xffff_ffff, 0).iter().map(|x| if x.is_finite() { *x } else { 1.0 }).collect(),
        bits(3, 0x807f_ffff, 0x7f00_0000),
        bits(4, 0x80ff_ffff, 0x3700_0000),
    ]
}

#[test]
fn activations_round_by_the_formula() {
    for row in hard_rows() {
        let g = row.iter().fold(EPS, |g, x| g.max(x.abs()));
        let factor = 127.0 / g;
        let expected: Vec<_> =
            row.iter().map(|x| (x * factor).round_ties_even().clamp(-128.0, 127.0) as i8).collect();
        for kernel in Kernel::available() {
            for k in [100, 99, 64, 61, 32, 1] {
                // The largest is kept last, so that every length has the same step.
                let x = &row[100 - k..];
                let found = quantized(*kernel, x, k);
                if x.iter().fold(EPS, |g, x| g.max(x.abs())) == g {
                    assert_eq!(codes(&found), expected[100 - k..], "{kernel:?}, {k} of {row:?}");
                    assert_eq!(found.steps(), [g / 127.0]);
                }
            }
        }
    }
}

#[test]
fn ties_round_to_even() {
    let x = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 126.5, -126.5, 127.0];
    for kernel in Kernel::available() {
        assert_eq!(codes(&quantized(*kernel, &x, 9)), [0, 2, 2, 0, -2, -2, 126, -126, 127]);
    }
}

#[test]
fn a_row_that_is_not_finite_gives_nan_and_no_other_does() {
    let (m, n, k) = (20, 18, 70);
    let weights = weights(&trits(n * k, 4), n, k);
    for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for at in [0, 63, 64, 69] {
            let mut x = floats(m * k, 8);
            let clean =
                product::<f32>(scalar(), &quantized(scalar(), &x, k), &weights, &[0.5], None);
            x[17 * k + at] = bad;
            for kernel in Kernel::available() {
                let mut activations = quantized(*kernel, &vec![1.0; m * k], k);
                activations.quantize(*kernel, &x, k, None, EPS).unwrap();
                let y = product::<f32>(*kernel, &activations, &weights, &[0.5], None);
                for (row, (y, clean)) in y.chunks(n).zip(clean.chunks(n)).enumerate() {
                    if row == 17 {
                        assert!(y.iter().all(|y| y.is_nan()), "{kernel:?}");
                    } else {
                        assert_eq!(y, clean, "{kernel:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_row_without_a_finite_factor_gives_nan() {
    for kernel in Kernel::available() {
        let mut x = Activations::new();
        x.quantize(*kernel, &[0.0f32; 8], 8, None, 0.0).unwrap();
        assert!(x.steps()[0].is_nan(), "{kernel:?}");
    }
}

/// Narrow types: widened exactly, rounded once, and once more after the bias.
fn check_narrow<T: Element + PartialEq + std::fmt::Debug>(
    narrow: impl Fn(f32) -> T,
    wide: impl Fn(T) -> f32,
) {
    let (m, n, k) = (18, 37, 1100);
    let weights = weights(&trits(n * k, 11), n, k);
    let x: Vec<T> = floats(m * k, 12).into_iter().map(&narrow).collect();
    let x_wide: Vec<f32> = x.iter().map(|x| wide(*x)).collect();
    let bias: Vec<T> = floats(n, 13).into_iter().map(&narrow).collect();
    let plain = product::<f32>(scalar(), &quantized(scalar(), &x_wide, k), &weights, &[0.01], None);
    for kernel in Kernel::available() {
        let activations = quantized(*kernel, &x, k);
        let y = product::<T>(*kernel, &activations, &weights, &[0.01], None);
        let biased = product(*kernel, &activations, &weights, &[0.01], Some(&bias));
        for (i, plain) in plain.iter().enumerate() {
            assert_eq!(y[i], narrow(*plain), "{kernel:?}");
            assert_eq!(biased[i], narrow(wide(narrow(*plain)) + wide(bias[i % n])), "{kernel:?}");
        }
    }
}

#[test]
fn half_precision_is_rounded_once() {
    check_narrow(f16::from_f32, f16::to_f32);
    check_narrow(bf16::from_f32, bf16::to_f32);
}

/// Holds a normalised row to the formula in f64, `round` being what the element type does to a number.
fn check_norm<T: Element>(k: usize, narrow: impl Fn(f64) -> T, wide: impl Fn(T) -> f64) {
    let (m, eps) = (5, 1e-6f32);
    let x: Vec<T> = floats(m * k, 31).iter().map(|x| narrow(f64::from(*x) * 30.0)).collect();
    let gain: Vec<T> = floats(k, 32).iter().map(|g| narrow(f64::from(*g) + 2.0)).collect();
    let gain_wide: Vec<f32> = gain.iter().map(|g| wide(*g) as f32).collect();
    let norm = Norm { eps, gain: &gain_wide };
    let reference = normalized(scalar(), &x, k, norm);
    let found = codes(&reference);
    let mut off = 0;
    for (row, x) in x.chunks(k).enumerate() {
        let squares: f64 = x.iter().map(|x| wide(*x).powi(2)).sum();
        let root = (squares / k as f64 + f64::from(eps)).sqrt();
        let unit = x.iter().map(|x| wide(narrow(wide(*x) / root)));
        let y: Vec<_> = unit.zip(&gain).map(|(u, g)| wide(narrow(u * wide(*g)))).collect();
        let step = y.iter().fold(f64::from(EPS), |g, y| g.max(y.abs())) / 127.0;
        assert!((f64::from(reference.steps()[row]) / step - 1.0).abs() < 1e-5, "step of {k}");
        for (y, code) in y.iter().zip(&found[row * k..]) {
            let expected = (y / step).round_ties_even();
            assert!((f64::from(*code) - expected).abs() <= 1.0, "{code} for {expected}");
            off += usize::from(f64::from(*code) != expected);
        }
    }
    // Codes at the middle between two, where an ulp decides.
    assert!(off * 500 <= m * k, "{off} codes of {} are others than the formula's", m * k);
    for kernel in Kernel::available() {
        let x = normalized(*kernel, &x, k, norm);
        assert_eq!(codes(&x), found, "{kernel:?} {k}");
        assert_eq!(bits(x.steps()), bits(reference.steps()), "{kernel:?} {k}");
    }
}

#[test]
fn rows_are_normalized_by_the_formula() {
    for k in [1, 3, 16, 17, 100, 576, 1024, 1025, 3000] {
        check_norm(k, |x| x as f32, f64::from);
        check_norm(k, f16::from_f64, f16::to_f64);
        check_norm(k, bf16::from_f64, bf16::to_f64);
    }
}

#[test]
fn a_normalized_row_that_is_not_finite_gives_nan() {
    let k = 70;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for kernel in Kernel::available() {
            let mut x = floats(2 * k, 41);
            x[k + 5] = bad;
            let x = normalized(*kernel, &x, k, Norm { eps: 1e-6, gain: &vec![1.0; k] });
            assert!(x.steps()[0].is_finite() && x.steps()[1].is_nan(), "{kernel:?}");
        }
    }
}

#[test]
fn parts_give_what_the_whole_gives() {
    for (m, n, k) in [(1, 100, 65), (5, 33, 64), (40, 17, 130), (100, 16, 70), (33, 80, 9000)] {
        let weights = weights(&trits(n * k, 2), n, k);
        let (x, scale) = (floats(m * k, 3), floats(n, 4));
        for kernel in Kernel::available() {
            let mut activations = Activations::new();
            let mut rows = x.as_slice();
            for block in activations.resize(m, k) {
                let (these, rest) = rows.split_at(block.rows() * k);
                block.quantize(*kernel, these, None, EPS).unwrap();
                rows = rest;
            }
            let whole = product::<f32>(*kernel, &activations, &weights, &scale, None);
            let product = Product::new(*kernel, &activations, &weights, &scale, None).unwrap();
            for parts in [0, 1, 2, 3, 5, 8, 1000] {
                let mut y = vec![f32::NAN; m * n];
                let tasks = product.split(&mut y, parts).unwrap();
                assert!((1..=parts.max(1)).contains(&tasks.len()));
                std::thread::scope(|scope| {
                    for task in tasks {
                        scope.spawn(|| task.run());
                    }
                });
                assert_eq!(bits(&y), bits(&whole), "{kernel:?}, {m} x {n} x {k} in {parts}");
            }
        }
    }
}

#[test]
fn doubling_the_input_doubles_the_output() {
    let (n, k) = (20, 300);
    let weights = weights(&trits(n * k, 21), n, k);
    let x = floats(k, 22);
    let twice: Vec<_> = x.iter().map(|x| 2.0 * x).collect();
    for kernel in Kernel::available() {
        let once = product::<f32>(*kernel, &quantized(*kernel, &x, k), &weights, &[0.3], None);
        let doubled =
            product::<f32>(*kernel, &quantized(*kernel, &twice, k), &weights, &[0.3], None);
        assert_eq!(once.iter().map(|y| 2.0 * y).collect::<Vec<_>>(), doubled);
    }
}

#[test]
fn the_kernels_of_this_cpu_are_there() {
    let names: Vec<_> = Kernel::available().iter().map(Kernel::name).collect();
    // Seen with `--nocapture`: which of them the tests ran.
    println!("kernels: {}", names.join(", "));
    assert_eq!(names.last(), Some(&"scalar"));
    #[cfg(target_arch = "x86_64")]
    assert_eq!(names.contains(&"avx2"), std::is_x86_feature_detected!("avx2"), "{names:?}");
    for name in names {
        assert_eq!(Kernel::by_name(name).unwrap().name(), name);
    }
    assert!(Kernel::by_name("abacus").is_none());
}

#[test]
fn wrong_arguments_are_refused() {
    let length = |result: Result<(), Error>| match result.unwrap_err() {
        Error::Length { of, expected, found } => (of, expected, found),
        error => panic!("{error}"),
    };
    assert_eq!(length(Weights::pack(&[0; 5], 2, 9).map(drop)), ("weight codes", 6, 5));
    assert_eq!(length(Weights::pack(&[0; 5], usize::MAX, 9).map(drop)).2, 5);
    for (n, k) in [(0, 4), (4, 0)] {
        assert_eq!(Weights::pack(&[], n, k).unwrap_err(), Error::Dimensions { n, k });
    }
    let mut three = vec![0b01_01_01_01; 40];
    three[27] = 0b01_11_01_01;
    assert_eq!(Weights::pack(&three, 4, 40).unwrap_err(), Error::Code { row: 2, column: 30 });

    let kernel = Kernel::best();
    let mut x = Activations::new();
    assert_eq!(length(x.quantize(kernel, &[0.0; 7], 4, None, EPS)), ("activations", 4, 7));
    assert_eq!(length(x.quantize(kernel, &[0.0; 7], 0, None, EPS)).0, "activations");
    let short = Norm { eps: 1e-6, gain: &[1.0; 3] };
    assert_eq!(length(x.quantize(kernel, &[0.0; 8], 4, Some(short), EPS)), ("gain", 4, 3));
    x.quantize(kernel, &[0.0; 8], 4, None, EPS).unwrap();
    let (narrow, wide) = (weights(&[1; 12], 3, 4), weights(&[1; 15], 3, 5));
    let new = |weights, scale, bias: Option<&[f32]>| {
        Product::new(kernel, &x, weights, scale, bias).and_then(|p| p.run(&mut [0.0; 5]))
    };
    assert_eq!(length(new(&wide, &[1.0], None)), ("row of activations", 5, 4));
    assert_eq!(length(new(&narrow, &[1.0; 2], None)), ("scale", 3, 2));
    assert_eq!(length(new(&narrow, &[1.0], Some(&[1.0; 4]))), ("bias", 3, 4));
    assert_eq!(length(new(&narrow, &[1.0], None)), ("output", 6, 5));
}

proptest! {
    #[test]
    fn a_buffer_is_filled_and_read_by_any_kernels_in_turn(
        turns in prop::collection::vec((0..40usize, 1..300usize, 1..20usize, any::<u64>()), 2..8)
    ) {
        let mut buffer = Activations::new();
        for (m, k, n, seed) in turns {
            let (x, t) = (rows(m, k, seed), trits(n * k, seed));
            let any = |seed: u64| Kernel::available()[seed as usize % Kernel::available().len()];
            buffer.quantize(any(seed >> 8), &x, k, None, EPS).unwrap();
            let expected = codes(&quantized(scalar(), &x, k));
            prop_assert_eq!(codes(&buffer), expected.clone());
            let found = sums(any(seed >> 16), &buffer, &weights(&t, n, k));
            prop_assert_eq!(found, formula(&expected, &t, k));
        }
    }

    #[test]
    fn kernels_agree_on_any_shape(shape in (1usize..40, 1usize..40, 1usize..700), seed: u64) {
        check(shape, seed);
    }

    #[test]
    fn kernels_round_any_numbers_alike(x in prop::collection::vec(any::<f32>(), 1..300)) {
        let reference = quantized(scalar(), &x, x.len());
        for kernel in Kernel::available() {
            let found = quantized(*kernel, &x, x.len());
            prop_assert_eq!(codes(&found), codes(&reference));
            prop_assert_eq!(bits(found.steps()), bits(reference.steps()));
        }
    }
}
