//! Writes small GGUF files.

use std::path::PathBuf;

/// A value of the metadata.
pub enum Value<'a> {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(&'a str),
    Texts(Vec<String>),
    I32s(Vec<i32>),
}

/// A file in the making.
#[derive(Default)]
pub struct GgufFile {
    keys: Vec<u8>,
    num_keys: u64,
    tensors: Vec<u8>,
    num_tensors: u64,
    data: Vec<u8>,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.bytes());
}

impl GgufFile {
    pub fn key(&mut self, name: &str, value: &Value) {
        self.num_keys += 1;
        let out = &mut self.keys;
        text(out, name);
        let number = |out: &mut Vec<u8>, kind: u32, bytes: &[u8]| {
            out.extend(kind.to_le_bytes());
            out.extend(bytes);
        };
        match value {
            Value::U32(x) => number(out, 4, &x.to_le_bytes()),
            Value::F32(x) => number(out, 6, &x.to_le_bytes()),
            Value::Bool(x) => number(out, 7, &[u8::from(*x)]),
            Value::Text(x) => {
                number(out, 8, &[]);
                text(out, x);
            }
            Value::Texts(texts) => {
                number(out, 9, &8u32.to_le_bytes());
                out.extend((texts.len() as u64).to_le_bytes());
                texts.iter().for_each(|x| text(out, x));
            }
            Value::I32s(numbers) => {
                number(out, 9, &5u32.to_le_bytes());
                out.extend((numbers.len() as u64).to_le_bytes());
                numbers.iter().for_each(|x| out.extend(x.to_le_bytes()));
            }
        }
    }

    /// A tensor of row-major `shape`, of `ggml`'s type number `kind`.
    pub fn tensor(&mut self, name: &str, shape: &[usize], kind: u32, bytes: &[u8]) {
        self.num_tensors += 1;
        text(&mut self.tensors, name);
        self.tensors.extend((shape.len() as u32).to_le_bytes());
        for size in shape.iter().rev() {
            self.tensors.extend((*size as u64).to_le_bytes());
        }
        self.tensors.extend(kind.to_le_bytes());
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        self.data.extend(bytes);
    }

    /// A tensor of `f32`: 1, 2, 3, … from `first` on.
    pub fn counting(&mut self, name: &str, shape: &[usize], first: usize) {
        let numbers = (first..).take(shape.iter().product());
        let bytes: Vec<u8> = numbers.flat_map(|x| (x as f32).to_le_bytes()).collect();
        self.tensor(name, shape, 0, &bytes);
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(self.num_tensors.to_le_bytes());
        out.extend(self.num_keys.to_le_bytes());
        out.extend(&self.keys);
        out.extend(&self.tensors);
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(&self.data);
        out
    }
}

/// Writes `bytes` to a file of its own.
pub fn on_disk(folder: &tempfile::TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn tokenizer(file: &mut GgufFile, pre: &str) {
    let mut tokens: Vec<String> = ["<end>", "<user>"].map(str::to_owned).into();
    tokens.extend(('a'..='z').chain(['Ġ', '1', '2']).map(|c| c.to_string()));
    tokens.push("ab".to_owned());
    let mut types = vec![1; tokens.len()];
    types[..2].copy_from_slice(&[3, 4]);
    file.key("tokenizer.ggml.model", &Value::Text("gpt2"));
    file.key("tokenizer.ggml.pre", &Value::Text(pre));
    file.key("tokenizer.ggml.tokens", &Value::Texts(tokens));
    file.key("tokenizer.ggml.token_type", &Value::I32s(types));
    file.key("tokenizer.ggml.merges", &Value::Texts(vec!["a b".to_owned()]));
    file.key("tokenizer.ggml.eos_token_id", &Value::U32(0));
}

/// A whole model of one block: two heads of four, one of them for keys, width 8, 32 tokens.
pub fn llama(pre: &str) -> GgufFile {
    let mut file = GgufFile::default();
    file.key("general.architecture", &Value::Text("llama"));
    for (name, value) in [
        ("block_count", 1),
        ("context_length", 64),
        ("embedding_length", 8),
        ("feed_forward_length", 16),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("rope.dimension_count", 4),
    ] {
        file.key(&format!("llama.{name}"), &Value::U32(value));
    }
    file.key("llama.attention.layer_norm_rms_epsilon", &Value::F32(1e-5));
    file.key("tokenizer.ggml.add_bos_token", &Value::Bool(false));
    file.key("tokenizer.chat_template", &Value::Text("{{ messages[0].content }}"));
    tokenizer(&mut file, pre);
    for (name, shape) in [
        ("token_embd", &[32, 8][..]),
        ("blk.0.attn_norm", &[8]),
        ("blk.0.attn_q", &[8, 8]),
        ("blk.0.attn_k", &[4, 8]),
        ("blk.0.attn_v", &[4, 8]),
        ("blk.0.attn_output", &[8, 8]),
        ("blk.0.ffn_norm", &[8]),
        ("blk.0.ffn_gate", &[16, 8]),
        ("blk.0.ffn_up", &[16, 8]),
        ("blk.0.ffn_down", &[8, 16]),
        ("output_norm", &[8]),
    ] {
        file.counting(&format!("{name}.weight"), shape, 0);
    }
    file
}

/// The same for `GPT-2`.
pub fn gpt2() -> GgufFile {
    let mut file = GgufFile::default();
    file.key("general.architecture", &Value::Text("gpt2"));
    for (name, value) in [
        ("block_count", 1),
        ("context_length", 16),
        ("embedding_length", 8),
        ("feed_forward_length", 32),
        ("attention.head_count", 2),
    ] {
        file.key(&format!("gpt2.{name}"), &Value::U32(value));
    }
    file.key("gpt2.attention.layer_norm_epsilon", &Value::F32(1e-5));
    tokenizer(&mut file, "gpt-2");
    file.counting("token_embd.weight", &[32, 8], 0);
    file.counting("position_embd.weight", &[16, 8], 0);
    for (name, shape) in [
        ("blk.0.attn_norm", &[8][..]),
        ("blk.0.attn_qkv", &[24, 8]),
        ("blk.0.attn_output", &[8, 8]),
        ("blk.0.ffn_norm", &[8]),
        ("blk.0.ffn_up", &[32, 8]),
        ("blk.0.ffn_down", &[8, 32]),
        ("output_norm", &[8]),
    ] {
        file.counting(&format!("{name}.weight"), shape, 0);
        file.counting(&format!("{name}.bias"), &shape[..1], 7);
    }
    file.counting("output.weight", &[32, 8], 0);
    file
}
