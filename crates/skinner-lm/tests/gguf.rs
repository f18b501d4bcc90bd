//! GGUF files: what they mean, and what damaged and hostile ones lead to.

mod gguf_file;

use gguf_file::{GgufFile, Value, on_disk};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use skinner_lm::{
    Family, Gguf, LmError, Message, ModelConfig, Pretrained, RopeScaling, Tokenizer, Weights,
};

fn open(file: &GgufFile) -> Result<Pretrained, LmError> {
    let folder = tempfile::tempdir().unwrap();
    Pretrained::open(&on_disk(&folder, &file.bytes()))
}

fn error(file: &GgufFile) -> String {
    open(file).unwrap_err().to_string()
}

#[test]
fn a_llama_is_whole() {
    let model = open(&gguf_file::llama("smollm")).unwrap();
    assert_eq!(model.config.family, Family::Llama);
    assert_eq!(model.config.eos_token_ids, [0]);
    assert_eq!(model.tokenizer.encode("ab12<user><end>", true).unwrap(), [31, 29, 30, 1, 0]);
    assert!(model.tokenizer.is_special(0) && !model.tokenizer.is_special(1));
    let text = model.template.unwrap().render(&[Message::new("user", "x")], None, true).unwrap();
    assert_eq!(text, "x");
    let names: Vec<&str> = model.weights.names().collect();
    assert_eq!(names.len(), 11);
    assert_eq!((names[0], names[10]), ("model.embed_tokens.weight", "model.norm.weight"));
}

#[test]
fn rotated_rows_are_put_back() {
    let model = open(&gguf_file::llama("smollm")).unwrap();
    let rows = |name: &str| -> Vec<usize> {
        let weights = model.weights.read_vec(&format!("model.layers.0.self_attn.{name}.weight"));
        weights.unwrap().chunks(8).map(|row| row[0] as usize / 8).collect()
    };
    assert_eq!(rows("q_proj"), [0, 2, 1, 3, 4, 6, 5, 7]);
    assert_eq!(rows("k_proj"), [0, 2, 1, 3]);
    assert_eq!(rows("v_proj"), [0, 1, 2, 3]);
}

#[test]
fn a_gpt2_is_whole() {
    let model = open(&gguf_file::gpt2()).unwrap();
    assert_eq!(model.config.family, Family::Gpt2);
    assert!(model.config.tie_word_embeddings);
    let weights = model.weights.read_vec("transformer.h.0.attn.c_attn.weight").unwrap();
    assert_eq!(weights[..9], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(model.weights.shape("transformer.h.0.attn.c_attn.weight").unwrap(), [24, 8]);
    assert_eq!(model.weights.read_vec("transformer.ln_f.bias").unwrap()[0], 7.0);
}

#[test]
fn what_is_wrong_is_named() {
    assert!(error(&gguf_file::llama("tekken")).contains("`tekken`"));
    let mut file = gguf_file::llama("smollm");
    file.tensor("blk.0.extra.weight", &[256], 12, &[0; 144]);
    let message = error(&file);
    assert!(message.contains("Q4_K") && message.contains("blk.0.extra.weight"), "{message}");
    let mut file = gguf_file::llama("smollm");
    file.counting("blk.0.attn_q.bias", &[8], 0);
    assert!(error(&file).contains("`model.layers.0.self_attn.q_proj.bias`"));
    let mut file = gguf_file::llama("smollm");
    file.key("llama.rope.scaling.type", &Value::Text("yarn"));
    assert!(error(&file).contains("`yarn`"));
    let mut file = gguf_file::llama("smollm");
    file.key("llama.block_count", &Value::U32(2));
    assert!(error(&file).contains("`llama.block_count` occurs twice"));
    let mut file = GgufFile::default();
    file.key("general.architecture", &Value::Text("mamba"));
    assert!(error(&file).contains("`mamba`, and known are llama, qwen2, qwen3, gpt2"));
}

#[test]
fn rotary_scaling_is_known_by_name_or_by_its_divisors() {
    let scaling = |change: &dyn Fn(&mut GgufFile)| {
        let mut file = gguf_file::llama("smollm");
        change(&mut file);
        open(&file).map(|model| model.config.rope_scaling).map_err(|error| error.to_string())
    };
    let divisors = |file: &mut GgufFile, values: [f32; 2]| {
        file.key("llama.rope.freq_base", &Value::F32(1e8));
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        file.tensor("rope_freqs.weight", &[2], 0, &bytes);
    };
    let llama3 = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    assert_eq!(scaling(&|file| divisors(file, [1.0, 32.0])), Ok(Some(llama3)));
    let error = scaling(&|file| divisors(file, [2.0, 32.0])).unwrap_err();
    assert!(error.contains("rope_freqs.weight"), "{error}");
    let linear = scaling(&|file| {
        file.key("llama.rope.scaling.type", &Value::Text("linear"));
        file.key("llama.rope.scaling.factor", &Value::F32(4.0));
    });
    assert_eq!(linear, Ok(Some(RopeScaling::Linear { factor: 4.0 })));
    let none = scaling(&|file| file.key("llama.rope.scaling.type", &Value::Text("none")));
    assert_eq!(none, Ok(None));
}

#[test]
fn missing_tensors_and_wrong_shapes_are_named() {
    let mut file = gguf_file::llama("smollm");
    file.counting("output.weight", &[32, 4], 0);
    let message = error(&file);
    assert!(message.contains("lm_head.weight") && message.contains("[32, 4]"), "{message}");
    assert!(message.contains("[32, 8]"), "{message}");
    let mut bytes = gguf_file::llama("smollm").bytes();
    let key = b"llama.block_count";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    bytes[at + key.len() + 4] = 2;
    let folder = tempfile::tempdir().unwrap();
    let message = Pretrained::open(&on_disk(&folder, &bytes)).unwrap_err().to_string();
    assert!(message.contains("no tensor `model.layers.1.input_layernorm.weight`"), "{message}");
    assert!(message.contains("nearest are `model.layers.0.input_layernorm.weight`"), "{message}");
}

#[test]
fn old_versions_and_other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], what: &str| {
        let message = Gguf::open(on_disk(&folder, bytes)).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    };
    check(b"GGUF\x01\0\0\0", "version 1, must be 2 or 3");
    check(b"GGUF\0\0\0\x03", "big-endian");
    check(b"PK\x03\x04", "begins with");
    check(b"GG", "ends within its header");
    let huge = [b"GGUF\x03\0\0\0".as_slice(), &[0xff; 16]].concat();
    check(&huge, "18446744073709551615 tensors");
}

/// Everything that reads a file, to the last weight.
fn read_all(path: &std::path::Path) -> Result<(), LmError> {
    let gguf = Gguf::open(path)?;
    let tokenizer = Tokenizer::from_gguf(&gguf);
    let config = ModelConfig::from_gguf(&gguf)?;
    let weights = Weights::from_gguf(&gguf, &config)?;
    for name in weights.names() {
        weights.read_vec(name)?;
    }
    tokenizer.map(|_| ())
}

#[test]
fn no_damage_leads_to_a_panic() {
    let bytes = gguf_file::llama("llama-bpe").bytes();
    let header = bytes.len() - 2500;
    let folder = tempfile::tempdir().unwrap();
    assert!(read_all(&on_disk(&folder, &bytes)).is_ok());
    let place = prop_oneof![4 => 0..header, 1 => 0..bytes.len()];
    let value = prop_oneof![Just(0u8), Just(0xff), Just(0x7f), Just(0x80), any::<u8>()];
    let damage = (proptest::collection::vec((place, value, 1usize..9), 0..4), 0..=bytes.len());
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(3000) });
    runner
        .run(&(damage, any::<bool>()), |((changes, len), cut)| {
            let mut bytes = bytes.clone();
            for (at, value, count) in changes {
                let end = (at + count).min(bytes.len());
                bytes[at..end].fill(value);
            }
            if cut {
                bytes.truncate(len);
            }
            // An error or not, but no panic and no more memory than the file has.
            let _ = read_all(&on_disk(&folder, &bytes));
            Ok(())
        })
        .unwrap();
}
