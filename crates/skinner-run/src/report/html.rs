//! The page.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};
use skinner_core::Rng;
use skinner_core::statistics::{iqm, mean, std};

use super::curves::Band;
use super::group::{Group, base_label};
use super::threshold::{self, Reach};
use super::{RunReport, curves, elicitation, pictures, samples};
use crate::plot::{LineChart, Series, css_color, escape, line_chart};
use crate::recipe;

const STYLE: &str = include_str!("report.css");
/// A metric that has a chart of its own at the top, where it was logged.
struct TopChart {
    metric: &'static str,
    title: &'static str,
    y_label: &'static str,
    band: Band,
}

const TOP: [TopChart; 9] = [
    TopChart {
        metric: "episode_return",
        title: "Episode return in training",
        y_label: "episode return",
        band: Band::None,
    },
    TopChart {
        metric: "eval_return_mean",
        title: "Periodic evaluation",
        y_label: "mean return",
        band: Band::Deviation("eval_return_std"),
    },
    TopChart {
        metric: "exact_return",
        title: "Exact return of the greedy policy",
        y_label: "mean return",
        band: Band::None,
    },
    TopChart { metric: "loss", title: "Loss in training", y_label: "loss", band: Band::None },
    TopChart {
        metric: "eval_loss",
        title: "Loss on the data kept for evaluation",
        y_label: "loss",
        band: Band::None,
    },
    TopChart {
        metric: "eval_accuracy",
        title: "Accuracy on what is kept for evaluation",
        y_label: "share",
        band: Band::Interval("eval_accuracy_low", "eval_accuracy_high"),
    },
    TopChart {
        metric: "reward",
        title: "Reward of completions drawn in training",
        y_label: "reward",
        band: Band::None,
    },
    TopChart {
        metric: "completions/mean_length",
        title: "Length of completions drawn in training",
        y_label: "tokens",
        band: Band::None,
    },
    TopChart {
        metric: "entropy",
        title: "Entropy of the policy where completions were drawn in training",
        y_label: "nats a token",
        band: Band::None,
    },
];
/// Of those, what has another meaning where no language model is trained.
const OF_COMPLETIONS: &str = "entropy";
const RESAMPLES: usize = 2000;
/// One run's results stand one below the other if there are more than this.
const WIDE: usize = 8;

impl TopChart {
    /// The charts at the top for these runs.
    fn of(groups: &[Group]) -> impl Iterator<Item = &'static Self> {
        let language = all_runs(groups).all(is_language);
        TOP.iter().filter(move |top| language || top.metric != OF_COMPLETIONS)
    }

    /// Whether a metric is in this chart, as its line or as a part of its band.
    fn shows(&self, metric: &str) -> bool {
        self.metric == metric
            || match self.band {
                Band::None => false,
                Band::Deviation(std) => std == metric,
                Band::Interval(low, high) => [low, high].contains(&metric),
            }
    }
}

/// The whole page; with a threshold also how long it took until that.
pub(super) fn page(groups: &[Group], until: Option<(f64, &[Reach])>) -> String {
    let title = title(groups);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
        escape(&title)
    );
    summary(&mut page, groups);
    notes(&mut page, groups);
    evaluation(&mut page, groups);
    if let Some((until, all)) = until {
        threshold::section(&mut page, all, until);
    }
    elicitation::section(&mut page, groups);
    training(&mut page, groups);
    completions(&mut page, groups);
    drawn(&mut page, groups);
    other_metrics(&mut page, groups);
    hyperparameters(&mut page, groups);
    runs(&mut page, groups);
    reproduce(&mut page, groups);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn title(groups: &[Group]) -> String {
    let bases: BTreeSet<String> = groups.iter().map(|group| base_label(group.runs[0])).collect();
    match (groups, bases.first()) {
        ([one], _) => one.label.clone(),
        (_, Some(base)) if bases.len() == 1 => format!("{base}: {} recipes", groups.len()),
        _ => format!("{} recipes", groups.len()),
    }
}

fn summary(page: &mut String, groups: &[Group]) {
    let count: usize = groups.iter().map(|group| group.runs.len()).sum();
    let runs = if count == 1 { "run" } else { "runs" };
    page.push_str("<p class=\"lead\">");
    let _ = write!(page, "{count} {runs}.");
    for group in groups {
        let seeds = if group.runs.len() == 1 { "seed" } else { "seeds" };
        let _ = write!(
            page,
            " <span class=\"fact\"><b>{}</b> {seeds} {}</span>",
            escape(&group.label),
            group.seeds()
        );
    }
    page.push_str("</p>\n");
}

fn notes(page: &mut String, groups: &[Group]) {
    let notes: Vec<&String> = all_runs(groups).flat_map(|run| &run.notes).collect();
    if notes.is_empty() {
        return;
    }
    page.push_str("<section class=\"notes\">\n<h2>Notes</h2>\n<ul>\n");
    for note in notes {
        let _ = writeln!(page, "<li>{}</li>", escape(note));
    }
    page.push_str("</ul>\n</section>\n");
}

fn evaluation(page: &mut String, groups: &[Group]) {
    page.push_str("<section>\n<h2>Final evaluation</h2>\n");
    let mut any = false;
    for group in groups {
        let columns = result_columns(group);
        if columns.is_empty() {
            continue;
        }
        any = true;
        if groups.len() > 1 {
            let _ = writeln!(page, "<h3>{}</h3>", escape(&group.label));
        }
        evaluation_table(page, group, &columns);
    }
    let several = groups.iter().any(|group| group.runs.len() > 1);
    if any {
        let model = if all_runs(groups).all(is_language) { "model" } else { "policy" };
        let _ = write!(page, "<p class=\"small\">Of the final {model}, not the best one.");
        page.push_str(if several {
            " Standard deviation with divisor n; IQM is the interquartile mean over seeds with its 95 % \
             bootstrap interval (2000 resamples).</p>\n"
        } else {
            "</p>\n"
        });
    } else {
        page.push_str("<p>No final evaluation yet.</p>\n");
    }
    page.push_str("</section>\n");
}

fn evaluation_table(page: &mut String, group: &Group, columns: &[String]) {
    let results: Vec<Vec<(String, f64)>> =
        group.runs.iter().map(|run| result_numbers(run)).collect();
    let find = |result: &[(String, f64)], column: &str| {
        result.iter().find(|(name, _)| name == column).map(|&(_, value)| value)
    };
    let columns: Vec<Column> = columns
        .iter()
        .map(|name| Column::new(name, results.iter().map(|result| find(result, name)).collect()))
        .collect();
    if group.runs.len() == 1 && columns.len() > WIDE {
        let mut table = Table::new(["result", "value"]);
        for column in &columns {
            table.row([column.name.to_owned(), column.cell(0)]);
        }
        page.push_str(&table.finish());
        return;
    }
    let heads = columns.iter().map(|column| column.name);
    let mut table = Table::new(std::iter::once("seed").chain(heads));
    for (index, run) in group.runs.iter().enumerate() {
        let seed = run.seed().map_or_else(|| run.name(), |seed| seed.to_string());
        table.row(std::iter::once(seed).chain(columns.iter().map(|column| column.cell(index))));
    }
    if group.runs.len() > 1 {
        let row = |head: &str, cells: Vec<String>| std::iter::once(head.to_owned()).chain(cells);
        table.strong_row(row("mean ± std", columns.iter().map(Column::spread).collect()));
        table.strong_row(row("IQM [95 %]", columns.iter().map(Column::robust).collect()));
    }
    page.push_str(&table.finish());
}

/// One number of the results, for every run that has it.
struct Column<'a> {
    name: &'a str,
    cells: Vec<Option<f64>>,
    values: Vec<f64>,
    decimals: usize,
}

impl<'a> Column<'a> {
    fn new(name: &'a str, cells: Vec<Option<f64>>) -> Self {
        let values: Vec<f64> = cells.iter().flatten().copied().collect();
        let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let whole = values.iter().all(|value| value.fract() == 0.0);
        let decimals = if whole { 0 } else { decimals(largest) };
        Self { name, cells, values, decimals }
    }

    fn cell(&self, index: usize) -> String {
        self.cells[index].map_or_else(|| "–".to_owned(), |value| self.number(value))
    }

    fn number(&self, value: f64) -> String {
        format!("{value:.0$}", self.decimals)
    }

    /// The one value of all runs, as of the number of episodes: there is nothing to summarise.
    fn constant(&self) -> Option<String> {
        let equal = self.values.iter().all(|value| *value == self.values[0]);
        equal.then(|| self.number(self.values[0]))
    }

    fn spread(&self) -> String {
        let decimals = self.decimals.max(1);
        let (mean, std) = (mean(&self.values), std(&self.values));
        self.constant().unwrap_or_else(|| format!("{mean:.decimals$} ± {std:.decimals$}"))
    }

    fn robust(&self) -> String {
        let decimals = self.decimals.max(1);
        let (low, high) = curves::interval(&self.values, RESAMPLES, &mut Rng::new(0));
        let iqm = iqm(&self.values);
        let text = format!("{iqm:.decimals$} [{low:.decimals$}, {high:.decimals$}]");
        self.constant().unwrap_or(text)
    }
}

/// Numbers of a result that stand in the table of runs, or, as the seed, name a row already.
const NOT_EVALUATED: [&str; 5] =
    ["seed", "steps_per_second", "tokens_per_second", "train_seconds", "peak_memory_mb"];

/// The numbers of a run's result, returns first.
fn result_columns(group: &Group) -> Vec<String> {
    let mut columns: Vec<String> = Vec::new();
    for (name, _) in group.runs.iter().flat_map(|run| result_numbers(run)) {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    columns.sort_by_key(|name| {
        let first = [name.contains("return"), name.starts_with("eval_"), name.contains("length")];
        (first.map(|first| !first), name.clone())
    });
    columns
}

fn result_numbers(run: &RunReport) -> Vec<(String, f64)> {
    let mut numbers = Vec::new();
    if let Some(result) = run.info.as_ref().and_then(|info| info.result.as_ref()) {
        collect_numbers(result, "", &mut numbers);
    }
    numbers
}

fn collect_numbers(map: &Map<String, Value>, prefix: &str, numbers: &mut Vec<(String, f64)>) {
    for (key, value) in map {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(inner) => collect_numbers(inner, &key, numbers),
            Value::Number(_) if NOT_EVALUATED.contains(&key.as_str()) => {}
            Value::Number(value) => numbers.extend(value.as_f64().map(|value| (key, value))),
            _ => {}
        }
    }
}

/// Whether a run trained a language model: its recipe names a model instead of an environment.
fn is_language(run: &RunReport) -> bool {
    run.recipe.contains_key("model")
}

/// What runs count, which is the horizontal axis of all charts.
fn steps(groups: &[Group]) -> &'static str {
    let language = all_runs(groups).filter(|run| is_language(run)).count();
    match all_runs(groups).count() - language {
        _ if language == 0 => "environment steps",
        0 => "optimizer steps",
        _ => "steps (of environments, of optimizers)",
    }
}

fn training(page: &mut String, groups: &[Group]) {
    page.push_str("<section>\n<h2>Training</h2>\n");
    let (mut any, mut bands) = (false, Vec::new());
    for top in TopChart::of(groups) {
        let of = |group| curves::series_with_band(group, top.metric, top.band);
        let series: Vec<Series> = groups.iter().map(of).collect();
        if series.iter().all(|series| series.points.is_empty()) {
            continue;
        }
        any = true;
        if series.iter().any(|series| series.band.is_some()) {
            bands.push(top.band);
        }
        figure(page, &line_chart(top.title, steps(groups), top.y_label, &series));
    }
    if let [group] = groups {
        length_and_accuracy(page, group);
    }
    let several = groups.iter().any(|group| group.runs.len() > 1);
    let language = all_runs(groups).all(is_language);
    let words = match (any, several) {
        (false, _) if language => "<p>No loss has been logged.",
        (false, _) => "<p>No episode return has been logged.",
        (true, true) => {
            "<p class=\"small\">Lines are the interquartile mean over seeds, bands its 95 % bootstrap \
             interval; where a seed ended early, over those that went on."
        }
        (true, false) => "<p class=\"small\">Lines are as they were logged",
    };
    page.push_str(words);
    if any && !several {
        for band in bands {
            page.push_str(match band {
                Band::None => "",
                Band::Deviation(_) => {
                    "; the band of the evaluation is one standard deviation of its episodes"
                }
                Band::Interval(..) => {
                    "; the band of the accuracy is its 95 % bootstrap interval over what was evaluated"
                }
            });
        }
        page.push('.');
    }
    page.push_str("</p>\n</section>\n");
}

/// How long completions are and how often they are right, in one chart, from the first step with rewards on.
fn length_and_accuracy(page: &mut String, group: &Group) {
    let length = curves::series(group, "completions/mean_length");
    let Some(&(start, _)) = length.points.first() else { return };
    let of = |metric: &str, label: &str| {
        let mut series = curves::series(group, metric);
        series.points.retain(|point| point.0 + 1.0 >= start);
        Series { label: label.to_owned(), points: series.points, band: None }
    };
    let accuracy = of("eval_accuracy", "accuracy on unseen tasks (left)");
    if accuracy.points.is_empty() {
        return;
    }
    let length = Series { label: "length in training (right)".to_owned(), band: None, ..length };
    let chart = LineChart {
        title: "Accuracy and length of completions",
        x_label: "optimizer steps",
        y_label: "share of tasks solved",
        series: &[accuracy],
        right: Some(("tokens of a completion", &length)),
        legend: true,
        size: (860, 400),
        ..LineChart::default()
    };
    figure(page, &chart.svg());
}

/// What language models wrote, of the first run of each group that has samples.
fn completions(page: &mut String, groups: &[Group]) {
    let shown: Vec<&RunReport> = groups
        .iter()
        .filter_map(|group| group.runs.iter().find(|run| !run.samples.is_empty()).copied())
        .collect();
    if shown.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Completions before and after training</h2>\n");
    let several = all_runs(groups).count() > 1;
    for run in &shown {
        if several {
            let _ = writeln!(page, "<h3>{}</h3>", escape(&run.name()));
        }
        samples::table(page, run);
    }
    let ratio = |run: &&RunReport| run.samples.after.iter().any(|s| s.log_ratio.is_some());
    if shown.iter().any(ratio) {
        page.push_str(
            "<p class=\"small\">Log ratio: the log-probability of the completion after training less that by \
             the model that training started from.</p>\n",
        );
    }
    page.push_str("</section>\n");
}

/// What runs drew, of the first run of each group that drew something.
fn drawn(page: &mut String, groups: &[Group]) {
    let shown: Vec<&RunReport> = groups
        .iter()
        .filter_map(|group| group.runs.iter().find(|run| !run.pictures.is_empty()).copied())
        .collect();
    if shown.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>What was learned</h2>\n");
    let several = all_runs(groups).count() > 1;
    for run in &shown {
        if several {
            let _ = writeln!(page, "<h3>{}</h3>", escape(&run.name()));
        }
        for picture in &run.pictures {
            pictures::image(page, run, picture);
        }
    }
    page.push_str("</section>\n");
}

fn other_metrics(page: &mut String, groups: &[Group]) {
    let mut names: Vec<&str> = Vec::new();
    for column in all_runs(groups).flat_map(|run| &run.metrics.columns) {
        let name = column.name.as_str();
        let above = TopChart::of(groups).any(|top| top.shows(name))
            || name.starts_with(elicitation::PREFIX);
        if !above && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return;
    }
    page.push_str("<section>\n<h2>Other metrics</h2>\n");
    legend(page, groups);
    page.push_str("<div class=\"grid\">\n");
    for name in names {
        let series: Vec<Series> = groups.iter().map(|group| curves::series(group, name)).collect();
        let chart = LineChart {
            title: name,
            x_label: "",
            y_label: "",
            series: &series,
            size: (400, 240),
            ..LineChart::default()
        };
        figure(page, &chart.svg());
    }
    let steps = steps(groups);
    let _ = write!(page, "</div>\n<p class=\"small\">All over {steps}.</p>\n</section>\n");
}

/// One legend for all small charts.
fn legend(page: &mut String, groups: &[Group]) {
    if groups.len() < 2 {
        return;
    }
    page.push_str("<p class=\"legend\">");
    for (index, group) in groups.iter().enumerate() {
        let (color, label) = (css_color(index), escape(&group.label));
        let _ = write!(page, "<span><i style=\"background:{color}\"></i>{label}</span> ");
    }
    page.push_str("</p>\n");
}

fn figure(page: &mut String, svg: &str) {
    let _ = writeln!(page, "<figure>{svg}</figure>");
}

fn hyperparameters(page: &mut String, groups: &[Group]) {
    page.push_str("<section>\n<h2>Hyper-parameters</h2>\n");
    let flat: Vec<Vec<(String, toml::Value)>> =
        groups.iter().map(|group| recipe::flatten(group.recipe())).collect();
    let keys: BTreeSet<&String> = flat.iter().flatten().map(|(key, _)| key).collect();
    let labels = groups.iter().map(|group| group.label.as_str());
    let heads: Vec<&str> = if groups.len() == 1 { vec!["value"] } else { labels.collect() };
    let mut table = Table::new(std::iter::once("key").chain(heads));
    for key in keys {
        let cells: Vec<String> =
            groups.iter().zip(&flat).map(|(group, flat)| recipe_cell(group, flat, key)).collect();
        let differs = key != "seed" && cells.iter().any(|cell| *cell != cells[0]);
        let row = std::iter::once(key.clone()).chain(cells.clone());
        if differs { table.strong_row(row) } else { table.row(row) }
    }
    page.push_str(&table.finish());
    for group in groups {
        let _ = write!(
            page,
            "<details><summary>recipe.toml of {}</summary>\n<pre>{}</pre></details>\n",
            escape(&group.runs[0].name()),
            escape(&group.runs[0].recipe_toml)
        );
    }
    page.push_str("</section>\n");
}

fn recipe_cell(group: &Group, flat: &[(String, toml::Value)], key: &str) -> String {
    match flat.iter().find(|(known, _)| known == key) {
        _ if key == "seed" => group.seeds(),
        Some((_, value)) => value.to_string(),
        None => "–".to_owned(),
    }
}

fn runs(page: &mut String, groups: &[Group]) {
    page.push_str("<section>\n<h2>Runs</h2>\n");
    let logged = |name: &str| all_runs(groups).any(|run| !run.timing.points(name).is_empty());
    let tokens = logged(RATES[1].0);
    let rates: Vec<_> = match (logged(RATES[0].0), tokens) {
        (true, true) => RATES.to_vec(),
        _ => vec![RATES[usize::from(tokens)]],
    };
    let memory = all_runs(groups).any(|run| peak_memory(run).is_some());
    let heads = ["run", "seed", "status", "steps", "started", "training"].into_iter();
    let heads = heads.chain(rates.iter().map(|rate| rate.1));
    let mut table = Table::new(heads.chain(memory.then_some("peak memory")));
    for run in all_runs(groups) {
        let mut row = run_row(run).to_vec();
        row.extend(rates.iter().map(|(name, _)| rate(run, name)));
        if memory {
            row.push(peak_memory(run).map_or_else(missing, |mb| format!("{mb:.0} MB")));
        }
        table.row(row);
    }
    page.push_str(&table.finish());
    let mut table = Table::new(["host", "value"]);
    let facts: [(&str, Fact); 5] = [
        ("version", |run| run.info.as_ref().map(|info| info.version.clone())),
        ("git commit", |run| run.info.as_ref().and_then(|info| info.git_commit.clone())),
        ("device", |run| run.info.as_ref().map(|info| info.device.clone())),
        ("processor", |run| run.info.as_ref().map(|info| info.cpu.clone())),
        ("threads", |run| run.info.as_ref().map(|info| info.threads.to_string())),
    ];
    for (name, fact) in facts {
        let values: BTreeSet<String> = all_runs(groups).filter_map(fact).collect();
        let values: Vec<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
        let words = if values.is_empty() { "unknown".to_owned() } else { values.join(", ") };
        table.row([name.to_owned(), words]);
    }
    page.push_str(&table.finish());
    page.push_str("</section>\n");
}

/// One fact of the host, if the run knows it.
type Fact = fn(&RunReport) -> Option<String>;

/// How fast a run was: the column of `timing.jsonl`, and its name for reading.
const RATES: [(&str, &str); 2] =
    [("steps_per_second", "steps per second"), ("tokens_per_second", "tokens per second")];

fn missing() -> String {
    "–".to_owned()
}

fn last_timing(run: &RunReport, name: &str) -> Option<f64> {
    run.timing.points(name).last().map(|point| point.1)
}

fn rate(run: &RunReport, name: &str) -> String {
    last_timing(run, name).map_or_else(missing, |rate| number(rate.round()))
}

fn peak_memory(run: &RunReport) -> Option<f64> {
    run.info.as_ref()?.result.as_ref()?.get("peak_memory_mb")?.as_f64()
}

fn run_row(run: &RunReport) -> [String; 6] {
    let info = run.info.clone().unwrap_or_default();
    [
        run.name(),
        run.seed().map_or_else(missing, |seed| seed.to_string()),
        run.stands(),
        run.metrics.last_step.map_or_else(missing, |step| number(step as f64)),
        if info.started.is_empty() { missing() } else { info.started },
        last_timing(run, "train_seconds").map_or_else(missing, duration),
    ]
}

fn reproduce(page: &mut String, groups: &[Group]) {
    let mut commands: Vec<&str> = Vec::new();
    for command in
        all_runs(groups).filter_map(|run| run.info.as_ref()).map(|info| info.command.as_str())
    {
        if !command.is_empty() && !commands.contains(&command) {
            commands.push(command);
        }
    }
    page.push_str("<section>\n<h2>Reproduce</h2>\n");
    if commands.is_empty() {
        page.push_str("<p>The command is not known: run.json is missing.</p>\n");
    } else {
        let _ = writeln!(page, "<pre>{}</pre>", escape(&commands.join("\n")));
    }
    page.push_str("</section>\n");
}

fn all_runs<'a>(groups: &'a [Group<'a>]) -> impl Iterator<Item = &'a RunReport> {
    groups.iter().flat_map(|group| group.runs.iter().copied())
}

/// A number for reading: five significant digits, thousands apart.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 {
        return thousands(value as i64);
    }
    if !(1e-3..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    let decimals = decimals(value);
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Decimals of a number with five significant digits.
fn decimals(value: f64) -> usize {
    let magnitude = value.abs().max(1e-3).log10().floor() as i32;
    (4 - magnitude).clamp(1, 6) as usize
}

fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

fn duration(seconds: f64) -> String {
    match seconds as u64 {
        0..10 => format!("{seconds:.1} s"),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// An HTML table; cells are escaped here.
pub(super) struct Table(String);

impl Table {
    pub(super) fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        let mut table = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
        for head in heads {
            let _ = write!(table, "<th>{}</th>", escape(head));
        }
        table.push_str("</tr></thead>\n<tbody>\n");
        Self(table)
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.add("<tr>", cells);
    }

    fn strong_row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.add("<tr class=\"strong\">", cells);
    }

    fn add(&mut self, open: &str, cells: impl IntoIterator<Item = String>) {
        self.0.push_str(open);
        for cell in cells {
            let _ = write!(self.0, "<td>{}</td>", escape(&cell));
        }
        self.0.push_str("</tr>\n");
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push_str("</tbody></table></div>\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_reading() {
        let check = |value: f64, expect: &str| assert_eq!(number(value), expect);
        check(500.0, "500");
        check(1_000_000.0, "1\u{202f}000\u{202f}000");
        check(-12_345.0, "-12\u{202f}345");
        check(487.123_456, "487.12");
        check(0.25, "0.25");
        check(2.5e-5, "2.500e-5");
        check(f64::NAN, "NaN");
    }

    #[test]
    fn durations() {
        assert_eq!(duration(1.23), "1.2 s");
        assert_eq!(duration(59.5), "59 s");
        assert_eq!(duration(61.0), "1 min 1 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}
