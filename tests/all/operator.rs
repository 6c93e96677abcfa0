//! What stands in the file: how our operators are read and written, and what is none of theirs.

use bitonnx::{
    operator::{self, BitLinear, Codes, Scales, metadata},
    proto::{ModelProto, NodeProto, StringStringEntryProto},
    text::{parse_model, parse_nodes},
};
use proptest::prelude::*;

fn node(text: &str) -> NodeProto {
    parse_nodes(text).unwrap().remove(0)
}

#[test]
fn a_bit_linear_is_read_as_it_is_written() {
    let bit_linear = BitLinear { in_features: 64, eps: 3e-6 };
    let written = bit_linear.node(["x", "w_codes", "w_scale"], "y");
    let text =
        "y = bitonnx.BitLinear <in_features: int = 64, eps: float = 3e-6> (x, w_codes, w_scale)";
    assert_eq!(written, node(text));
    assert_eq!(BitLinear::read(&written), Ok(bit_linear));
    let default = node("y = bitonnx.BitLinear <in_features = 7> (x, c, s)");
    assert_eq!(BitLinear::read(&default), Ok(BitLinear { in_features: 7, eps: 1e-5 }));
}

#[test]
fn what_is_no_bit_linear_is_refused() {
    let refused = |attributes: &str, inputs: &str, why: &str| {
        let text = format!("y = bitonnx.BitLinear <{attributes}> ({inputs})");
        assert_eq!(BitLinear::read(&node(&text)).unwrap_err(), why, "{text}");
    };
    let inputs = "a BitLinear reads X, codes and scale, and makes Y";
    for other in ["x, c", "x, c, s, b", "x, , s"] {
        refused("in_features = 4", other, inputs);
    }
    let all = "x, c, s";
    refused("eps = 1.0", all, "its integer `in_features` is missing");
    refused("in_features = 4.0", all, "its integer `in_features` is missing");
    refused("in_features = 0", all, "its in_features is 0");
    refused("in_features = -4", all, "its in_features is -4");
    refused("in_features = 4, eps = 1", all, "its eps is no float");
    for (eps, told) in [("0.0", "0"), ("-1.0", "-1"), ("inf", "inf"), ("nan", "NaN")] {
        refused(&format!("in_features = 4, eps = {eps}"), all, &format!("its eps is {told}"));
    }
    refused("in_features = 4, bias = 1", all, "a BitLinear has no such attribute as its `bias`");
    let mut two = node("y, z = bitonnx.BitLinear <in_features = 4> (x, c, s)");
    assert_eq!(BitLinear::read(&two).unwrap_err(), inputs);
    two.output.clear();
    assert_eq!(BitLinear::read(&two).unwrap_err(), inputs);
}

#[test]
fn codes_and_scales_belong_to_one_another() {
    let outputs = |codes: &[usize], scale: &[usize]| {
        BitLinear { in_features: 9, eps: 1e-5 }.outputs(codes, scale)
    };
    assert_eq!(outputs(&[5, 3], &[1]), Ok(5));
    assert_eq!(outputs(&[5, 3], &[5]), Ok(5));
    assert_eq!(outputs(&[5, 3], &[4]), Err("there are 4 scales for 5 outputs".into()));
    let codes: [&[usize]; 4] = [&[5, 2], &[5, 9], &[15], &[1, 5, 3]];
    for codes in codes {
        let why = outputs(codes, &[1]).unwrap_err();
        assert!(why.starts_with(&format!("its codes are {codes:?}")), "{why}");
    }
    assert!(outputs(&[5, 3], &[]).is_err() && outputs(&[5, 3], &[1, 5]).is_err());
}

#[test]
fn codes_lie_four_to_a_byte() {
    let mut bytes = [0; 2];
    Codes::pack(&[0, 1, 2, 2, 0, 2], &mut bytes);
    assert_eq!(bytes, [0b10_10_01_00, 0b01_01_10_00]);
    let codes = Codes::new(bytes.into(), 1, 6).unwrap();
    assert_eq!(codes.row(0).collect::<Vec<_>>(), [0, 1, 2, 2, 0, 2, 1, 1]);
    assert_eq!(codes.ternary().unwrap(), [-1, 0, 1, 1, -1, 1]);
    assert_eq!(codes.dims(), [1, 2]);
    assert_eq!(Codes::zeros(3, 5).bytes(), [0b01_01_01_01; 6]);

    let three = |n, k| Codes::new(vec![0b01_01_01_01, 0b01_01_11_01], n, k).unwrap().ternary();
    assert!(three(1, 8).unwrap_err().contains("row 0, column 5 is 3"));
    assert!(three(2, 1).unwrap_err().contains("row 1, column 1 is 3"), "in the padding");
    for (n, k) in [(3, 1), (1, 9), (0, 4), (usize::MAX, 8)] {
        let why = Codes::new(vec![0; 2], n, k).unwrap_err();
        assert_eq!(why, format!("there are 2 bytes of codes for {n} outputs and {k} inputs"));
    }
}

proptest! {
    #[test]
    fn unpacking_undoes_packing((n, k) in (0usize..9, 1usize..40), seed: u64) {
        let weights: Vec<i8> =
            (0..n * k).map(|i| (seed.rotate_left(i as u32) % 3) as i8 - 1).collect();
        let mut codes = Codes::zeros(n, k);
        let rows = codes.bytes_mut().chunks_mut(Codes::row_bytes(k));
        for (weights, row) in weights.chunks(k).zip(rows) {
            let row_codes: Vec<u8> = weights.iter().map(|t| (t + 1) as u8).collect();
            Codes::pack(&row_codes, row);
        }
        prop_assert_eq!(codes.ternary().unwrap(), weights);
        let stored = codes.bytes().to_vec();
        prop_assert_eq!(Codes::new(stored, n, k).unwrap(), codes);
    }
}

#[test]
fn equal_scales_are_one() {
    let one = Scales::of_rows(vec![0.5; 4]);
    assert_eq!((one.values(), one.row(3), one.mean()), (&[0.5][..], 0.5, 0.5));
    let rows = Scales::of_rows(vec![0.5, 0.25, 0.5]).times(2.0);
    assert_eq!((rows.values(), rows.row(1)), (&[1.0, 0.5, 1.0][..], 0.5));
}

fn model(nodes: &str) -> ModelProto {
    let text = format!(
        "<ir_version: 8, opset_import: [\"\" : 17]> g (float[4] x, bool c) => (float[2] y)
         <uint8[2, 1] codes = {{0, 0}}, float[1] scale = {{1}}> {{ {nodes} }}"
    );
    parse_model(&text).unwrap()
}

#[test]
fn a_model_gets_the_definitions_that_it_uses() {
    let used = "y = bitonnx.BitLinear <in_features = 4> (x, codes, scale)";
    let nested = format!("y = If <then_branch = g () => (y) {{ {used} }}> (c)");
    for (nodes, count) in
        [(used, 1), (&nested, 1), ("y = other.BitLinear (x)", 0), ("y = Neg (x)", 0)]
    {
        let mut model = model(nodes);
        operator::define(&mut model).unwrap();
        assert_eq!(model.functions.len(), count, "{nodes}");
        let imports = model.opset_import.iter().filter(|o| o.domain() == "bitonnx");
        assert_eq!(imports.map(|o| o.version()).collect::<Vec<_>>(), vec![1; count], "{nodes}");
        let once = model.clone();
        operator::define(&mut model).unwrap();
        assert!(model == once);
    }
}

#[test]
fn our_metadata_take_the_place_of_ours() {
    let other = || metadata::entry("other", "stays".into());
    let mut entries: Vec<StringStringEntryProto> =
        vec![metadata::entry(metadata::RULE, "old".into()), other()];
    metadata::replace(&mut entries, [(metadata::SOURCE, "node".to_owned())]);
    assert_eq!(entries, [other(), metadata::entry("bitonnx.source", "node".into())]);
    assert_eq!(metadata::get(&entries, metadata::SOURCE), Some("node"));
    assert_eq!(metadata::get(&entries, metadata::RULE), None);
}
