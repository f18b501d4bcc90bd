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


def envpool_rate(id, num_envs, num_actions, warm_up, steps):
    import envpool
    import numpy as np

    envs = envpool.make_gymnasium(id, num_envs=num_envs, num_threads=1, seed=0)
    envs.reset()
    actions = np.random.default_rng(0).integers(0, num_actions, (16, num_envs)).astype(np.int32)
    for t in range(warm_up):
        envs.step(actions[t % 16])
    began = time.perf_counter()
    for t in range(steps):
        envs.step(actions[t % 16])
    return steps * num_envs / (time.perf_counter() - began)


def envpool_steps():
    return envpool_rate("CartPole-v1", 1024, 2, 50, 500)


def envpool_lander():
    return envpool_rate("LunarLander-v3", 64, 4, 200, 1000)


def numpy_q_learning():
    import gymnasium
    import numpy as np

    env, rng = gymnasium.make("FrozenLake-v1"), np.random.default_rng(0)
    q = np.zeros((16, 4))
    steps, obs = 100_000, env.reset(seed=0)[0]
    began = time.perf_counter()
    for _ in range(steps):
        action = int(rng.integers(4)) if rng.random() < 0.1 else int(q[obs].argmax())
        after, reward, terminated, truncated, _ = env.step(action)
        target = reward + (0.0 if terminated else 0.99 * q[after].max())
        q[obs, action] += 0.1 * (target - q[obs, action])
        obs = env.reset()[0] if terminated or truncated else after
    return steps / (time.perf_counter() - began)


def sb3_dqn_agent(seed):
    """rl-zoo's hyper-parameters of DQN on CartPole-v1."""
    import gymnasium
    import torch
    from stable_baselines3 import DQN

    torch.set_num_threads(1)
    return DQN(
        "MlpPolicy", gymnasium.make("CartPole-v1"), learning_rate=2.3e-3, batch_size=64,
        buffer_size=100_000, learning_starts=1_000, gamma=0.99, target_update_interval=10,
        train_freq=256, gradient_steps=128, exploration_fraction=0.16, exploration_final_eps=0.04,
        policy_kwargs={"net_arch": [256, 256]}, seed=seed, device="cpu",
    )


def sb3_sac_agent(seed):
    """rl-zoo's hyper-parameters of SAC on Pendulum-v1."""
    import gymnasium
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(1)
    return SAC("MlpPolicy", gymnasium.make("Pendulum-v1"), learning_rate=1e-3, seed=seed, device="cpu")


def sb3_rate(agent, before, steps):
    agent.learn(before)
    began, before = time.perf_counter(), agent.num_timesteps
    agent.learn(steps, reset_num_timesteps=False)
    return (agent.num_timesteps - before) / (time.perf_counter() - began)


def sb3_dqn():
    return sb3_rate(sb3_dqn_agent(0), 2_048, 10_240)


def sb3_sac():
    return sb3_rate(sb3_sac_agent(0), 200, 1_000)


def sb3_seconds(agent, every, steps, threshold):
    """Seconds of training until a greedy evaluation over ten episodes reaches the threshold, looked for every so many
    steps; evaluation is not counted."""
    import gymnasium
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.evaluation import evaluate_policy

    class Until(BaseCallback):
        seconds, evaluating = float("inf"), 0.0

        def _on_training_start(self):
            self.began = time.perf_counter()
            self.env = gymnasium.make(self.model.env.envs[0].spec.id)

        def _on_step(self):
            if self.num_timesteps % every:
                return True
            began = time.perf_counter()
            mean, _ = evaluate_policy(self.model, self.env, n_eval_episodes=10, warn=False)
            if mean >= threshold:
                self.seconds = began - self.began - self.evaluating
                return False
            self.evaluating += time.perf_counter() - began
            return True

    until = Until()
    agent.learn(steps, callback=until)
    return until.seconds


def sb3_dqn_seconds(seed):
    return sb3_seconds(sb3_dqn_agent(seed), 1_000, 50_000, 475.0)


def sb3_sac_seconds(seed):
    return sb3_seconds(sb3_sac_agent(seed), 500, 20_000, -160.0)


PEERS = {
    f.__name__: f
    for f in (sb3_ppo, torch_minibatch, envpool_steps, envpool_lander, numpy_q_learning, sb3_dqn, sb3_sac,
              sb3_dqn_seconds, sb3_sac_seconds)
}


def peer(name, core, *args):
    """A peer's figure, from a process of its own on the pinned core."""
    command = ["taskset", "-c", core, sys.executable, __file__, "--peer", name, *map(str, args)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return float(output.stdout.split()[-1])


def ours(skinner, cores, *args):
    command = ["taskset", "-c", cores, skinner, *args, "--json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(output.stdout.splitlines()[-1])


def train(skinner, cores, *args, recipe="ppo-cartpole"):
    with tempfile.TemporaryDirectory() as folder:
        return ours(skinner, cores, "train", recipe, "--run-dir", f"{folder}/run", *args)


def our_seconds(skinner, core, recipe, every, threshold):
    """For each of ten seeds, seconds of training until an evaluation on the way (ten episodes) reaches the threshold."""
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(10):
            run = f"{folder}/{seed}"
            ours(skinner, core, "train", recipe, "--run-dir", run, "--seed", str(seed), "--set", f"eval.every={every}")
            with open(f"{run}/timing.jsonl") as lines:
                at = {row["step"]: row["train_seconds"] for row in map(json.loads, lines)}
            with open(f"{run}/metrics.jsonl") as lines:
                rows = list(map(json.loads, lines))
            reached = [row["step"] for row in rows if row.get("eval_return_mean", -1e9) >= threshold]
            seconds.append(at[reached[0]] if reached else float("inf"))
    return seconds


def off_policy(skinner, core, repeats, seeds):
    """Replay-based agents: the rate at rl-zoo's hyper-parameters, and the time to a threshold with our recipes."""
    peak = ours(skinner, core, "bench", "--only", "updates")["multiply_add_peak_gflops"] * 1e9
    rows = {"dqn": ([], []), "sac": ([], []), "lander": ([], []), "table": ([], [])}
    for _ in range(repeats):
        rows["dqn"][0].append(peer("sb3_dqn", core))
        rows["dqn"][1].append(train(skinner, core, "--set", "total_steps=20_480", recipe="dqn-cartpole-zoo")["steps_per_second"])
        rows["sac"][0].append(peer("sb3_sac", core))
        rows["sac"][1].append(train(skinner, core, "--set", "total_steps=2_000", recipe="sac-pendulum-zoo")["steps_per_second"])
        rows["lander"][0].append(peer("envpool_lander", core))
        rows["lander"][1].append(ours(skinner, core, "bench", "--only", "lander")["env_steps_per_second/LunarLander-v3"])
        rows["table"][0].append(peer("numpy_q_learning", core))
        bench = ours(skinner, core, "bench", "--only", "tabular")
        rows["table"][1].append(bench["q_learning_updates_per_second/FrozenLake-v1/decay-0"])
    print("| work, one pinned core | peer | Skinner | ratio |\n|---|---|---|---|")
    for name, label in [
        ("dqn", "DQN CartPole at rl-zoo's hyper-parameters, steps/s (Stable-Baselines3)"),
        ("sac", "SAC Pendulum at rl-zoo's hyper-parameters, steps/s (Stable-Baselines3)"),
        ("lander", "LunarLander random steps/s, 64 environments (EnvPool)"),
        ("table", "tabular Q-learning on FrozenLake, updates/s (NumPy and Gymnasium)"),
    ]:
        theirs, own = rows[name]
        print(f"| {label} | {spread(theirs)} | {spread(own)} | {median([o / p for p, o in zip(theirs, own)]):.1f}× |")
    # Multiply-adds of a row: the whole network, and what its input gradient leaves out.
    net = lambda inputs, outputs: (inputs * 256 + 256 * 256 + 256 * outputs, inputs * 256)
    q, first = net(4, 2)
    # Online and target forward, weight and input gradients; half an update a step, and acting.
    dqn_flop = 2 * (0.5 * 64 * (4 * q - first) + q)
    critic, critic_first = net(4, 1)
    actor, actor_first = net(3, 2)
    # Next actions and their values; both critics forward and back; the actor through them, and back.
    sac_flop = 2 * (256 * (actor + 2 * critic + 2 * (3 * critic - critic_first)
                           + actor + 2 * 2 * critic + 2 * actor - actor_first) + actor)
    for name, flop in (("dqn", dqn_flop), ("sac", sac_flop)):
        limit = peak / flop
        print(f"{name}: the matrix products alone allow {limit:,.0f} steps/s; {median(rows[name][1]) / limit:.0%} reached")

    for label, theirs, recipe, every, threshold in [
        ("DQN CartPole until 475", "sb3_dqn_seconds", "dqn-cartpole", 1_000, 475.0),
        ("SAC Pendulum until -160", "sb3_sac_seconds", "sac-pendulum", 500, -160.0),
    ]:
        theirs = [peer(theirs, core, seed) for seed in range(seeds)]
        own = our_seconds(skinner, core, recipe, every, threshold)
        print(f"{label}, seconds of training: Stable-Baselines3 {median(theirs):.2f} (seeds: {theirs}), "
              f"Skinner {median(own):.3f} (seeds: {own}), {median(theirs) / median(own):.0f}×")


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skinner", default="target/release/skinner")
    parser.add_argument("--core", default="0", help="the core for everything on one thread")
    parser.add_argument("--only", choices=["on-policy", "off-policy"], help="one part alone")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of off-policy rates")
    parser.add_argument("--peer-seeds", type=int, default=5, help="of Stable-Baselines3's times to a threshold")
    parser.add_argument("--peer", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        name, *seed = args.peer
        print(PEERS[name](*map(int, seed)))
        return
    if args.only != "on-policy":
        off_policy(args.skinner, args.core, args.repeats, args.peer_seeds)
    if args.only == "off-policy":
        return

    rows = {name: ([], []) for name in ("sb3_ppo", "torch_minibatch", "envpool_steps")}
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
