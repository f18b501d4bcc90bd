use super::*;

fn metrics(pairs: &[(&'static str, f64)]) -> Metrics {
    let mut metrics = Metrics::new();
    // A healthy step.
    for (name, value) in [
        ("reward", 0.5),
        ("reward_std", 0.4),
        ("completions/mean_length", 20.0),
        ("completions/clipped_ratio", 0.0),
        ("monitor/repetition", 0.1),
        ("monitor/most_common", 0.1),
        ("monitor/distinct", 0.9),
        ("monitor/empty", 0.0),
    ] {
        metrics.set(name, value);
    }
    for (name, value) in pairs {
        metrics.set(*name, *value);
    }
    metrics
}

fn small() -> MonitorConfig {
    MonitorConfig { window: 2, patience: 3, ..MonitorConfig::default() }
}

/// The warnings after two healthy steps and some others.
fn after(config: &MonitorConfig, steps: &[&[(&'static str, f64)]]) -> Vec<String> {
    let mut monitor = Monitor::new(config);
    monitor.observe(1, &metrics(&[]));
    monitor.observe(2, &metrics(&[]));
    for (i, step) in steps.iter().enumerate() {
        monitor.observe(3 + i as u64, &metrics(step));
    }
    monitor.warnings().to_vec()
}

/// Each sign is named once, with its numbers; where it is switched off, not at all.
fn check(step: &[(&'static str, f64)], off: &dyn Fn(&mut MonitorConfig), expected: &str) {
    assert_eq!(after(&small(), &[step; 6]), [expected]);
    let mut config = small();
    off(&mut config);
    assert!(after(&config, &[step; 6]).is_empty(), "{step:?} is not switched off");
}

#[test]
fn drifts_are_named_with_their_numbers() {
    check(
        &[("completions/mean_length", 50.0)],
        &|config| config.length_factor = 0.0,
        "since step 3: completions are 50.0 tokens long on average, 2.5 times the 20.0 of steps 1 to 2 \
         (monitor.length_factor = 2)",
    );
    check(
        &[("monitor/repetition", 0.75)],
        &|config| config.repetition = 0.0,
        "since step 2: a share of 0.42 of a completion's 4-grams repeats earlier ones, 0.10 in steps 1 to 2 \
         (monitor.repetition = 0.3)",
    );
    check(
        &[("monitor/most_common", 0.9)],
        &|config| config.constant_answers = 0.0,
        "since step 3: a share of 0.90 of all completions is the same text, whatever was asked \
         (monitor.constant_answers = 0.8)",
    );
    check(
        &[("monitor/distinct", 0.25)],
        &|config| config.distinct_factor = 0.0,
        "since step 3: completions of different prompts are alike: a share of 0.25 of their 4-grams is different, 0.90 \
         in steps 1 to 2 (monitor.distinct_factor = 0.5)",
    );
}

#[test]
fn what_stops_learning_is_named_after_some_steps() {
    let impatient = |config: &mut MonitorConfig| config.patience = 0;
    check(
        &[("reward", 0.25), ("reward_std", 0.0)],
        &impatient,
        "since step 3: all completions of a prompt get the same reward (0.250 on average), so nothing is learned: the \
         tasks are too hard or too easy, or the reward does not look at the completion",
    );
    check(
        &[("completions/clipped_ratio", 1.0)],
        &impatient,
        "since step 3: every completion is cut at max_completion_length before its end: raise it, or teach the model to \
         end",
    );
    check(
        &[("monitor/empty", 1.0)],
        &impatient,
        "since step 3: every completion is empty: the model ends at once, check its prompt or template",
    );
    // A break begins the count again; tasks that are solved are no fault.
    let (cut, whole) = ([("completions/clipped_ratio", 1.0)], [("completions/clipped_ratio", 0.9)]);
    assert!(after(&small(), &[&cut, &cut, &whole, &cut, &cut]).is_empty());
    let solved: &[(&str, f64)] = &[("reward", 1.0), ("reward_std", 0.0)];
    assert!(after(&small(), &[solved; 6]).is_empty());
}

#[test]
fn a_healthy_run_is_silent() {
    let steps: Vec<[(&str, f64); 4]> = (0..40)
        .map(|i| {
            let share = f64::from(i) / 40.0;
            [
                ("reward", share),
                ("monitor/rewards/exact/mean", share - 0.1 * f64::from(i % 2)),
                ("completions/mean_length", 20.0 + 10.0 * share),
                ("monitor/repetition", 0.2 * share),
            ]
        })
        .collect();
    let steps: Vec<&[(&str, f64)]> = steps.iter().map(|step| &step[..]).collect();
    assert_eq!(after(&small(), &steps), [""; 0]);
}

#[test]
fn a_reward_that_rises_while_another_falls_is_named() {
    let step = |reward, exact| [("reward", reward), ("monitor/rewards/exact/mean", exact)];
    let [start, best, gamed, worse] =
        [step(0.5, 0.5), step(0.6, 0.7), step(0.8, 0.5), step(0.9, 0.3)];
    let gaming: [&[(&str, f64)]; 6] = [&start, &best, &best, &gamed, &worse, &worse];
    let expected = "since step 6: the reward has risen from 0.600 to 0.850 and the verifier `exact`, which is not \
                    trained on, has fallen from 0.700 in steps 4 to 5 to 0.400: the reward may be gamed \
                    (monitor.divergence = 0.15)";
    assert_eq!(after(&small(), &gaming), [expected]);
    let off = MonitorConfig { divergence: 0.0, ..small() };
    assert!(after(&off, &gaming).is_empty());
    // Both fall: that is a run that goes wrong, and no game.
    let falling = [start, step(0.4, 0.3), step(0.2, 0.1), step(0.1, 0.0)];
    let falling: Vec<&[(&str, f64)]> = falling.iter().map(|step| &step[..]).collect();
    assert!(after(&small(), &falling).is_empty());
}

#[test]
fn weights_that_stay_are_named_once_and_stop_where_that_is_asked() {
    let mut monitor = Monitor::new(&MonitorConfig { stop: true, ..small() });
    assert_eq!(monitor.stops(), None);
    monitor.stepped(4, false);
    monitor.stepped(5, false);
    let expected = "step 4: completions differ in reward and the weights have not changed: check learning_rate";
    assert_eq!(monitor.warnings(), [expected]);
    assert_eq!(monitor.stops(), Some(expected));
}

/// What is saved and restored in the middle warns as what was never stopped.
#[test]
fn a_restored_monitor_goes_on() {
    let steps: Vec<Metrics> = (0..12)
        .map(|i| {
            let share = f64::from(i) / 12.0;
            metrics(&[
                ("reward", share),
                ("monitor/rewards/exact/mean", 0.7 - share),
                ("completions/mean_length", 20.0 + f64::from(5 * i)),
            ])
        })
        .collect();
    let mut whole = Monitor::new(&small());
    for (i, step) in steps.iter().enumerate() {
        whole.observe(1 + i as u64, step);
    }
    assert_eq!(whole.warnings().len(), 2, "{:?}", whole.warnings());
    for cut in 1..12 {
        let mut first = Monitor::new(&small());
        for (i, step) in steps[..cut].iter().enumerate() {
            first.observe(1 + i as u64, step);
        }
        let saved = serde_json::to_string(&first).unwrap();
        let mut second = Monitor::new(&small());
        second.restore(serde_json::from_str(&saved).unwrap());
        for (i, step) in steps[cut..].iter().enumerate() {
            second.observe(1 + (cut + i) as u64, step);
        }
        assert_eq!(second.warnings(), whole.warnings(), "cut at {cut}");
    }
}

#[test]
fn values_out_of_range_are_named() {
    let error = |change: &dyn Fn(&mut MonitorConfig)| {
        let mut config = MonitorConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(MonitorConfig::default().validate().is_ok());
    let window = error(&|config| config.window = 0);
    assert!(window.contains("monitor.window = 0 is out of range: must be 1 to 2^20"), "{window}");
    let factor = error(&|config| config.length_factor = 0.5);
    assert!(factor.contains("monitor.length_factor = 0.5"), "{factor}");
    assert!(factor.contains("above 1, or 0 for never"), "{factor}");
    let share = error(&|config| config.constant_answers = 1.5);
    assert!(share.contains("monitor.constant_answers = 1.5"), "{share}");
    let nan = error(&|config| config.divergence = f64::NAN);
    assert!(nan.contains("monitor.divergence = NaN"), "{nan}");
}
