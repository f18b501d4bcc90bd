//! What `transformers` adds to Jinja for chat templates.

use std::str::FromStr;

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Value as Json;

/// A day, for templates that write today's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// Such as 2026.
    pub year: u16,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
}

impl FromStr for Date {
    type Err = String;

    /// A day as in `2026-11-27`.
    fn from_str(text: &str) -> Result<Self, String> {
        let part = |range: std::ops::Range<usize>| -> Option<u16> {
            let digits = text.get(range)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let date = || {
            let (year, month, day) = (part(0..4)?, part(5..7)? as u8, part(8..10)? as u8);
            let shaped = text.len() == 10 && &text[4..5] == "-" && &text[7..8] == "-";
            let date = Self { year, month, day };
            (shaped && (1..=12).contains(&month) && (1..=date.days_of_month()).contains(&day))
                .then_some(date)
        };
        date().ok_or_else(|| format!("`{text}` must be a day such as 2026-11-27"))
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Date {
    fn is_in_leap_year(self) -> bool {
        let year = self.year;
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    }

    fn days_of_month(self) -> u8 {
        match self.month {
            2 => 28 + u8::from(self.is_in_leap_year()),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }

    /// Days from 1 January.
    fn day_of_year(self) -> u32 {
        const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = self.is_in_leap_year() && self.month > 2;
        BEFORE[self.month() - 1] + u32::from(self.day) + u32::from(leap)
    }

    fn month(self) -> usize {
        usize::from(self.month.clamp(1, 12))
    }

    fn weekday(self) -> &'static str {
        let years = u32::from(self.year.max(1)) - 1;
        // 31 December of the year before the first was a Sunday.
        DAYS[((years + years / 4 - years / 100 + years / 400 + self.day_of_year()) % 7) as usize]
    }

    /// Python's `strftime`, for a day at midnight.
    fn format(self, pattern: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut letter = rest.next();
            let plain = letter == Some('-');
            if plain {
                letter = rest.next();
            }
            out.push_str(&self.field(letter, plain)?);
        }
        Ok(out)
    }

    /// One `%` of a pattern; `plain` is without leading zeros.
    fn field(self, letter: Option<char>, plain: bool) -> Result<String, String> {
        let (Self { year, day, .. }, month) = (self, self.month());
        let number = |n: usize| if plain { n.to_string() } else { format!("{n:02}") };
        Ok(match letter {
            Some('Y') => year.to_string(),
            Some('y') => number(usize::from(year) % 100),
            Some('m') => number(month),
            Some('d') => number(usize::from(day)),
            Some('j') if plain => self.day_of_year().to_string(),
            Some('j') => format!("{:03}", self.day_of_year()),
            Some('B') => MONTHS[month - 1].to_owned(),
            Some('b') => MONTHS[month - 1][..3].to_owned(),
            Some('A') => self.weekday().to_owned(),
            Some('a') => self.weekday()[..3].to_owned(),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('H' | 'M' | 'S') => number(0),
            Some('I') => number(12),
            Some('p') => "AM".to_owned(),
            Some('%') => "%".to_owned(),
            other => return Err(format!("strftime_now does not know `%{}`", other.unwrap_or(' '))),
        })
    }
}

pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |what: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, what))
    });
}

/// The function that writes today's date. Templates that ask whether it is there know a day of their own without it.
pub(super) const NOW: &str = "strftime_now";

pub(super) fn set_date(environment: &mut Environment<'static>, date: Date) {
    environment.add_function(NOW, move |pattern: String| -> Result<String, Error> {
        date.format(&pattern).map_err(|what| Error::new(ErrorKind::InvalidOperation, what))
    });
}

/// Python's `json.dumps`, with the arguments that `transformers` passes on.
#[expect(clippy::needless_pass_by_value, reason = "filters take their arguments by value")]
fn to_json(value: &Value, args: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = args.get("indent")?;
    let separators: Option<Vec<String>> = args.get("separators")?;
    let mut style = Style {
        indent,
        item: if indent.is_some() { "," } else { ", " }.to_owned(),
        key: ": ".to_owned(),
        ascii: args.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort: args.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    args.assert_all_used()?;
    match separators.as_deref() {
        None => {}
        Some([item, key]) => (style.item, style.key) = (item.clone(), key.clone()),
        Some(_) => {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators must be two"));
        }
    }
    let json = serde_json::to_value(value).map_err(|error| {
        Error::new(ErrorKind::InvalidOperation, "tojson cannot write this").with_source(error)
    })?;
    let mut out = String::new();
    style.write(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

struct Style {
    indent: Option<usize>,
    item: String,
    key: String,
    ascii: bool,
    sort: bool,
}

impl Style {
    fn write(&self, json: &Json, depth: usize, out: &mut String) {
        match json {
            Json::Array(items) => {
                self.list(('[', ']'), items, depth, out, |item, out| {
                    self.write(item, depth + 1, out);
                });
            }
            Json::Object(map) => {
                let mut items: Vec<_> = map.iter().collect();
                if self.sort {
                    items.sort_by_key(|(key, _)| *key);
                }
                self.list(('{', '}'), &items, depth, out, |(key, value), out| {
                    self.text(key, out);
                    out.push_str(&self.key);
                    self.write(value, depth + 1, out);
                });
            }
            Json::String(text) => self.text(text, out),
            other => out.push_str(&other.to_string()),
        }
    }

    fn list<T>(
        &self,
        (open, close): (char, char),
        items: &[T],
        depth: usize,
        out: &mut String,
        write: impl Fn(&T, &mut String),
    ) {
        out.push(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                out.push_str(&self.item);
            }
            self.line(depth + 1, out);
            write(item, out);
        }
        if !items.is_empty() {
            self.line(depth, out);
        }
        out.push(close);
    }

    fn line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn text(&self, text: &str, out: &mut String) {
        let quoted = Json::String(text.to_owned()).to_string();
        if !self.ascii {
            out.push_str(&quoted);
            return;
        }
        for character in quoted.chars() {
            if character.is_ascii() {
                out.push(character);
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                out.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    out.extend(char::from_digit(u32::from(*unit >> shift & 15), 16));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Date;

    #[test]
    fn dates_are_written_as_python_writes_them() {
        let date = Date { year: 2024, month: 7, day: 26 };
        assert_eq!(
            date.format("%d %b %Y, %A %j %-m %y%%").unwrap(),
            "26 Jul 2024, Friday 208 7 24%"
        );
        let date = Date { year: 2000, month: 1, day: 1 };
        assert_eq!(date.format("%a %Y-%m-%d %H:%M").unwrap(), "Sat 2000-01-01 00:00");
        assert!(date.format("%Q").unwrap_err().contains("%Q"));
        assert_eq!("2000-01-01".parse(), Ok(date));
        assert_eq!("2024-02-29".parse(), Ok(Date { year: 2024, month: 2, day: 29 }));
        for wrong in ["2023-02-29", "2024-13-01", "2024-1-1", "today", "2024/01/01", "+024-01-01"] {
            assert!(wrong.parse::<Date>().unwrap_err().contains("2026-11-27"), "{wrong}");
        }
    }
}
