"""Skinner and its peers on one pinned core, in turn; see README.md beside this file."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

REPEATS = 5


def sb3_ppo():
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    envs = make_vec_env("CartPole-v1", n_envs=8, seed=0)
    agent = PPO(
        "MlpPolicy", envs, n_steps=32, batch_size=256, gae_lambda=0.8, gamma=0.98, n_epochs=20,
        ent_coef=0.0, learning_rate=lambda left: left * 1e-3, clip_range=lambda left: left * 0.2,
        seed=0, device="cpu",
    )
    agent.learn(2_048)
    began, before = time.perf_counter(), agent.num_timesteps
    agent.learn(20_480, reset_num_timesteps=False)
    return (agent.num_timesteps - before) / (time.perf_counter() - began)


def torch_minibatch():
    import torch
    from torch import nn

    torch.set_num_threads(1)

    def mlp(outputs):
        return nn.Sequential(
            nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))

    actor, critic = mlp(2), mlp(1)
    params = [*actor.parameters(), *critic.parameters()]
    adam = torch.optim.Adam(params, lr=1e-4, eps=1e-5)
    obs, action = torch.randn(256, 4), torch.randint(0, 2, (256,))
    old, advantage, target = torch.full((256,), -0.69), torch.randn(256), torch.randn(256)

    def update():
        policy = torch.distributions.Categorical(logits=actor(obs))
        ratio = (policy.log_prob(action) - old).exp()
        a = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = torch.min(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
        value_loss = ((critic(obs).flatten() - target) ** 2).mean()
        loss = -surrogate + 0.5 * value_loss - 0.01 * policy.entropy().mean()
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 0.5)
        adam.step()

    for _ in range(50):
        update()
    began = time.perf_counter()
    for _ in range(500):
        update()
    return (time.perf_counter() - began) / 500 * 1e6


def envpool_steps():
    import envpool
    import numpy as np

    num_envs = 1024
    envs = envpool.make_gymnasium("CartPole-v1", num_envs=num_envs, num_threads=1, seed=0)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, 2, (16, num_envs)).astype(np.int32)
    for t in range(50):
        envs.step(actions[t % 16])
    began = time.perf_counter()
    for t in range(500):
        envs.step(actions[t % 16])
    return 500 * num_envs / (time.perf_counter() - began)


PEERS = {f.__name__: f for f in (sb3_ppo, torch_minibatch, envpool_steps)}


def peer(name, core):
    """A peer's figure, from a process of its own on the pinned core."""
    command = ["taskset", "-c", core, sys.executable, __file__, "--peer", name]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return float(output.stdout.split()[-1])


def ours(skinner, cores, *args):
    command = ["taskset", "-c", cores, skinner, *args, "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def train(skinner, cores, *args):
    with tempfile.TemporaryDirectory() as folder:
        return ours(skinner, cores, "train", "ppo-cartpole", "--run-dir", f"{folder}/run", *args)


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skinner", default="target/release/skinner")
    parser.add_argument("--core", default="0", help="the core for everything on one thread")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(PEERS[args.peer]())
        return

    rows = {name: ([], []) for name in PEERS}
    bench = {}
    for _ in range(REPEATS):
        rows["sb3_ppo"][0].append(peer("sb3_ppo", args.core))
        rows["sb3_ppo"][1].append(train(args.skinner, args.core)["steps_per_second"])
        rows["torch_minibatch"][0].append(peer("torch_minibatch", args.core))
        bench = ours(args.skinner, args.core, "bench")
        rows["torch_minibatch"][1].append(bench["ppo_minibatch_update_256x4-64-64"])
        rows["envpool_steps"][0].append(peer("envpool_steps", args.core))
        rows["envpool_steps"][1].append(bench["env_steps_per_second/CartPole-v1"])
    print("| work, one pinned core | peer | Skinner | ratio |\n|---|---|---|---|")
    for name, label, faster in [
        ("sb3_ppo", "PPO CartPole, steps/s (Stable-Baselines3)", lambda p, o: o / p),
        ("torch_minibatch", "PPO minibatch update, µs (PyTorch eager)", lambda p, o: p / o),
        ("envpool_steps", "CartPole random steps/s, 1,024 environments (EnvPool)", lambda p, o: o / p),
    ]:
        theirs, own = rows[name]
        ratio = median([faster(p, o) for p, o in zip(theirs, own)])
        print(f"| {label} | {spread(theirs)} | {spread(own)} | {ratio:.1f}× |")

    ppo_rate, peak = median(rows["sb3_ppo"][1]), bench["multiply_add_peak_gflops"]
    flop_per_step = bench["ppo_minibatch_update_flop"] * 20 / 256
    print(f"\nmultiply-add peak of the core: {peak:.0f} GFLOP/s")
    print(f"share of the matrix-product limit, PPO CartPole: {ppo_rate * flop_per_step / peak / 1e9:.0%}")
    print(f"policy inference at batch 1: {bench['policy_inference_batch_1']:.2f} µs")
    for n in (1, 4, 16, 64, 256, 1024, 4096):
        print(f"PPO (128 steps, 4 × 4 minibatches), num_envs {n}: {bench[f'ppo_steps_per_second/num_envs-{n}']:,.0f} steps/s")

    cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:2])
    steps, seeds = [], []
    for _ in range(REPEATS):
        both = ours(args.skinner, cores, "bench", "--only", "threads")
        steps.append(both["env_steps_per_second/CartPole-v1/threads-2"]
                     / both["env_steps_per_second/CartPole-v1/threads-1"])
        times = []
        for threads in "1", "2":
            began = time.perf_counter()
            train(args.skinner, cores, "--seeds", "4", "--threads", threads)
            times.append(time.perf_counter() - began)
        seeds.append(times[0] / times[1])
    print(f"two threads against one: environment steps {median(steps):.2f}×, --seeds 4 {median(seeds):.2f}×")

    starts = []
    for _ in range(20):
        began = time.perf_counter()
        subprocess.run([args.skinner, "list", "recipes"], check=True, stdout=subprocess.DEVNULL)
        starts.append((time.perf_counter() - began) * 1e3)
    print(f"start-up (`skinner list recipes`, whole process): {median(starts):.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        command = [args.skinner, "train", "ppo-cartpole", "--run-dir", f"{folder}/run"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, _, usage = os.wait4(process.pid, 0)
    print(f"peak memory of `skinner train ppo-cartpole`: {usage.ru_maxrss / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
