"""A language model in Skinner and in its peers on the same pinned cores, in turn; see README.md beside this file."""

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

TRAIN_SHAPE = (4, 256)
TRAIN_STEPS = 4
DECODE_PROMPT, DECODE_TOKENS, BATCH_SIZES = 33, 64, (1, 16)
PREFILL_PROMPT = 512
GRPO_SHAPE = (8, 64)
GRPO_PROMPT = "What is 7 + 5? Answer with the number only."
GRPO_STEPS = 2
REPEATS = 3
LORA_RANK = 16


def median(values):
    return statistics.median(values)


def load_torch(model, threads):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    folder, name = os.path.split(model)
    loaded = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    return torch, loaded


def torch_train(model, threads, kind):
    torch, net = load_torch(model, threads)
    if kind == "lora":
        from peft import LoraConfig, get_peft_model

        net = get_peft_model(
            net, LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules="all-linear"))
    net.train()
    net.config.use_cache = False
    params = [param for param in net.parameters() if param.requires_grad]
    adamw = torch.optim.AdamW(params, lr=1e-5, weight_decay=0.0)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, net.config.vocab_size, TRAIN_SHAPE, generator=generator)
    seconds = []
    for _ in range(TRAIN_STEPS + 1):
        began = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "bf16"):
            loss = net(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        adamw.step()
        adamw.zero_grad()
        seconds.append(time.perf_counter() - began)
    return {f"train/{kind}": ids.numel() / median(seconds[1:])}


def trl_grpo(model, threads):
    torch, quantised = load_torch(model, threads)
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    # The loader marks the model as quantised, which the trainer refuses, though its weights are f32.
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    net = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    net.load_state_dict(quantised.state_dict())
    net.generation_config = quantised.generation_config
    del quantised
    folder, name = os.path.split(model)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    num_generations, new_tokens = GRPO_SHAPE
    seconds = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            self.began = time.perf_counter()

        def on_step_end(self, *args, **kwargs):
            seconds.append(time.perf_counter() - self.began)

    def alternating(completions, **kwargs):
        return [float(i % 2) for i in range(len(completions))]

    prompt = [{"role": "user", "content": GRPO_PROMPT}]
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, per_device_train_batch_size=num_generations,
            num_generations=num_generations, max_completion_length=new_tokens,
            generation_kwargs={"min_new_tokens": new_tokens}, max_steps=GRPO_STEPS + 1,
            learning_rate=1e-6, weight_decay=0.0, beta=0.0, use_cpu=True, bf16=False,
            gradient_checkpointing=False, save_strategy="no", report_to=[], disable_tqdm=True)
        trainer = GRPOTrainer(
            net, alternating, args=config, processing_class=tokenizer, callbacks=[Clock()],
            train_dataset=Dataset.from_list([{"prompt": prompt}] * 64))
        trainer.train()
    return {"grpo_step": median(seconds[1:])}


def transformers_generate(model, threads, what):
    torch, net = load_torch(model, threads)
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Clock(StoppingCriteria):
        def __init__(self):
            self.times = []

        def __call__(self, input_ids, scores, **kwargs):
            self.times.append(time.perf_counter())
            return torch.zeros(input_ids.shape[0], dtype=torch.bool)

    net.eval()

    def run(batch_size, prompt, new_tokens, seed):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, net.config.vocab_size, (batch_size, prompt), generator=generator)
        clock = Clock()
        began = time.perf_counter()
        with torch.inference_mode():
            net.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, pad_token_id=0,
                min_new_tokens=new_tokens, max_new_tokens=new_tokens,
                stopping_criteria=StoppingCriteriaList([clock]))
        return clock.times[0] - began, clock.times[-1] - clock.times[0]

    run(1, DECODE_PROMPT, 2, 0)
    results = {}
    if what == "prefill":
        results["prefill"] = PREFILL_PROMPT / median(
            [run(1, PREFILL_PROMPT, 1, seed)[0] for seed in range(REPEATS)])
        results["first_token"] = 1e3 * median(
            [run(1, DECODE_PROMPT, 1, seed)[0] for seed in range(REPEATS)])
        return results
    for batch_size in BATCH_SIZES:
        seconds = median(
            [run(batch_size, DECODE_PROMPT, DECODE_TOKENS, seed)[1] for seed in range(REPEATS)])
        results[f"decode/batch-{batch_size}"] = batch_size * (DECODE_TOKENS - 1) / seconds
    return results


def llama_cpp_generate(model, threads, what):
    import llama_cpp as lib
    import numpy as np

    @lib.llama_log_callback
    def quiet(level, text, data):
        pass

    lib.llama_log_set(quiet, ctypes.c_void_p(0))
    lib.llama_backend_init()
    net = lib.llama_model_load_from_file(model.encode(), lib.llama_model_default_params())
    vocab_size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(net))

    def run(batch_size, prompt, new_tokens, seed):
        options = lib.llama_context_default_params()
        length = -(-(prompt + new_tokens) // 256) * 256
        options.n_ctx, options.n_batch, options.n_ubatch = batch_size * length, 2048, 512
        options.n_seq_max = batch_size
        options.n_threads = options.n_threads_batch = threads
        context = lib.llama_init_from_model(net, options)
        rng = np.random.default_rng(seed)
        ids = rng.integers(0, vocab_size, (batch_size, prompt))
        batch = lib.llama_batch_init(batch_size * prompt, 0, 1)

        def decode(rows):
            """Runs (token, position, sequence, whether logits are wanted); the argmax of the wanted ones."""
            batch.n_tokens = len(rows)
            for i, (token, position, sequence, wanted) in enumerate(rows):
                batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            if lib.llama_decode(context, batch) != 0:
                raise RuntimeError("llama_decode failed")
            found = []
            for i, row in enumerate(rows):
                if row[3]:
                    logits = lib.llama_get_logits_ith(context, i)
                    found.append(int(np.ctypeslib.as_array(logits, (vocab_size,)).argmax()))
            return found

        began = time.perf_counter()
        tokens = decode([
            (int(ids[s, t]), t, s, t + 1 == prompt)
            for s in range(batch_size) for t in range(prompt)])
        first = time.perf_counter()
        for t in range(prompt, prompt + new_tokens - 1):
            tokens = decode([(tokens[s], t, s, True) for s in range(batch_size)])
        last = time.perf_counter()
        lib.llama_batch_free(batch)
        lib.llama_free(context)
        return first - began, last - first

    run(1, DECODE_PROMPT, 2, 0)
    if what == "prefill":
        return {
            "prefill": PREFILL_PROMPT / median(
                [run(1, PREFILL_PROMPT, 1, seed)[0] for seed in range(REPEATS)]),
            "first_token": 1e3 * median(
                [run(1, DECODE_PROMPT, 1, seed)[0] for seed in range(REPEATS)]),
        }
    results = {}
    for batch_size in BATCH_SIZES:
        seconds = median(
            [run(batch_size, DECODE_PROMPT, DECODE_TOKENS, seed)[1] for seed in range(REPEATS)])
        results[f"decode/batch-{batch_size}"] = batch_size * (DECODE_TOKENS - 1) / seconds
    return results


def write_f16(source, target):
    """The same model with its matrices in f16, from a quantised GGUF file."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        value = gguf.LlamaFileType.MOSTLY_F16 if name == "general.file_type" else field.contents()
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, value, field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        numbers = gguf.dequantize(tensor.data, tensor.tensor_type)
        is_vector = tensor.tensor_type == gguf.GGMLQuantizationType.F32
        writer.add_tensor(tensor.name, numbers if is_vector else numbers.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


PEERS = {
    "torch-f32": lambda m, n: torch_train(m["given"], n, "f32"),
    "torch-bf16": lambda m, n: torch_train(m["given"], n, "bf16"),
    "torch-lora": lambda m, n: torch_train(m["given"], n, "lora"),
    "trl-grpo": lambda m, n: trl_grpo(m["given"], n),
    "transformers-decode": lambda m, n: transformers_generate(m["given"], n, "decode"),
    "transformers-prefill": lambda m, n: transformers_generate(m["given"], n, "prefill"),
    "llama-f16-decode": lambda m, n: llama_cpp_generate(m["f16"], n, "decode"),
    "llama-f16-prefill": lambda m, n: llama_cpp_generate(m["f16"], n, "prefill"),
    "llama-given-decode": lambda m, n: llama_cpp_generate(m["given"], n, "decode"),
}
# Our part, and what it is measured in turn with.
GROUPS = {
    "train-f32": ["torch-f32"],
    "train-bf16": ["torch-bf16"],
    "train-lora": ["torch-lora"],
    "grpo": ["trl-grpo"],
    "decode": ["transformers-decode", "llama-f16-decode", "llama-given-decode"],
    "prefill": ["transformers-prefill", "llama-f16-prefill"],
}
# Label, group, peer, its figure, ours. Of memory and of seconds, less is better.
ROWS = [
    ("training, all weights, f32, tokens/s (PyTorch)",
     "train-f32", "torch-f32", "train/f32", "lm_train_tokens_per_second/f32"),
    ("its peak memory, MB", "train-f32", "torch-f32", "memory", "lm_peak_memory_mb/train-f32"),
    ("training, all weights, bf16, tokens/s (PyTorch autocast)",
     "train-bf16", "torch-bf16", "train/bf16", "lm_train_tokens_per_second/bf16"),
    ("its peak memory, MB", "train-bf16", "torch-bf16", "memory", "lm_peak_memory_mb/train-bf16"),
    (f"training, LoRA rank {LORA_RANK}, f32, tokens/s (PEFT)",
     "train-lora", "torch-lora", "train/lora", "lm_train_tokens_per_second/lora"),
    ("its peak memory, MB", "train-lora", "torch-lora", "memory", "lm_peak_memory_mb/train-lora"),
    (f"GRPO step, {GRPO_SHAPE[0]} completions of {GRPO_SHAPE[1]} tokens, f32, s (TRL)",
     "grpo", "trl-grpo", "grpo_step", "lm_grpo_step_seconds/f32"),
    ("its peak memory, MB", "grpo", "trl-grpo", "memory", "lm_peak_memory_mb/grpo"),
    ("decoding, batch 1, f32, tokens/s (transformers)",
     "decode", "transformers-decode", "decode/batch-1", "lm_decode_tokens_per_second/f32/batch-1"),
    ("decoding, batch 16, f32, tokens/s (transformers)",
     "decode", "transformers-decode", "decode/batch-16", "lm_decode_tokens_per_second/f32/batch-16"),
    ("decoding, batch 1, bf16, tokens/s (llama.cpp f16)",
     "decode", "llama-f16-decode", "decode/batch-1", "lm_decode_tokens_per_second/bf16/batch-1"),
    ("decoding, batch 16, bf16, tokens/s (llama.cpp f16)",
     "decode", "llama-f16-decode", "decode/batch-16", "lm_decode_tokens_per_second/bf16/batch-16"),
    ("decoding, batch 1, bf16, tokens/s (llama.cpp, the file as given)",
     "decode", "llama-given-decode", "decode/batch-1", "lm_decode_tokens_per_second/bf16/batch-1"),
    ("decoding, batch 16, bf16, tokens/s (llama.cpp, the file as given)",
     "decode", "llama-given-decode", "decode/batch-16", "lm_decode_tokens_per_second/bf16/batch-16"),
    (f"prefill of {PREFILL_PROMPT} tokens, f32, tokens/s (transformers)",
     "prefill", "transformers-prefill", "prefill", "lm_prefill_tokens_per_second/f32"),
    (f"prefill of {PREFILL_PROMPT} tokens, f32, tokens/s (llama.cpp f16)",
     "prefill", "llama-f16-prefill", "prefill", "lm_prefill_tokens_per_second/f32"),
    (f"first token after {DECODE_PROMPT}, f32, ms (transformers)",
     "prefill", "transformers-prefill", "first_token", "lm_first_token_milliseconds/f32"),
]


def pinned(cores, command):
    threads = str(len(cores.split(",")))
    env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    ended = subprocess.run(
        ["taskset", "-c", cores, *command], capture_output=True, text=True, env=env)
    if ended.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stderr}")
    return json.loads(ended.stdout.splitlines()[-1])


def spread(values):
    digits = 0 if median(values) >= 100 else 1
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skinner", default="target/release/skinner")
    parser.add_argument("--model", required=True, help="a GGUF file of SmolLM2-135M-Instruct")
    parser.add_argument("--cores", default="0", help="for everything, a thread on each: 0 or 0,1")
    parser.add_argument("--only", choices=GROUPS, action="append", help="measure this alone")
    parser.add_argument("--without", choices=["llama", "transformers", "torch", "trl"], action="append",
                        default=[], help="leave out a peer, where it is not installed")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--f16", help=argparse.SUPPRESS)
    args = parser.parse_args()
    threads = len(args.cores.split(","))
    args.model = os.path.abspath(args.model)
    if args.peer:
        results = PEERS[args.peer]({"given": args.model, "f16": args.f16}, threads)
        results["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(results))
        return

    groups = args.only or list(GROUPS)
    kept = lambda name: name.split("-")[0] not in args.without
    peers = {name: [] for group in groups for name in GROUPS[group] if kept(name)}
    own = {group: [] for group in groups}
    limits = []
    with tempfile.TemporaryDirectory() as folder:
        f16 = os.path.join(folder, "f16.gguf")
        if any(name.startswith("llama-f16") for name in peers):
            write_f16(args.model, f16)
        for _ in range(args.repeats):
            for group in ["limits", *groups]:
                command = [args.skinner, "bench", "--only", "lm", "--lm-part", group, "--json"]
                command += ["--model", args.model, "--threads", str(threads)]
                (limits if group == "limits" else own[group]).append(pinned(args.cores, command))
                for name in filter(kept, GROUPS.get(group, [])):
                    command = [sys.executable, os.path.abspath(__file__), "--peer", name]
                    command += ["--model", args.model, "--f16", f16, "--cores", args.cores]
                    peers[name].append(pinned(args.cores, command))

    print(f"| work, {threads} pinned core(s) | peer | Skinner | ratio |\n|---|---|---|---|")
    for label, group, peer, theirs, ours in ROWS:
        if group not in groups or peer not in peers:
            continue
        theirs = [run[theirs] for run in peers[peer]]
        ours = [run[ours] for run in own[group]]
        ratio = median([o / p for p, o in zip(theirs, ours)])
        print(f"| {label} | {spread(theirs)} | {spread(ours)} | {ratio:.2f}× |")

    def limit(name):
        return median([run[f"{name}/threads-{threads}"] for run in limits])

    def ours(group, name):
        return median([run[name] for run in own[group]])

    peak, bandwidth = limit("multiply_add_peak_gflops"), limit("read_bandwidth_gb_per_second")
    print(f"\nf32 multiply-add peak: {peak:.0f} GFLOP/s; read bandwidth: {bandwidth:.1f} GB/s")
    # Of a token's forward pass, in matrix products: all of it, and without the head.
    flop, flop_of_prompt = 0.269, 0.212
    for group, kind, work in [("train-f32", "f32", 3), ("train-bf16", "bf16", 3), ("train-lora", "lora", 2)]:
        if group in groups:
            share = ours(group, f"lm_train_tokens_per_second/{kind}") * work * flop / peak
            print(f"training, {kind}: {share:.0%} of the multiply-add peak")
    if "decode" in groups:
        for kind in "f32", "bf16":
            rate = ours("decode", f"lm_decode_tokens_per_second/{kind}/batch-1")
            share = rate * ours("decode", f"lm_gb_read_per_token/{kind}") / bandwidth
            print(f"decoding, batch 1, {kind}: {share:.0%} of the read bandwidth")
            rate = ours("decode", f"lm_decode_tokens_per_second/{kind}/batch-16")
            print(f"decoding, batch 16, {kind}: {rate * flop / peak:.0%} of the multiply-add peak")
    if "prefill" in groups:
        share = ours("prefill", "lm_prefill_tokens_per_second/f32") * flop_of_prompt / peak
        print(f"prefill, f32: {share:.0%} of the multiply-add peak")


if __name__ == "__main__":
    main()
