//! ONNX's text syntax: what it reads, what it writes, and that the two fit.
//!
//! The structures expected of texts are those that `onnx.parser` of ONNX 1.23 gives, but where
//! `bitonnx::text` says that it goes beyond the official syntax.

use bitonnx::{
    proto::{
        self, AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
        StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
        attribute_proto::AttributeType,
        tensor_proto::{DataLocation, DataType},
        tensor_shape_proto::{Dimension, dimension},
        type_proto,
    },
    text::{Style, diff, parse_function, parse_graph, parse_model, parse_nodes, print},
};
use proptest::prelude::*;
use prost::Message as _;
use std::path::PathBuf;

mod reading {
    use super::*;

    #[test]
    fn nodes_follow_each_other() {
        let nodes = parse_nodes(
            "r = Reshape(x, s)
             y = Gemm <transB = 1, alpha: float = @a> (r, W, B) # a remark
             [last] u, v = bitonnx.inner.Op:over(y)",
        )
        .unwrap();
        let expected = [
            node("Reshape", &["x", "s"], &["r"]),
            NodeProto {
                attribute: vec![
                    int("transB", 1),
                    reference("alpha", Some(AttributeType::Float), "a"),
                ],
                ..node("Gemm", &["r", "W", "B"], &["y"])
            },
            NodeProto {
                name: Some("last".into()),
                domain: Some("bitonnx.inner".into()),
                overload: Some("over".into()),
                ..node("Op", &["y"], &["u", "v"])
            },
        ];
        assert_eq!(nodes, expected);
    }

    #[test]
    fn names_may_be_missing_or_quoted() {
        for (text, expected) in [
            ("y = Op(x, , z)", node("Op", &["x", "", "z"], &["y"])),
            ("y = Op(x, \"\")", node("Op", &["x", ""], &["y"])),
            ("y = Op()", node("Op", &[], &["y"])),
            ("y = Op(,)", node("Op", &[""], &["y"])),
            ("y = Op(x,)", node("Op", &["x"], &["y"])),
            (", y = Op(, x)", node("Op", &["", "x"], &["", "y"])),
            ("= Op(x)", node("Op", &["x"], &[])),
            (r#""a/b" = Op("onnx::MatMul_1")"#, node("Op", &["onnx::MatMul_1"], &["a/b"])),
            (r#"y = Op("a\"b\\c\d")"#, node("Op", &[r#"a"b\cd"#], &["y"])),
            ("float = seq(nan)", node("seq", &["nan"], &["float"])),
            (
                r#"["/fc/MatMul"] y = Op(x)"#,
                NodeProto { name: Some("/fc/MatMul".into()), ..node("Op", &["x"], &["y"]) },
            ),
            (
                r#"y = "pkg.torch.2.5"."a b"(x)"#,
                NodeProto { domain: Some("pkg.torch.2.5".into()), ..node("a b", &["x"], &["y"]) },
            ),
        ] {
            assert_eq!(parse_nodes(text).unwrap(), [expected], "{text}");
        }
    }

    #[test]
    fn attributes_have_the_type_of_their_value() {
        let tensor = |name: Option<&str>| TensorProto {
            dims: vec![2],
            name: name.map(Into::into),
            ..stored(DataType::Float, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0])
        };
        let body = GraphProto { name: Some("body".into()), ..Default::default() };
        for (text, expected) in [
            ("a = -7", int("a", -7)),
            ("a = 9223372036854775807", int("a", i64::MAX)),
            ("a: int = @b", reference("a", Some(AttributeType::Int), "b")),
            ("a = @b", reference("a", None, "b")),
            ("a = 0.5", float("a", 0.5)),
            ("a = 1.", float("a", 1.0)),
            ("a = 1e-45", float("a", f32::from_bits(1))),
            ("a = 3.4028235E+38", float("a", f32::MAX)),
            ("a: float = -0", float("a", -0.0)),
            ("a = -inf", float("a", f32::NEG_INFINITY)),
            ("a = Infinity", float("a", f32::INFINITY)),
            (r#"a = "x y""#, string("a", "x y")),
            ("a = [1, 2]", ints("a", &[1, 2])),
            ("a: ints = []", ints("a", &[])),
            ("a = [1.5, 2]", floats("a", &[1.5, 2.0])),
            ("a: floats = [1, 2]", floats("a", &[1.0, 2.0])),
            (r#"a = ["x", ""]"#, strings("a", &["x", ""])),
            ("a = float[2] {1, -2}", of_tensor("a", tensor(None))),
            ("a: tensor = float[2] t = {1, -2}", of_tensor("a", tensor(Some("t")))),
            (r#"a = float[2] "a t" {1.0, -2e0}"#, of_tensor("a", tensor(Some("a t")))),
            (
                "a = [float[2] {1, -2}, float[2] {1, -2}]",
                AttributeProto {
                    tensors: vec![tensor(None), tensor(None)],
                    ..attribute("a", AttributeType::Tensors)
                },
            ),
            (
                "a = body () => () {}",
                AttributeProto { g: Some(body.clone()), ..attribute("a", AttributeType::Graph) },
            ),
            (
                r#"a = ["body" () => () {}]"#,
                AttributeProto { graphs: vec![body], ..attribute("a", AttributeType::Graphs) },
            ),
            (
                "a = float[N]",
                AttributeProto {
                    tp: Some(tensor_type(DataType::Float, Some(vec![symbol("N")]))),
                    ..attribute("a", AttributeType::TypeProto)
                },
            ),
        ] {
            let expected = [NodeProto { attribute: vec![expected], ..node("Op", &["x"], &["y"]) }];
            for text in [format!("y = Op <{text}> (x)"), format!("y = Op (x) <{text}>")] {
                assert_eq!(parse_nodes(&text).unwrap(), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_nan_keeps_its_sign() {
        for (text, negative) in [("nan", false), ("NaN", false), ("-nan", true)] {
            let nodes = parse_nodes(&format!("y = Op <a = {text}> ()")).unwrap();
            let value = nodes[0].attribute[0].f();
            assert!(value.is_nan() && value.is_sign_negative() == negative, "{text}");
        }
    }

    #[test]
    fn stored_numbers_are_raw_data() {
        for (text, data_type, dims, raw) in [
            ("float {1}", DataType::Float, &[][..], &[0, 0, 0x80, 0x3f][..]),
            ("double[1] {-2}", DataType::Double, &[1], &[0, 0, 0, 0, 0, 0, 0, 0xc0]),
            (
                "float16[3] {1.0, 15360, -inf}",
                DataType::Float16,
                &[3],
                &[0, 0x3c, 0, 0x3c, 0, 0xfc],
            ),
            ("bfloat16[2] {1.0, 16256}", DataType::Bfloat16, &[2], &[0x80, 0x3f, 0x80, 0x3f]),
            ("int64[1] {-2}", DataType::Int64, &[1], &[0xfe, 255, 255, 255, 255, 255, 255, 255]),
            ("uint64[1] {18446744073709551615}", DataType::Uint64, &[1], &[255; 8]),
            ("int8[2] {-128, 127}", DataType::Int8, &[2], &[0x80, 0x7f]),
            ("uint16[1] {513}", DataType::Uint16, &[1], &[1, 2]),
            ("bool[2] {0, 1}", DataType::Bool, &[2], &[0, 1]),
            // Below a byte, the first element has the low bits.
            ("int4[3] {-1, 2, -8}", DataType::Int4, &[3], &[0x2f, 0x08]),
            ("uint2[5] {3, 0, 1, 2, 1}", DataType::Uint2, &[5], &[0b10_01_00_11, 0b01]),
            ("complex64[1] {1, 0}", DataType::Complex64, &[1], &[0, 0, 0x80, 0x3f, 0, 0, 0, 0]),
            ("float[0, 4] {}", DataType::Float, &[0, 4], &[]),
        ] {
            let nodes = parse_nodes(&format!("y = Op <a = {text}> ()")).unwrap();
            let expected = TensorProto { dims: dims.to_vec(), ..stored(data_type, raw) };
            assert_eq!(nodes[0].attribute[0].t, Some(expected), "{text}");
        }
    }

    #[test]
    fn a_graph_has_values_and_tensors() {
        let graph = parse_graph(
            r#"g (float[N, 2] x, float[1] d = {1}, y) => (float[] z) <
                 int64[2] w = {1, 2}, seq(float["a b", ?]) v,
                 float[8] e = ["location": "weights.bin", "offset": "4"]
               > { z = Op(x) }"#,
        )
        .unwrap();
        let one = tensor_type(DataType::Float, Some(vec![size(1)]));
        let inner = tensor_type(DataType::Float, Some(vec![symbol("a b"), Dimension::default()]));
        let expected = GraphProto {
            name: Some("g".into()),
            input: vec![
                value("x", Some(tensor_type(DataType::Float, Some(vec![symbol("N"), size(2)])))),
                value("d", Some(one)),
                value("y", None),
            ],
            output: vec![value("z", Some(tensor_type(DataType::Float, None)))],
            initializer: vec![
                TensorProto {
                    name: Some("d".into()),
                    dims: vec![1],
                    ..stored(DataType::Float, &1f32.to_le_bytes())
                },
                TensorProto {
                    name: Some("w".into()),
                    dims: vec![2],
                    ..stored(DataType::Int64, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
                },
                TensorProto {
                    name: Some("e".into()),
                    dims: vec![8],
                    raw_data: None,
                    data_location: Some(DataLocation::External.into()),
                    external_data: vec![entry("location", "weights.bin"), entry("offset", "4")],
                    ..stored(DataType::Float, &[])
                },
            ],
            value_info: vec![value("v", Some(sequence(inner)))],
            node: vec![node("Op", &["x"], &["z"])],
            ..Default::default()
        };
        assert_eq!(graph, expected);
    }

    #[test]
    fn a_function_has_attributes_and_types() {
        let function = parse_function(
            r#"<domain: "d", overload: "o", opset_import: ["": 18], doc_string: "about">
               f <a, "b c", eps: float = 1e-5> (x, float y) => (z) <int64 w> { z = Add(x, y) }"#,
        )
        .unwrap();
        let scalar = |data_type| Some(tensor_type(data_type, Some(vec![])));
        let expected = FunctionProto {
            name: Some("f".into()),
            domain: Some("d".into()),
            overload: Some("o".into()),
            doc_string: Some("about".into()),
            opset_import: vec![opset("", 18)],
            attribute: vec!["a".into(), "b c".into()],
            attribute_proto: vec![float("eps", 1e-5)],
            input: vec!["x".into(), "y".into()],
            output: vec!["z".into()],
            value_info: vec![
                value("y", scalar(DataType::Float)),
                value("w", scalar(DataType::Int64)),
            ],
            node: vec![node("Add", &["x", "y"], &["z"])],
            ..Default::default()
        };
        assert_eq!(function, expected);
    }

    #[test]
    fn a_model_has_a_header_and_functions() {
        let model = parse_model(
            r#"<ir_version: 8, opset_import: ["": 18, "d": 1], producer_name: "p",
                producer_version: "1", domain: "m", model_version: 3, doc_string: "two
lines", metadata_props: ["k": "v"]>
               g () => () {}
               <domain: "d"> f (x) => (x) {}"#,
        )
        .unwrap();
        let expected = ModelProto {
            ir_version: Some(8),
            opset_import: vec![opset("", 18), opset("d", 1)],
            producer_name: Some("p".into()),
            producer_version: Some("1".into()),
            domain: Some("m".into()),
            model_version: Some(3),
            doc_string: Some("two\nlines".into()),
            metadata_props: vec![entry("k", "v")],
            graph: Some(GraphProto { name: Some("g".into()), ..Default::default() }),
            functions: vec![FunctionProto {
                name: Some("f".into()),
                domain: Some("d".into()),
                input: vec!["x".into()],
                output: vec!["x".into()],
                ..Default::default()
            }],
            ..Default::default()
        };
        assert_eq!(model, expected);
    }
}

mod faults {
    use super::*;

    #[test]
    fn messages_show_the_place() {
        let texts = [
            "y = MatMul(x, q, w z)",
            "r = Reshape(x, s)\ny = Gemm <transB 1> (r, W, B)",
            "y = Op(x",
            "y = Op(x))",
            "[/fc/MatMul] y = MatMul(x, w)",
            "y = Op(\"x)",
            "y = Op <a = [1, 2.0]> (x)",
            "y = Op <a: int = 1.5> (x)",
            "y = Op <a: int = [1]> (x)",
            "y = Op <a = []> (x)",
            "y = Op <a: number = 1> (x)",
            "y = Op <a = 99999999999999999999> (x)",
            "y = Op <a = 1e60> (x)",
            "y = Op <a = 1.2.3> (x)",
            "y = Op <a = float[2, 2] {1, 2, 3}> (x)",
            "y = Op <a = uint8[1] {300}> (x)",
            "y = Op <a = int64[1] {0.5}> (x)",
            "y = Op <a = float[N] {1}> (x)",
            "y = Op <a = float[-1] {}> (x)",
            "y = Op <a = float6e2m3[1] {1}> (x)",
            "y = Op <a = map(seq, float)> (x)",
            "y = Op <a = 1, b> (x)",
            "y = (x)",
            "\tx y",
            "é = Op(x)",
            "y = Op <a = @1> (x)",
        ];
        let shown: Vec<String> =
            texts.iter().map(|text| parse_nodes(text).unwrap_err().to_string()).collect();
        let graphs = [
            "g (float x) => (float[2 y) {}",
            "g (float x => (float y) {}",
            "g () => () { y = Op(x)",
            "g () => () {} h () => () {}",
            "<ir_version: 8> g () => () {}",
            "",
        ];
        let graphs = graphs.iter().map(|text| parse_graph(text).unwrap_err().to_string());
        let models = ["<version: 8> g () => () {}", "<opset_import: [\"\" 8]> g () => () {}"];
        let models = models.iter().map(|text| parse_model(text).unwrap_err().to_string());
        let all: Vec<String> = shown.into_iter().chain(graphs).chain(models).collect();
        assert_snapshot!("text_errors", &all.join("\n\n"));
    }

    #[test]
    fn the_place_is_counted_in_characters() {
        let error = parse_nodes("y = Op(x)\n\n  \"é\" = Op(x %)").unwrap_err();
        assert_eq!((error.line(), error.column()), (3, 14));
        assert!(error.message().contains('%'), "{}", error.message());
    }

    #[test]
    fn a_long_line_is_shown_in_part() {
        let text = format!("y = Op <a = [{} ? {}]> ()", "1, ".repeat(10_000), ", 1".repeat(10_000));
        let shown = parse_nodes(&text).unwrap_err().to_string();
        assert!(shown.len() < 1000, "{} bytes", shown.len());
        let lines: Vec<&str> = shown.lines().collect();
        let caret = lines[3].chars().position(|c| c == '^').unwrap();
        assert_eq!(lines[2].chars().nth(caret), Some('?'));
    }

    #[test]
    fn tensors_of_one_name_are_compared_in_order() {
        let model = |second: &str| {
            let text = format!(
                "<ir_version: 8, opset_import: [\"\" : 17]>
                 g (float x) => (float x) <float[1] w = {{1}}, float[1] w = {{{second}}}> {{ }}"
            );
            parse_model(&text).unwrap()
        };
        assert!(diff::models(&model("2"), &model("2")).is_empty());
        let changed = diff::models(&model("2"), &model("3")).to_string();
        assert_eq!(changed.lines().filter(|line| line.starts_with(['-', '+'])).count(), 2);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let depth = 100_000;
        let types = format!("y = Op <a = {}> ()", "seq(".repeat(depth));
        let graphs = format!("y = {}", "Op() <a = g () => () { y = ".repeat(depth));
        for text in [types, graphs] {
            let message = parse_nodes(&text).unwrap_err().message().to_owned();
            assert_eq!(message, "nested more than 64 deep");
        }
    }

    #[test]
    fn every_beginning_of_a_text_is_refused_or_read() {
        let text = print::model(&everything(), Style::Full);
        for (end, _) in text.char_indices() {
            let cut = &text[..end];
            let _ = (parse_model(cut), parse_graph(cut), parse_function(cut), parse_nodes(cut));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read(text in any::<String>()) {
            let _ = (parse_model(&text), parse_graph(&text), parse_nodes(&text));
        }

        #[test]
        fn any_tokens_are_refused_or_read(
            tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..40)
        ) {
            let text = tokens.concat();
            let _ = (parse_model(&text), parse_graph(&text), parse_function(&text), parse_nodes(&text));
        }

        #[test]
        fn any_model_is_printed(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = everything().encode_to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(broken) = ModelProto::decode(bytes.as_slice()) {
                let _ = parse_model(&print::model(&broken, Style::Full));
                let _ = print::model(&broken, Style::SHORT);
                prop_assert!(diff::models(&broken, &broken).is_empty());
                let _ = diff::models(&broken, &everything()).folded(2).to_string();
            }
        }
    }

    const TOKENS: &[&str] = &[
        "x",
        "float",
        "seq",
        "map",
        "opaque",
        "inf",
        "g",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "<",
        ">",
        "=",
        "=>",
        ",",
        ":",
        ".",
        "@",
        "?",
        "\"",
        "\"a\"",
        "\\",
        "1",
        "-",
        "-1",
        "0.5",
        "1e",
        "-inf",
        " ",
        "\n",
        "# ",
        "é",
        "ir_version",
        "opset_import",
    ];
}

mod writing {
    use super::*;

    #[test]
    fn fixtures_survive() {
        for path in fixtures() {
            let model = proto::load(&path).unwrap();
            let text = print::model(&model, Style::Full);
            let parsed = parse_model(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(parsed == normal(model), "{} changed", path.display());
        }
    }

    #[test]
    fn full_and_short() {
        let model = everything();
        assert_snapshot!("text_full", &print::model(&model, Style::Full));
        assert_snapshot!("text_short", &print::model(&model, Style::SHORT));
    }

    #[test]
    fn data_are_read_from_every_field() {
        let tensors = [
            TensorProto { float_data: vec![1.5, -2.0], ..typed(DataType::Float, &[2]) },
            TensorProto { float_data: vec![1.5, -2.0], ..typed(DataType::Complex64, &[1]) },
            TensorProto { double_data: vec![1.5], ..typed(DataType::Double, &[1]) },
            TensorProto { int32_data: vec![15360], ..typed(DataType::Float16, &[1]) },
            TensorProto { int32_data: vec![-3], ..typed(DataType::Int8, &[1]) },
            TensorProto { int32_data: vec![47, 8], ..typed(DataType::Int4, &[3]) },
            TensorProto { int32_data: vec![56], ..typed(DataType::Float8e4m3fn, &[1]) },
            TensorProto { uint64_data: vec![4294967295], ..typed(DataType::Uint32, &[1]) },
            TensorProto { string_data: vec![b"a\"b".to_vec()], ..typed(DataType::String, &[1]) },
        ];
        let texts = tensors.map(|tensor| print::attribute(&of_tensor("t", tensor), Style::Full));
        let expected = [
            "t = float[2] {1.5, -2}",
            "t = complex64[1] {1.5, -2}",
            "t = double[1] {1.5}",
            "t = float16[1] {15360}",
            "t = int8[1] {-3}",
            "t = int4[3] {-1, 2, -8}",
            "t = float8e4m3fn[1] {56}",
            "t = uint32[1] {4294967295}",
            r#"t = string[1] {"a\"b"}"#,
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_digest_is_of_the_raw_data() {
        let raw = vec![7; 1024];
        let digest = &blake3::hash(&raw).to_hex()[..8];
        let tensor = TensorProto { dims: vec![1024], ..stored(DataType::Uint8, &raw) };
        let text = print::attribute(&of_tensor("t", tensor), Style::SHORT);
        assert_eq!(text, format!("t = uint8[1024] #{digest}"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn any_node_survives(node in arbitrary::node(2)) {
            let text = print::node(&node, Style::Full);
            let parsed = parse_nodes(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(bytes(&parsed[0]), bytes(&node), "{}", text);
            prop_assert_eq!(parsed.len(), 1);
        }

        #[test]
        fn any_model_survives(model in arbitrary::model()) {
            let text = print::model(&model, Style::Full);
            let parsed = parse_model(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(bytes(&parsed), bytes(&model), "{}", text);
        }
    }

    /// Equal bytes are equal messages, NaNs included.
    fn bytes(message: &impl prost::Message) -> Vec<u8> {
        message.encode_to_vec()
    }
}

mod differences {
    use super::*;

    const BEFORE: &str = r#"<ir_version: 8, opset_import: ["": 18], producer_name: "test">
        mlp (float[b, 2] x) => (float[b, 2] y) <
            float[2, 16] w1 = {0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31},
            float[16] b1 = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0},
            float[2] two = {2, 2}
        > {
            [scale] s = Mul(x, two)
            [shift] t = Add(s, two)
            [up] u = Mul(t, two)
            [fc1] h1 = Gemm(u, w1, b1)
            [act] a1 = Gelu(h1)
            [pool] p = ReduceSum(a1)
            [down] q = Mul(p, two)
            [out] r = Mul(q, two)
            [last] y = Mul(r, two)
        }
        <domain: "old", opset_import: ["": 18]> Gone (x) => (y) { y = Neg(x) }"#;

    const AFTER: &str = r#"<ir_version: 8, opset_import: ["": 18, "bitonnx": 1], producer_name: "test", metadata_props: ["bitonnx.version": "0.1.0"]>
        mlp (float[b, 2] x) => (float[b, 2] y) <
            uint8[2, 4] w1_codes = {0, 1, 2, 3, 4, 5, 6, 7},
            float[1] w1_scale = {0.03125},
            float[16] b1 = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0},
            float[2] two = {2, 2}
        > {
            [scale] s = Mul(x, two)
            [shift] t = Add(s, two)
            [up] u = Mul(t, two)
            [fc1] h1_bit = bitonnx.BitLinear <in_features = 16> (u, w1_codes, w1_scale)
            [fc1_bias] h1 = Add(h1_bit, b1)
            [act] a1 = Gelu(h1)
            [pool] p = ReduceSum(a1)
            [down] q = Mul(p, two)
            [out] r = Mul(q, two)
            [last] y = Mul(r, two)
        }
        <domain: "bitonnx", opset_import: ["": 18]>
        BitLinear <in_features, eps: float = 1e-5> (X, codes, scale) => (Y) { Y = Identity(X) }"#;

    #[test]
    fn a_rewrite_reads_from_its_diff_alone() {
        let [before, after] = [BEFORE, AFTER].map(|text| parse_model(text).unwrap());
        let diff = diff::models(&before, &after);
        assert_snapshot!("text_diff", &diff.to_string());
        assert_snapshot!("text_diff_folded", &diff.folded(2).to_string());
    }

    #[test]
    fn nothing_differs_from_itself() {
        for model in [everything(), parse_model(BEFORE).unwrap()] {
            let diff = diff::models(&model, &model);
            assert!(diff.is_empty() && !diff.to_string().contains("\n-"), "{diff}");
        }
    }

    #[test]
    fn where_a_tensor_keeps_its_data_is_no_difference() {
        let raw = parse_graph("g () => () <float[2] w = {1, 2}> {}").unwrap();
        let mut typed = raw.clone();
        typed.initializer[0].raw_data = None;
        typed.initializer[0].float_data = vec![1.0, 2.0];
        assert!(diff::graphs(&raw, &typed).is_empty());
        typed.initializer[0].float_data = vec![1.0, 2.5];
        let diff = diff::graphs(&raw, &typed).to_string();
        assert_eq!(
            diff,
            "g () => ()\n- float[2] w  8 B    {1, 2}\n+ float[2] w  8 B    {1, 2.5}\n"
        );
    }

    #[test]
    fn large_tensors_differ_by_their_data() {
        let graph = |last: u8| {
            let mut raw = vec![0; 4096];
            raw[4095] = last;
            let w = TensorProto {
                name: Some("w".into()),
                dims: vec![4096],
                ..stored(DataType::Uint8, &raw)
            };
            GraphProto { initializer: vec![w], ..Default::default() }
        };
        assert!(diff::graphs(&graph(1), &graph(1)).is_empty());
        assert_eq!(diff::graphs(&graph(1), &graph(2)).to_string().matches("4 KiB  #").count(), 2);
    }

    #[test]
    fn long_texts_differ_by_their_end() {
        let model = |end: &str| ModelProto {
            doc_string: Some(format!("{}{end}", "long ".repeat(100))),
            ..Default::default()
        };
        assert!(!diff::models(&model("a"), &model("b")).is_empty());
    }

    #[test]
    fn inputs_and_inner_graphs_differ_by_line() {
        let before = "g (float x) => (y) { y = If(x) <then_branch = t () => (a) { a = A() }> }";
        let after = "g (float z) => (y) { y = If(x) <then_branch = t () => (a) { a = B() }> }";
        let [before, after] = [before, after].map(|text| parse_graph(text).unwrap());
        let expected = "\
- g (float x) => (y)
+ g (float z) => (y)
  y = If(x) <then_branch = t () => (a) {
-   a = A()
+   a = B()
  }>
";
        assert_eq!(diff::graphs(&before, &after).to_string(), expected);
    }
}

/// Arbitrary messages in the one form that the parser gives.
mod arbitrary {
    use super::*;

    pub fn model() -> impl Strategy<Value = ModelProto> {
        let header = (
            option(any::<i64>()),
            many(opset_import()),
            option(text()),
            option(text()),
            option(text()),
            option(any::<i64>()),
            option(text()),
            many(entry_of()),
        );
        (header, graph(1), many(function())).prop_map(|(header, graph, functions)| ModelProto {
            ir_version: header.0,
            opset_import: header.1,
            producer_name: header.2,
            producer_version: header.3,
            domain: header.4,
            model_version: header.5,
            doc_string: header.6,
            metadata_props: header.7,
            graph: Some(graph),
            functions,
            ..Default::default()
        })
    }

    fn function() -> impl Strategy<Value = FunctionProto> {
        let header = (text(), option(text()), option(text()), option(text()), many(opset_import()));
        let body = (many(text()), many(text()), many(value_info()), many(node(0)));
        (header, many(text()), many(attribute(0)), body).prop_map(
            |(header, attribute, attribute_proto, body)| FunctionProto {
                name: Some(header.0),
                domain: header.1,
                overload: header.2,
                doc_string: header.3,
                opset_import: header.4,
                attribute,
                attribute_proto,
                input: body.0,
                output: body.1,
                value_info: body.2,
                node: body.3,
                ..Default::default()
            },
        )
    }

    fn graph(depth: usize) -> impl Strategy<Value = GraphProto> {
        let initializer = (text(), tensor()).prop_map(|(name, tensor)| TensorProto {
            name: (!name.is_empty()).then_some(name),
            ..tensor
        });
        let values = (many(value_info()), many(value_info()), many(value_info()));
        (text(), values, many(initializer), many(node(depth))).prop_map(
            |(name, (input, output, value_info), initializer, node)| GraphProto {
                name: Some(name),
                input,
                output,
                value_info,
                initializer,
                node,
                ..Default::default()
            },
        )
    }

    pub fn node(depth: usize) -> impl Strategy<Value = NodeProto> {
        let names = (option(name()), option(name()), option(name()), option(name()));
        (names, many(text()), many(text()), many(attribute(depth))).prop_map(
            |(names, input, output, attribute)| NodeProto {
                name: names.0,
                op_type: names.1,
                domain: names.2,
                overload: names.3,
                input,
                output,
                attribute,
                ..Default::default()
            },
        )
    }

    fn attribute(depth: usize) -> BoxedStrategy<AttributeProto> {
        let of = super::attribute;
        let bytes = || text().prop_map(String::into_bytes);
        let leaf = prop_oneof![
            any::<i64>().prop_map(|v| int("", v)),
            single().prop_map(|v| float("", v)),
            text().prop_map(|v| string("", &v)),
            tensor().prop_map(|v| of_tensor("", v)),
            type_proto().prop_map(move |v| AttributeProto {
                tp: Some(v),
                ..of("", AttributeType::TypeProto)
            }),
            many(any::<i64>()).prop_map(|v| ints("", &v)),
            many(single()).prop_map(|v| floats("", &v)),
            many(bytes())
                .prop_map(move |v| AttributeProto { strings: v, ..of("", AttributeType::Strings) }),
            many(tensor())
                .prop_map(move |v| AttributeProto { tensors: v, ..of("", AttributeType::Tensors) }),
            many(type_proto()).prop_map(move |v| AttributeProto {
                type_protos: v,
                ..of("", AttributeType::TypeProtos)
            }),
            (option(attribute_type()), name()).prop_map(|(kind, name)| reference("", kind, &name)),
        ];
        let value = match depth {
            0 => leaf.boxed(),
            _ => prop_oneof![
                4 => leaf,
                1 => graph(depth - 1).prop_map(move |v| AttributeProto {
                    g: Some(v),
                    ..of("", AttributeType::Graph)
                }),
                1 => many(graph(depth - 1)).prop_map(move |v| AttributeProto {
                    graphs: v,
                    ..of("", AttributeType::Graphs)
                }),
            ]
            .boxed(),
        };
        (text(), value)
            .prop_map(|(name, value)| AttributeProto { name: Some(name), ..value })
            .boxed()
    }

    fn attribute_type() -> impl Strategy<Value = AttributeType> {
        (1..=14).prop_map(|number| AttributeType::try_from(number).unwrap())
    }

    /// A tensor of any type that has literals, with any bits in it but those of odd NaNs.
    fn tensor() -> impl Strategy<Value = TensorProto> {
        let dims = many(0..4i64);
        (1..=26i32, dims, option(name()), any::<u64>()).prop_map(|(data_type, dims, name, seed)| {
            let count = dims.iter().product::<i64>() as usize;
            let data_type = DataType::try_from(data_type).unwrap();
            let mut random = seed;
            let mut word = move || {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                random >> 11
            };
            let singles = |n, word: &mut dyn FnMut() -> u64| -> Vec<u8> {
                (0..n).flat_map(|_| plain_single(word() as u32).to_le_bytes()).collect()
            };
            let doubles = |n, word: &mut dyn FnMut() -> u64| -> Vec<u8> {
                (0..n).flat_map(|_| (word() as f64 * 1e-300).to_le_bytes()).collect()
            };
            let raw = match data_type {
                DataType::String => {
                    let string_data = (0..count).map(|_| word().to_string().into_bytes()).collect();
                    return TensorProto { string_data, name, ..typed(data_type, &dims) };
                }
                DataType::Float => singles(count, &mut word),
                DataType::Complex64 => singles(2 * count, &mut word),
                DataType::Double => doubles(count, &mut word),
                DataType::Complex128 => doubles(2 * count, &mut word),
                DataType::Int2 | DataType::Uint2 => packed(count, 2, word),
                DataType::Int4 | DataType::Uint4 | DataType::Float4e2m1 => packed(count, 4, word),
                _ => {
                    let size = proto::element_size(data_type.into()).unwrap();
                    (0..count * size).map(|_| word() as u8).collect()
                }
            };
            TensorProto { dims, name, ..stored(data_type, &raw) }
        })
    }

    /// So many numbers of so few bits; the bits left over are zero.
    fn packed(count: usize, bits: usize, mut word: impl FnMut() -> u64) -> Vec<u8> {
        let mut raw = vec![0; (count * bits).div_ceil(8)];
        for index in 0..count {
            let value = word() as u8 & ((1 << bits) - 1);
            raw[index * bits / 8] |= value << (index * bits % 8);
        }
        raw
    }

    fn value_info() -> impl Strategy<Value = ValueInfoProto> {
        (text(), option(type_proto())).prop_map(|(name, of)| value(&name, of))
    }

    fn type_proto() -> impl Strategy<Value = TypeProto> {
        let leaf = prop_oneof![
            (element_type(), option(many(dim()))).prop_map(|(element, dims)| match dims {
                Some(dims) => tensor_type(element, Some(dims)),
                None => tensor_type(element, None),
            }),
            (element_type(), many(dim())).prop_map(|(element, dim)| of_type(
                type_proto::Value::SparseTensorType(type_proto::SparseTensor {
                    elem_type: Some(element.into()),
                    shape: Some(TensorShapeProto { dim }),
                })
            )),
            prop_oneof![
                Just((None, None)),
                name().prop_map(|name| (None, Some(name))),
                (name(), name()).prop_map(|(domain, name)| (Some(domain), Some(name))),
            ]
            .prop_map(|(domain, name)| of_type(type_proto::Value::OpaqueType(
                type_proto::Opaque { domain, name }
            ))),
        ];
        leaf.prop_recursive(4, 8, 1, |inner| {
            prop_oneof![
                inner.clone().prop_map(sequence),
                inner.clone().prop_map(|inner| of_type(type_proto::Value::OptionalType(Box::new(
                    type_proto::Optional { elem_type: Some(Box::new(inner)) }
                )))),
                (element_type(), inner).prop_map(|(key, value)| of_type(
                    type_proto::Value::MapType(Box::new(type_proto::Map {
                        key_type: Some(key.into()),
                        value_type: Some(Box::new(value)),
                    }))
                )),
            ]
        })
    }

    fn element_type() -> impl Strategy<Value = DataType> {
        (0..=28).prop_map(|number| DataType::try_from(number).unwrap())
    }

    fn dim() -> impl Strategy<Value = Dimension> {
        prop_oneof![
            any::<i64>().prop_map(size),
            text().prop_map(|t| symbol(&t)),
            Just(Dimension::default())
        ]
    }

    fn single() -> impl Strategy<Value = f32> {
        any::<u32>().prop_map(plain_single)
    }

    /// The float of these bits; a NaN carries its sign only.
    fn plain_single(bits: u32) -> f32 {
        let value = f32::from_bits(bits);
        if value.is_nan() { f32::NAN.copysign(value) } else { value }
    }

    fn opset_import() -> impl Strategy<Value = OperatorSetIdProto> {
        (text(), any::<i64>()).prop_map(|(domain, version)| opset(&domain, version))
    }

    fn entry_of() -> impl Strategy<Value = StringStringEntryProto> {
        (text(), text()).prop_map(|(key, value)| entry(&key, &value))
    }

    /// A text that is no name, may be one, or means something else where a name can stand.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![Just(String::new()), name()]
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "[a-zA-Z_][a-zA-Z0-9_]{0,4}",
            1 => "[a-z]{1,3}\\.[a-z0-9]{1,3}(\\.[a-z]{1,3})?",
            1 => "[ -~\\n\\té]{1,6}",
            1 => prop::sample::select(&["float", "seq", "inf", "NaN", "infinity", "undefined", "domain"][..])
                .prop_map(str::to_owned),
            1 => any::<String>().prop_filter("a name", |name| !name.is_empty()),
        ]
    }

    fn many<T: Strategy>(item: T) -> impl Strategy<Value = Vec<T::Value>> {
        prop::collection::vec(item, 0..3)
    }

    fn option<T: Strategy>(value: T) -> impl Strategy<Value = Option<T::Value>> {
        prop::option::of(value)
    }
}

/// A model with something of everything that the syntax holds.
fn everything() -> ModelProto {
    let text = r#"<
            ir_version: 10, opset_import: ["": 18, "bitonnx": 1], producer_name: "a \"test\"",
            doc_string: "two
lines", metadata_props: ["a": "1", "b": "2"]
        >
        main (float[batch, "seq + 1", ?] x, int64 n, float[] u, seq(map(string, float16[2])) s,
              optional(sparse_tensor(double[3])) t, opaque(a.b, c) o, untyped) => (float[batch, 4] y) <
            float[4, 4] "fc.weight" = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, -1e-30},
            float16[2] half = {1.0, 0.5}, int4[3] codes = {-8, 0, 7}, float scale = {0.03125},
            string[2] words = {"a", "b\"c"}, bool[1] flag = {1},
            float[1000] far = ["location": "weights.bin", "offset": "16"],
            float[batch, 4] h, int64[0] "float"
        > {
            ["/fc/MatMul"] "/fc/MatMul_output_0" = MatMul(x, "fc.weight")
            h, "" = bitonnx.BitLinear:int8 <in_features = 4, eps = 1e-5, mode = "per token"> ("/fc/MatMul_output_0", "", codes)
            c = Constant <value = int64[9] {0, 1, 2, 3, 4, 5, 6, 7, 8}> ()
            d = Constant <value_floats = [1.0, inf, -nan], value_ints: ints = [], how = seq(float[2])> ()
            y = If(n) <
                then_branch = then () => (float[batch, 4] a) <float[1] one = {1}> { a = Add(h, one) },
                else_branch = "else" () => (float[batch, 4] b) { b = "pkg.torch.2.5".Neg(h) }
            >
            = Print(y)
        }
        <domain: "bitonnx", overload: "int8", opset_import: ["": 18], doc_string: "quantised">
        BitLinear <in_features, eps: float = 1e-5> (X, codes, scale) => (Y) <float[M, N] Y> {
            e = Constant <value_float: float = @eps> ()
            Y = Add(X, e)
        }"#;
    parse_model(text).unwrap()
}

fn fixtures() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("model.onnx"))
        .filter(|path| path.exists())
        .collect();
    paths.sort();
    assert!(paths.len() > 20);
    paths
}

/// The model without what the syntax has no place for, and with all else as the parser gives it.
fn normal(mut model: ModelProto) -> ModelProto {
    model.graph.iter_mut().for_each(normalise_graph);
    for function in &mut model.functions {
        function.metadata_props.clear();
        function.value_info.iter_mut().for_each(normalise_value);
        function.node.iter_mut().for_each(normalise_node);
    }
    let imports = model.functions.iter_mut().flat_map(|function| &mut function.opset_import);
    for import in model.opset_import.iter_mut().chain(imports) {
        import.domain.get_or_insert_default();
    }
    model
}

fn normalise_graph(graph: &mut GraphProto) {
    graph.doc_string = None;
    graph.metadata_props.clear();
    graph.quantization_annotation.clear();
    graph.input.iter_mut().for_each(normalise_value);
    graph.output.iter_mut().for_each(normalise_value);
    graph.value_info.iter_mut().for_each(normalise_value);
    graph.initializer.iter_mut().for_each(normalise_tensor);
    graph.node.iter_mut().for_each(normalise_node);
}

fn normalise_value(value: &mut ValueInfoProto) {
    value.doc_string = None;
    value.metadata_props.clear();
}

fn normalise_node(node: &mut NodeProto) {
    node.doc_string = None;
    node.metadata_props.clear();
    for name in [&mut node.name, &mut node.domain, &mut node.overload] {
        name.take_if(|name| name.is_empty());
    }
    for attribute in &mut node.attribute {
        attribute.doc_string = None;
        attribute.t.iter_mut().chain(&mut attribute.tensors).for_each(normalise_tensor);
        attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(normalise_graph);
    }
}

fn normalise_tensor(tensor: &mut TensorProto) {
    *tensor = TensorProto {
        dims: tensor.dims.clone(),
        data_type: tensor.data_type,
        name: tensor.name.clone().filter(|name| !name.is_empty()),
        string_data: tensor.string_data.clone(),
        raw_data: proto::raw_bytes(tensor).map(|bytes| bytes.into_owned().into()),
        ..Default::default()
    };
}

fn node(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.into()),
        input: input.iter().map(|name| name.to_string()).collect(),
        output: output.iter().map(|name| name.to_string()).collect(),
        ..Default::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.into()), r#type: Some(kind.into()), ..Default::default() }
}

fn reference(name: &str, kind: Option<AttributeType>, to: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: kind.map(Into::into),
        ref_attr_name: Some(to.into()),
        ..Default::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

fn string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.into()), ..attribute(name, AttributeType::String) }
}

fn of_tensor(name: &str, value: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(value), ..attribute(name, AttributeType::Tensor) }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.into(), ..attribute(name, AttributeType::Ints) }
}

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { floats: values.into(), ..attribute(name, AttributeType::Floats) }
}

fn strings(name: &str, values: &[&str]) -> AttributeProto {
    let strings = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

fn typed(data_type: DataType, dims: &[i64]) -> TensorProto {
    TensorProto { dims: dims.into(), data_type: Some(data_type.into()), ..Default::default() }
}

fn stored(data_type: DataType, raw: &[u8]) -> TensorProto {
    TensorProto {
        data_type: Some(data_type.into()),
        raw_data: Some(raw.to_vec().into()),
        ..Default::default()
    }
}

fn of_type(value: type_proto::Value) -> TypeProto {
    TypeProto { value: Some(value), ..Default::default() }
}

/// No dimensions are a shape that is not known.
fn tensor_type(element: DataType, dims: Option<Vec<Dimension>>) -> TypeProto {
    of_type(type_proto::Value::TensorType(type_proto::Tensor {
        elem_type: Some(element.into()),
        shape: dims.map(|dim| TensorShapeProto { dim }),
    }))
}

fn sequence(element: TypeProto) -> TypeProto {
    of_type(type_proto::Value::SequenceType(Box::new(type_proto::Sequence {
        elem_type: Some(Box::new(element)),
    })))
}

fn value(name: &str, of: Option<TypeProto>) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.into()), r#type: of, ..Default::default() }
}

fn size(value: i64) -> Dimension {
    Dimension { value: Some(dimension::Value::DimValue(value)), ..Default::default() }
}

fn symbol(name: &str) -> Dimension {
    Dimension { value: Some(dimension::Value::DimParam(name.into())), ..Default::default() }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) }
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) }
}
